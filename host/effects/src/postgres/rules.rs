//! What a guest may say to PostgreSQL: one data statement with numbered parameters, and of the functions of
//! the catalogue only those of a list, of extensions none that reaches further. The second line behind the database's rights: settings, locks,
//! sessions and files are reached by functions that every role may call, and the role of guests is no border
//! by itself (`set_config('role', 'none', true)` takes a session back to the host's user).
//!
//! The check is by tokens, so it may refuse a harmless text that looks like one of these; a value belongs
//! into a parameter.

use std::sync::Arc;

use crate::error::StatementError;
use crate::insert::{Insert, Piece, Placed};
use crate::postgres::foreign::Foreign;
use crate::postgres::functions::ALLOWED;
use crate::postgres::tokens::{Token, Tokens};
use crate::statement::{Statement, StatementLimits};
use crate::value::Value;

/// The statements that a guest may run.
const VERBS: &[&str] = &["select", "values", "insert", "update", "delete", "merge", "with"];
/// Those that change rows.
const CHANGING: &[&str] = &["insert", "update", "delete", "merge"];
/// Words behind which columns are listed, each with a label perhaps.
const LISTING: &[&str] = &["select", "returning"];
/// Beginnings of names that no statement may mention: the catalogue's tables, views and functions.
const PREFIXES: &[&str] = &["pg_", "lo_", "keylane_"];
/// Names that no statement may mention.
const NAMES: &[&str] = &["information_schema", "set_config", "current_setting"];
/// The host's schema, which no statement may mention as one.
const HOST_SCHEMA: &str = "keylane";

/// The rules, with what is known of one database.
pub(crate) struct Rules {
    /// The functions of the catalogue and of extensions.
    foreign: Foreign,
}

impl Rules {
    /// With the functions that no handler made.
    pub(crate) fn new(foreign: Foreign) -> Self {
        Self { foreign }
    }

    /// Checks a statement.
    pub(crate) fn check(
        &self,
        text: &str,
        parameters: &[Value],
        limits: &StatementLimits,
    ) -> Result<Statement, StatementError> {
        limits.check(text, parameters)?;
        let changes = self.check_text(text, parameters.len()).map_err(StatementError::Refused)?;
        Ok(Statement { text: Arc::from(text), changes })
    }

    /// Checks a statement that is to be sent with others.
    pub(crate) fn check_append(
        &self,
        text: &str,
        parameters: &[Value],
        limits: &StatementLimits,
    ) -> Result<Insert, StatementError> {
        limits.check(text, parameters)?;
        self.check_text(text, parameters.len()).map_err(StatementError::Refused)?;
        Insert::of(text, pieces(text), parameters.len()).map_err(StatementError::Refused)
    }

    fn check_text(&self, text: &str, given: usize) -> Result<bool, String> {
        if text.contains('\0') {
            let said = "a NUL stands in the statement; if it is part of a value, make it a parameter";
            return Err(said.to_owned());
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
        for (first, second) in tokens.iter().zip(tokens.iter().skip(1)) {
            self.check_pair(first, second)?;
        }
        check_into(&tokens)?;
        check_parameters(&tokens, given)?;
        Ok(changes(verb, &tokens))
    }

    /// What is refused of two tokens that follow each other.
    fn check_pair(&self, first: &Token<'_>, second: &Token<'_>) -> Result<(), String> {
        // `x.f` is the column `f` of `x` or, where `x` has none, the function `f` of `x`.
        if *first == Token::Symbol('.')
            && let Some(name) = name_of(second)
            && self.foreign.as_columns.contains(&name)
        {
            check_function(&name)?;
        }
        let Some(name) = name_of(first) else { return Ok(()) };
        if *second == Token::Symbol('.') && name == HOST_SCHEMA {
            return Err(format!("the schema {name:?} is the host's"));
        }
        let calls = *second == Token::Symbol('(') && self.foreign.names.contains(&name);
        if calls { check_function(&name) } else { Ok(()) }
    }
}

/// The tokens of a text that was let through, as far as the shape of an INSERT needs them.
fn pieces(text: &str) -> Vec<Placed<'_>> {
    let (mut tokens, mut pieces) = (Tokens::of(text), Vec::new());
    while let Some(Ok(token)) = tokens.next() {
        let piece = match token {
            Token::Word(word) => Piece::Word(word),
            Token::Name(name) => Piece::Name(name),
            Token::Parameter(name) => Piece::parameter(name),
            Token::Symbol(symbol) => Piece::Symbol(symbol),
            Token::Text | Token::Number => Piece::Constant,
        };
        pieces.push((piece, text.len().saturating_sub(tokens.left_bytes())));
    }
    pieces
}

/// Whether handlers may call a function that is not theirs.
fn check_function(name: &str) -> Result<(), String> {
    let allowed = ALLOWED.binary_search(&name).is_ok();
    if allowed { Ok(()) } else { Err(format!("the function {name:?} is not for handlers")) }
}

/// A name as PostgreSQL looks it up.
fn name_of(token: &Token<'_>) -> Option<String> {
    match token {
        Token::Word(word) => Some(word.to_ascii_lowercase()),
        Token::Name(name) => Some((*name).to_owned()),
        _ => None,
    }
}

fn check_verb<'a>(tokens: &[Token<'a>]) -> Result<&'a str, String> {
    let Some(Token::Word(verb)) = tokens.first() else {
        return Err("the statement does not begin with a keyword".to_owned());
    };
    if !is_one_of(verb, VERBS) {
        return Err(format!(
            "{verb:?} is not for handlers: a statement begins with SELECT, INSERT, UPDATE, DELETE, MERGE, \
             VALUES or WITH; tables are made by migrations, and the host owns the transaction"
        ));
    }
    Ok(verb)
}

fn check_token(token: &Token<'_>) -> Result<(), String> {
    if *token == Token::Symbol(';') {
        return Err("one statement at a time".to_owned());
    }
    let Some(name) = name_of(token) else { return Ok(()) };
    let refused = NAMES.contains(&name.as_str()) || PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    if refused {
        return Err(format!("{name:?} is not for handlers; if it is a value, make it a parameter"));
    }
    Ok(())
}

/// Whether the word is one of these keywords.
fn is_one_of(word: &str, list: &[&str]) -> bool {
    list.iter().any(|one| one.eq_ignore_ascii_case(word))
}

/// INTO stands behind the INSERT or MERGE that begins a statement, and nowhere else: a SELECT with it makes a table.
/// The word before it is not enough to tell, since `SELECT 1 insert INTO t` calls a column so. But a SELECT stands
/// before its INTO within the same brackets, where an INSERT or MERGE that begins a statement has none before it.
fn check_into(tokens: &[Token<'_>]) -> Result<(), String> {
    // Whether columns are listed outside all brackets, and in each bracket that is open.
    let (mut outside, mut inside, mut inserts) = (false, Vec::new(), false);
    for token in tokens {
        let lists = inside.last_mut().unwrap_or(&mut outside);
        let is = |list| matches!(token, Token::Word(word) if is_one_of(word, list));
        if is(&["into"]) && (*lists || !inserts) {
            return Err("SELECT INTO is not for handlers: tables are made by migrations".to_owned());
        }
        *lists |= is(LISTING);
        inserts = is(&["insert", "merge"]);
        match token {
            Token::Symbol('(') => inside.push(false),
            Token::Symbol(')') => {
                inside.pop();
            }
            _ => {}
        }
    }
    Ok(())
}

/// The parameters that the text names must be those that were given, no more and no fewer.
fn check_parameters(tokens: &[Token<'_>], given: usize) -> Result<(), String> {
    let mut highest = 0;
    for token in tokens {
        let Token::Parameter(name) = token else { continue };
        let number = name.parse::<usize>().ok().filter(|number| *number > 0);
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
    if !verb.eq_ignore_ascii_case("with") {
        return is_one_of(verb, CHANGING);
    }
    let mut depth = 0_usize;
    for token in tokens.iter().skip(1) {
        match token {
            Token::Symbol('(') => depth += 1,
            Token::Symbol(')') => depth = depth.saturating_sub(1),
            Token::Word(word) if depth == 0 && is_one_of(word, VERBS) => return is_one_of(word, CHANGING),
            _ => {}
        }
    }
    false
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
