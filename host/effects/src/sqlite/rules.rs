//! What a guest may say to its database: one data statement, with numbered parameters, within limits.
//!
//! No transaction control (the host owns the transaction), no settings, no other database files, no
//! change of tables (migrations do that), and none of the few names that reach beyond the data: the
//! host's own tables, settings in the shape of tables, and `fts3_tokenizer`, which takes an address in
//! the host's memory. The check is by tokens, so it may refuse a harmless text that looks like one of
//! these; such a text belongs into a parameter.

use crate::error::StatementError;
use crate::insert::{Insert, Piece, Placed};
use crate::sqlite::tokens::{Token, Tokens};
use crate::statement::{Statement, StatementLimits};
use crate::value::Value;

/// The statements that a guest may run.
const VERBS: &[&str] = &["select", "values", "insert", "update", "delete", "replace", "with"];
/// Those that change rows.
const CHANGING: &[&str] = &["insert", "update", "delete", "replace"];
/// Names that no statement may mention, in any quotes.
const NAMES: &[&str] = &["fts3_tokenizer", "load_extension"];
/// Beginnings of names that no statement may mention.
const PREFIXES: &[&str] = &["pragma_", "keylane_", "sqlite_"];

/// Checks a statement and its parameters.
pub(crate) fn check(
    text: &str,
    parameters: &[Value],
    limits: &StatementLimits,
) -> Result<Statement, StatementError> {
    limits.check(text, parameters)?;
    let changes = check_text(text, parameters.len()).map_err(StatementError::Refused)?;
    Ok(Statement { text: text.into(), changes })
}

/// Checks a statement that is to be sent with others.
pub(crate) fn check_append(
    text: &str,
    parameters: &[Value],
    limits: &StatementLimits,
) -> Result<Insert, StatementError> {
    limits.check(text, parameters)?;
    check_text(text, parameters.len()).map_err(StatementError::Refused)?;
    Insert::of(text, pieces(text), parameters.len()).map_err(StatementError::Refused)
}

/// The tokens of a text that was let through, as far as the shape of an INSERT needs them.
fn pieces(text: &str) -> Vec<Placed<'_>> {
    let (mut tokens, mut pieces) = (Tokens::of(text), Vec::new());
    while let Some(Ok(token)) = tokens.next() {
        let piece = match token {
            Token::Word(word) => Piece::Word(word),
            // A text in single quotes as well: where only a name can stand it is one.
            Token::Quoted(name) => Piece::Name(name),
            Token::Parameter(name) => Piece::parameter(name),
            Token::Symbol(symbol) => Piece::Symbol(symbol),
            Token::Number => Piece::Constant,
        };
        pieces.push((piece, text.len().saturating_sub(tokens.left_bytes())));
    }
    pieces
}

/// Checks the text; answers whether the statement changes rows, or why it is refused.
fn check_text(text: &str, given: usize) -> Result<bool, String> {
    // SQLite reads no further than a NUL, and its driver asks it again and again for what is left.
    if text.contains('\0') {
        return Err("a NUL stands in the statement; if it is part of a value, make it a parameter".to_owned());
    }
    let mut tokens = Vec::new();
    for token in Tokens::of(text) {
        tokens.push(token.map_err(|fault| format!("{fault} in the statement"))?);
    }
    while tokens.last() == Some(&Token::Symbol(';')) {
        tokens.pop();
    }
    let verb = check_verb(&tokens)?;
    tokens.iter().try_for_each(check_token)?;
    check_pairs(&tokens)?;
    check_parameters(&tokens, given)?;
    Ok(changes(verb, &tokens))
}

fn check_verb<'a>(tokens: &[Token<'a>]) -> Result<&'a str, String> {
    let Some(Token::Word(verb)) = tokens.first() else {
        return Err("the statement does not begin with a keyword".to_owned());
    };
    if !VERBS.iter().any(|allowed| allowed.eq_ignore_ascii_case(verb)) {
        return Err(format!(
            "{verb:?} is not for handlers: a statement begins with SELECT, INSERT, UPDATE, DELETE, REPLACE, \
             VALUES or WITH; tables are made by migrations, and the host owns the transaction"
        ));
    }
    Ok(verb)
}

fn check_token(token: &Token<'_>) -> Result<(), String> {
    match token {
        Token::Symbol(';') => Err("one statement at a time".to_owned()),
        Token::Symbol(mark @ ('?' | ':' | '@' | '#')) => {
            Err(format!("{mark:?} is no parameter here: parameters are $1, $2 and so on"))
        }
        Token::Word(name) | Token::Quoted(name) => {
            let name_lower = name.to_ascii_lowercase();
            let refused = NAMES.contains(&name_lower.as_str())
                || PREFIXES.iter().any(|prefix| name_lower.starts_with(prefix));
            if refused {
                return Err(format!("{name:?} is not for handlers; if it is a value, make it a parameter"));
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// What is refused of two tokens that follow each other.
fn check_pairs(tokens: &[Token<'_>]) -> Result<(), String> {
    for (first, second) in tokens.iter().zip(tokens.iter().skip(1)) {
        match (first, second) {
            (Token::Word(before), Token::Word(after))
                if before.eq_ignore_ascii_case("or") && after.eq_ignore_ascii_case("rollback") =>
            {
                return Err("OR ROLLBACK is not for handlers: the host owns the transaction".to_owned());
            }
            // SQLite would read `$1(a)` as one parameter with a strange name.
            (Token::Parameter(_), Token::Symbol('(')) => {
                return Err("a parameter is followed by a bracket".to_owned());
            }
            _ => {}
        }
    }
    Ok(())
}

/// The parameters that the text names must be those that were given, no more and no fewer: SQLite would
/// take a missing one for NULL.
fn check_parameters(tokens: &[Token<'_>], given: usize) -> Result<(), String> {
    let mut highest = 0;
    for token in tokens {
        let Token::Parameter(name) = token else { continue };
        let number = name.parse::<usize>().ok().filter(|number| *number > 0 && !name.starts_with('+'));
        let Some(number) = number else {
            return Err(format!("${name} is no parameter: parameters are $1, $2 and so on"));
        };
        highest = highest.max(number);
    }
    if highest != given {
        return Err(format!("the statement names {highest} parameters, {given} are given"));
    }
    Ok(())
}

/// Whether the statement changes rows: by its verb, or after WITH by the first verb outside brackets.
fn changes(verb: &str, tokens: &[Token<'_>]) -> bool {
    let is = |word: &str, list: &[&str]| list.iter().any(|one| one.eq_ignore_ascii_case(word));
    if !verb.eq_ignore_ascii_case("with") {
        return is(verb, CHANGING);
    }
    let mut depth = 0_usize;
    for token in tokens.iter().skip(1) {
        match token {
            Token::Symbol('(') => depth += 1,
            Token::Symbol(')') => depth = depth.saturating_sub(1),
            Token::Word(word) if depth == 0 && is(word, VERBS) => return is(word, CHANGING),
            _ => {}
        }
    }
    false
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "rules_properties.rs"]
mod properties;
