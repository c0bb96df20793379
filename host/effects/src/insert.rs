//! An INSERT that can be sent with others of its kind: `INSERT INTO table (columns) VALUES (...)`, of which the
//! rows of many calls become one statement with many rows. It is still the guest's own text, its rows repeated
//! with parameters of their own, so that each database reads it as it would have read one alone.
//!
//! What could mean something else together than alone is refused: a query among the values (it would see the
//! rows before it or not), a function that answers what the statement before has done, one that answers several rows,
//! a parameter outside the rows, ON CONFLICT DO UPDATE (it may not meet one row twice), RETURNING. Functions are known
//! by their names before a bracket and behind a dot, since PostgreSQL also calls them as columns: `(x).f`.

use std::fmt::Write as _;
use std::sync::Arc;

use crate::statement::Statement;

/// The most calls of one statement.
const CALLS_MAX: usize = 128;
/// The most parameters of one statement.
const PARAMETERS_MAX: usize = 1_024;
/// How long the rows of one statement may become, in bytes of text; those of one call may be longer.
const TEXT_BYTES_MAX: usize = 64 * 1024;
/// PostgreSQL cuts names to so many bytes (NAMEDATALEN less one): two that differ only behind that are one.
const NAME_BYTES_MAX: usize = 63;
/// Words that begin a query, or let a table stand where values do (`IN t`).
const QUERIES: &[&str] = &["select", "with", "table", "in"];
/// Functions that answer what was done before: later it is what another event did.
const OF_THE_SESSION: &[&str] = &["currval", "lastval", "last_insert_rowid", "changes", "total_changes"];
/// Functions of PostgreSQL's that answer several rows: it takes them in a statement of one row alone.
#[rustfmt::skip]
const SETS: &[&str] = &[
    "generate_series", "generate_subscripts", "json_array_elements", "json_array_elements_text",
    "json_each", "json_each_text", "json_object_keys", "json_populate_recordset", "json_to_recordset",
    "jsonb_array_elements", "jsonb_array_elements_text", "jsonb_each", "jsonb_each_text",
    "jsonb_object_keys", "jsonb_path_query", "jsonb_populate_recordset", "jsonb_to_recordset",
    "regexp_matches", "regexp_split_to_table", "string_to_table", "unnest",
];

/// A token of any database's, as far as the shape of an INSERT needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// A keyword or a bare name.
    Word(&'a str),
    /// What stands between the quotes of a name.
    Name(&'a str),
    /// A parameter's number, and how many bytes its token has.
    Parameter(usize, usize),
    /// A single character.
    Symbol(char),
    /// A text or a number.
    Constant,
}

impl Piece<'_> {
    /// Of the digits behind the `$`, which the rules have read as a number.
    pub(crate) fn parameter(digits: &str) -> Self {
        Self::Parameter(digits.parse().unwrap_or_default(), digits.len().saturating_add(1))
    }

    fn is(self, keyword: &str) -> bool {
        matches!(self, Self::Word(word) if word.eq_ignore_ascii_case(keyword))
    }

    fn names_one_of(self, list: &[&str]) -> bool {
        matches!(self, Self::Word(name) | Self::Name(name)
            if list.iter().any(|one| one.eq_ignore_ascii_case(name)))
    }
}

/// A token and where it ends in the text, in bytes.
pub(crate) type Placed<'a> = (Piece<'a>, usize);

/// A guest's INSERT that [`crate::Database::check_append`] let through. Only a driver can make one.
#[derive(Debug, Clone)]
pub struct Insert(Arc<Shape>);

#[derive(Debug)]
struct Shape {
    text: Arc<str>,
    /// Up to and with VALUES.
    head: String,
    /// The rows of one call.
    body: Vec<Part>,
    body_bytes: usize,
    /// What follows the rows.
    tail: String,
    /// The table's name, in lower case, without its quotes and cut as PostgreSQL cuts it.
    table: String,
    parameters: usize,
}

/// A part of the rows.
#[derive(Debug)]
enum Part {
    Text(String),
    /// By its number, from 1.
    Parameter(usize),
}

impl Insert {
    /// Of a text that the database's rules let through, and its tokens.
    pub(crate) fn of(text: &str, mut tokens: Vec<Placed<'_>>, parameters: usize) -> Result<Self, String> {
        while tokens.last().is_some_and(|(piece, _)| *piece == Piece::Symbol(';')) {
            tokens.pop();
        }
        let mut reading = Reading { rest: &tokens, at: 0 };
        let table = reading.table()?;
        let table = table.get(..table.floor_char_boundary(NAME_BYTES_MAX)).unwrap_or(table);
        let head_ends = reading.at;
        let body = reading.rows(text)?;
        let body_ends = reading.at;
        let text_ends = reading.tail()?;
        let piece = |from: usize, to: usize| text.get(from..to).unwrap_or_default().to_owned();
        Ok(Self(Arc::new(Shape {
            text: text.into(),
            head: piece(0, head_ends),
            body,
            body_bytes: body_ends.saturating_sub(head_ends),
            tail: piece(body_ends, text_ends),
            table: table.to_ascii_lowercase(),
            parameters,
        })))
    }

    /// Whether the two are the same text.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.0.text == other.0.text
    }

    /// Whether both write to a table of this name.
    pub(crate) fn is_beside(&self, other: &Self) -> bool {
        self.0.table == other.0.table
    }

    /// What it takes to keep it, in bytes.
    pub(crate) fn size_bytes(&self) -> usize {
        self.0.text.len().saturating_mul(2)
    }

    /// Whether a text in lower case holds the name of the table, whatever it means there.
    pub(crate) fn may_be_named_in(&self, text_lower: &str) -> bool {
        text_lower.contains(&self.0.table)
    }

    /// How many of so many calls go into one statement: a power of two, since each number is another statement to
    /// the database, which keeps those that it knows.
    pub(crate) fn calls_of(&self, left: usize) -> usize {
        let most = (PARAMETERS_MAX / self.0.parameters.max(1)).min(TEXT_BYTES_MAX / self.0.body_bytes.max(1));
        let most = most.min(CALLS_MAX).min(left).max(1);
        1 << most.ilog2()
    }

    /// The statement of so many calls.
    pub(crate) fn statement(&self, calls: usize) -> Statement {
        let Shape { head, body, tail, parameters, .. } = &*self.0;
        let mut text = head.clone();
        for call in 0..calls {
            text.push_str(if call == 0 { "" } else { "," });
            for part in body {
                match part {
                    Part::Text(part) => text.push_str(part),
                    // Writing to a text cannot fail.
                    Part::Parameter(number) => {
                        let _ = write!(text, "${}", number.saturating_add(call.saturating_mul(*parameters)));
                    }
                }
            }
        }
        text.push_str(tail);
        Statement { text: text.into(), changes: true }
    }
}

/// The tokens that are still to be read.
struct Reading<'a> {
    rest: &'a [Placed<'a>],
    /// Where the last one ended.
    at: usize,
}

const SHAPE: &str = "append takes INSERT INTO table (columns) VALUES (...)";

impl<'a> Reading<'a> {
    fn next(&mut self) -> Option<Piece<'a>> {
        let ((piece, ends), rest) = self.rest.split_first()?;
        (self.rest, self.at) = (rest, *ends);
        Some(*piece)
    }

    fn peek(&self) -> Option<Piece<'a>> {
        self.rest.first().map(|(piece, _)| *piece)
    }

    fn expect(&mut self, met: impl Fn(Piece<'a>) -> bool) -> Result<(), String> {
        if self.next().is_some_and(met) { Ok(()) } else { Err(SHAPE.to_owned()) }
    }

    fn name(&mut self) -> Result<&'a str, String> {
        match self.next() {
            // Two ways to write a quote within a name would be two names.
            Some(Piece::Name(name)) if name.is_empty() || name.contains(['"', '\'', '`', '[', ']']) => {
                Err(format!("append takes no table of the name {name:?}: use execute"))
            }
            Some(Piece::Word(name) | Piece::Name(name)) => Ok(name),
            _ => Err(SHAPE.to_owned()),
        }
    }

    /// Up to VALUES; the table's name.
    fn table(&mut self) -> Result<&'a str, String> {
        self.expect(|piece| piece.is("insert"))?;
        self.expect(|piece| piece.is("into"))?;
        let mut table = self.name()?;
        if self.peek() == Some(Piece::Symbol('.')) {
            self.next();
            table = self.name()?;
        }
        self.expect(|piece| piece == Piece::Symbol('('))?;
        loop {
            self.expect(|piece| matches!(piece, Piece::Word(_) | Piece::Name(_)))?;
            match self.next() {
                Some(Piece::Symbol(')')) => break,
                Some(Piece::Symbol(',')) => {}
                _ => return Err(SHAPE.to_owned()),
            }
        }
        self.expect(|piece| piece.is("values"))?;
        Ok(table)
    }

    /// The brackets behind VALUES.
    fn rows(&mut self, text: &str) -> Result<Vec<Part>, String> {
        let (mut parts, mut from) = (Vec::new(), self.at);
        let mut cut = |from: usize, to: usize, number: Option<usize>| {
            parts.push(Part::Text(text.get(from..to).unwrap_or_default().to_owned()));
            parts.extend(number.map(Part::Parameter));
        };
        loop {
            self.expect(|piece| piece == Piece::Symbol('('))?;
            let (mut depth, mut before) = (1_usize, Piece::Symbol('('));
            while depth > 0 {
                let piece = self.next().ok_or(SHAPE)?;
                let is_called = before == Piece::Symbol('.') || self.peek() == Some(Piece::Symbol('('));
                alone_as_together(piece, is_called)?;
                match piece {
                    Piece::Symbol('(') => depth += 1,
                    Piece::Symbol(')') => depth -= 1,
                    Piece::Parameter(number, bytes) => {
                        cut(from, self.at.saturating_sub(bytes), Some(number));
                        from = self.at;
                    }
                    _ => {}
                }
                before = piece;
            }
            if self.peek() != Some(Piece::Symbol(',')) {
                cut(from, self.at, None);
                return Ok(parts);
            }
            self.next();
        }
    }

    /// ON CONFLICT ... DO NOTHING, or nothing. Answers where it ends.
    fn tail(&mut self) -> Result<usize, String> {
        if self.peek().is_none() {
            return Ok(self.at);
        }
        let said = || format!("{SHAPE}, and behind it ON CONFLICT DO NOTHING at most");
        let mut pieces = Vec::new();
        while let Some(piece) = self.next() {
            pieces.push(piece);
        }
        let [on, conflict, .., do_, nothing] = pieces.as_slice() else { return Err(said()) };
        let is_framed = on.is("on") && conflict.is("conflict") && do_.is("do") && nothing.is("nothing");
        let refused = |piece: &Piece<'_>| {
            ["update", "returning", "select"].iter().any(|word| piece.is(word))
                || matches!(piece, Piece::Parameter(..))
        };
        if is_framed && !pieces.iter().any(refused) { Ok(self.at) } else { Err(said()) }
    }
}

/// Refuses what would mean something else beside the rows of other calls, or is not taken there.
fn alone_as_together(piece: Piece<'_>, is_called: bool) -> Result<(), String> {
    if is_called && piece.names_one_of(OF_THE_SESSION) {
        return Err("append is sent later, when what was done before is another: use execute".to_owned());
    }
    if is_called && piece.names_one_of(SETS) {
        return Err("append takes single values, no sets among them: use execute".to_owned());
    }
    if matches!(piece, Piece::Word(_)) && piece.names_one_of(QUERIES) {
        return Err("append takes values, no query among them: use execute".to_owned());
    }
    Ok(())
}

#[cfg(test)]
#[path = "insert_tests.rs"]
mod tests;
