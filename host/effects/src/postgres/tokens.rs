//! Cuts the text of a statement into tokens as PostgreSQL does, so that rules can be checked on words and
//! not on what stands inside quotes and comments. What PostgreSQL reads in more than one way is refused:
//! texts with escapes (`E''`, `U&''`, `U&""`) and dollar quotes, each of which could hide a name.

/// One token. Comments and white space are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    /// A keyword or a bare name.
    Word(&'a str),
    /// A name in double quotes.
    Name(&'a str),
    /// A text in single quotes.
    Text,
    /// `$` and digits, without the `$`.
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

    fn take_while(&mut self, matches: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|one| !matches(one)).unwrap_or(self.rest.len());
        self.take(end)
    }

    fn take(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at_checked(bytes).unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }

    fn skip_blanks(&mut self) -> Result<(), &'static str> {
        loop {
            self.take_while(is_blank);
            if self.rest.starts_with("--") {
                self.take_while(|one| one != '\n' && one != '\r');
            } else if self.rest.starts_with("/*") {
                self.skip_comment()?;
            } else {
                return Ok(());
            }
        }
    }

    /// A comment; comments nest.
    fn skip_comment(&mut self) -> Result<(), &'static str> {
        let mut depth = 0_usize;
        loop {
            if self.rest.starts_with("/*") {
                self.take(2);
                depth += 1;
            } else if self.rest.starts_with("*/") {
                self.take(2);
                depth -= 1;
                if depth == 0 {
                    return Ok(());
                }
            } else {
                let one = self.rest.chars().next().ok_or("a comment is not closed")?;
                self.take(one.len_utf8());
            }
        }
    }

    /// A quoted piece; a doubled closing quote is one of its characters.
    fn quoted(&mut self, closing: char) -> Result<&'a str, &'static str> {
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
            if !after.starts_with(closing) {
                return Ok(body.get(..length).unwrap_or(body));
            }
            self.take(1);
            length += 2;
        }
    }

    fn dollar(&mut self) -> Result<Token<'a>, &'static str> {
        self.take(1);
        let digits = self.take_while(|one| one.is_ascii_digit());
        if digits.is_empty() {
            return Err("a $ without a number (dollar quotes are not for handlers)");
        }
        Ok(Token::Parameter(digits))
    }

    /// A number. Servers before version 15 end it at the first letter that it cannot have, and read a keyword or a
    /// name from there (`1into t`); later ones refuse it.
    fn number(&mut self) -> Result<Token<'a>, &'static str> {
        let number = self.take_while(|one| one.is_ascii_alphanumeric() || one == '_' || one == '.');
        let lower = number.to_ascii_lowercase();
        let is_one = match ["0x", "0o", "0b"].iter().find_map(|prefix| lower.strip_prefix(prefix)) {
            Some(digits) => digits.chars().all(|one| one.is_ascii_hexdigit() || one == '_'),
            // What stands behind the sign of an exponent is a number of its own here.
            None => !lower.replacen('e', "", 1).contains(|one: char| one.is_ascii_alphabetic()),
        };
        if is_one { Ok(Token::Number) } else { Err("a number that a name follows at once") }
    }

    /// A name, unless it opens a text in which backslashes count.
    fn word(&mut self) -> Result<Token<'a>, &'static str> {
        let word = self.take_while(is_name);
        let escapes = word.eq_ignore_ascii_case("e") && self.rest.starts_with('\'');
        let unicode =
            word.eq_ignore_ascii_case("u") && (self.rest.starts_with("&'") || self.rest.starts_with("&\""));
        if escapes || unicode {
            return Err("a text with escapes (E'' or U&''), which belongs into a parameter,");
        }
        Ok(Token::Word(word))
    }

    fn token(&mut self) -> Result<Option<Token<'a>>, &'static str> {
        self.skip_blanks()?;
        let Some(first) = self.rest.chars().next() else { return Ok(None) };
        Ok(Some(match first {
            '\'' => self.quoted(first).map(|_text| Token::Text)?,
            '"' => Token::Name(self.quoted(first)?),
            '$' => self.dollar()?,
            _ if first.is_ascii_digit() => self.number()?,
            _ if is_name(first) => self.word()?,
            _ if first.is_control() => return Err("a control character stands outside quotes"),
            _ => {
                self.take(first.len_utf8());
                Token::Symbol(first)
            }
        }))
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Result<Token<'a>, &'static str>;

    fn next(&mut self) -> Option<Self::Item> {
        let token = self.token();
        if token.is_err() {
            self.rest = "";
        }
        token.transpose()
    }
}

fn is_blank(one: char) -> bool {
    matches!(one, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c')
}

/// PostgreSQL counts every character beyond ASCII as part of a name, and `$` behind its first.
fn is_name(one: char) -> bool {
    one.is_ascii_alphanumeric() || one == '_' || one == '$' || !one.is_ascii()
}
