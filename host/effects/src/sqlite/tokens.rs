//! Cuts the text of a statement into tokens as SQLite does, so that rules can be checked on words and
//! not on what stands inside quotes and comments.

/// A blank to SQLite where a token could begin, and a part of the name that it stands in. As a blank it is
/// refused: nobody sees it, and what is told from it is another statement than the one that is read.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// One token. Comments and white space are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    /// A keyword or a bare name.
    Word(&'a str),
    /// What stands between quotes of any kind. SQLite takes even a text in single quotes for a name
    /// where only a name can stand.
    Quoted(&'a str),
    /// `$` and what follows, without the `$`.
    Parameter(&'a str),
    /// A number.
    Number,
    /// Anything else, one character each.
    Symbol(char),
}

/// The tokens of a text, or what is wrong with it.
pub(crate) struct Tokens<'a> {
    rest: &'a str,
}

impl<'a> Tokens<'a> {
    pub(crate) fn of(text: &'a str) -> Self {
        Self { rest: text }
    }

    /// How many bytes are still to be read.
    pub(crate) fn left_bytes(&self) -> usize {
        self.rest.len()
    }

    /// Takes what matches from the front.
    fn take_while(&mut self, matches: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|one| !matches(one)).unwrap_or(self.rest.len());
        self.take(end)
    }

    fn take(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at_checked(bytes).unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }

    fn skip_blanks(&mut self) {
        loop {
            self.take_while(is_blank);
            if self.rest.starts_with("--") {
                self.take_while(|one| one != '\n');
            } else if let Some(comment) = self.rest.strip_prefix("/*") {
                // A comment without an end reaches to the end of the text.
                self.rest = comment.split_once("*/").map_or("", |(_, after)| after);
            } else {
                return;
            }
        }
    }

    /// A quoted piece; a doubled closing quote is one of its characters.
    fn quoted(&mut self, closing: char) -> Result<Token<'a>, &'static str> {
        self.take(1);
        let body = self.rest;
        let mut length = 0;
        loop {
            let Some((before, after)) = self.rest.split_once(closing) else {
                self.rest = "";
                return Err("a quote is not closed");
            };
            length += before.len();
            self.rest = after;
            if closing == ']' || !after.starts_with(closing) {
                return Ok(Token::Quoted(body.get(..length).unwrap_or(body)));
            }
            self.take(1);
            length += 2;
        }
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Result<Token<'a>, &'static str>;

    fn next(&mut self) -> Option<Self::Item> {
        self.skip_blanks();
        let first = self.rest.chars().next()?;
        Some(match first {
            '\'' | '"' | '`' => self.quoted(first),
            '[' => self.quoted(']'),
            '$' => {
                self.take(1);
                Ok(Token::Parameter(self.take_while(is_name)))
            }
            _ if first.is_ascii_digit() => {
                self.take_while(|one| is_name(one) || one == '.');
                Ok(Token::Number)
            }
            BYTE_ORDER_MARK => {
                self.rest = "";
                Err("a byte-order mark stands outside quotes")
            }
            _ if is_name(first) => Ok(Token::Word(self.take_while(is_name))),
            _ if first.is_control() => {
                self.rest = "";
                Err("a control character stands outside quotes")
            }
            _ => {
                self.take(first.len_utf8());
                Ok(Token::Symbol(first))
            }
        })
    }
}

fn is_blank(one: char) -> bool {
    matches!(one, ' ' | '\t' | '\n' | '\r' | '\x0c')
}

/// SQLite counts every character beyond ASCII, and `$`, as part of a name.
fn is_name(one: char) -> bool {
    one.is_ascii_alphanumeric() || one == '_' || one == '$' || !one.is_ascii()
}

#[cfg(test)]
#[path = "tokens_tests.rs"]
mod tests;
