//! Rust source with everything blanked out that is not code, so that a brace in a text is not taken for a block.

/// The source with comments and the contents of literals replaced by spaces. Lines stay where they are.
pub(crate) fn code_only(source: &str) -> String {
    let mut scanner = Scanner { rest: source, code: String::with_capacity(source.len()) };
    while let Some(next) = scanner.rest.chars().next() {
        scanner.step(next);
    }
    scanner.code
}

/// The code of a file up to the tests that stand in it.
pub(crate) fn production(code: &str) -> &str {
    code.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default()
}

struct Scanner<'a> {
    rest: &'a str,
    code: String,
}

impl Scanner<'_> {
    fn step(&mut self, next: char) {
        let rest = self.rest;
        if rest.starts_with("//") {
            self.blank(rest.find('\n').unwrap_or(rest.len()));
        } else if rest.starts_with("/*") {
            self.blank(block_comment(rest));
        } else if let Some(length) = raw_string(rest).filter(|_| !self.within_a_word()) {
            self.blank(length);
        } else if next == '"' {
            self.blank(string(rest));
        } else if let Some(length) = character(rest).filter(|_| next == '\'') {
            self.blank(length);
        } else {
            self.code.push(next);
            self.rest = rest.get(next.len_utf8()..).unwrap_or_default();
        }
    }

    /// Whether the last character of code belongs to a word: the `r` in `for"x"` begins no raw string.
    fn within_a_word(&self) -> bool {
        self.code.ends_with(|c: char| c.is_alphanumeric() || c == '_')
    }

    /// Replaces this many bytes by spaces, keeping line breaks.
    fn blank(&mut self, bytes: usize) {
        let (gone, rest) = self.rest.split_at(bytes);
        self.code.extend(gone.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        self.rest = rest;
    }
}

/// The length of a block comment with those nested in it.
fn block_comment(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(left) = rest.get(at..).filter(|left| !left.is_empty()) {
        if left.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if left.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += left.chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// The length of a raw string (`r"…"`, `br#"…"#`, `cr"…"`), if one begins here.
fn raw_string(rest: &str) -> Option<usize> {
    let prefix = ["r", "br", "cr"].iter().find(|prefix| {
        rest.strip_prefix(**prefix).is_some_and(|after| after.trim_start_matches('#').starts_with('"'))
    })?;
    let body = rest.strip_prefix(prefix)?;
    let hashes = body.len() - body.trim_start_matches('#').len();
    let end = format!("\"{}", "#".repeat(hashes));
    let start = prefix.len() + hashes + 1;
    let length = rest.get(start..)?.find(&end).map_or(rest.len(), |at| start + at + end.len());
    Some(length)
}

/// The length of a string with its quotes.
fn string(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// The length of a character literal, if it is one and not a lifetime.
fn character(rest: &str) -> Option<usize> {
    let mut chars = rest.char_indices().skip(1);
    match chars.next()? {
        (_, '\\') => {
            chars.next()?;
            chars.find(|(_, c)| *c == '\'').map(|(at, _)| at + 1)
        }
        _ => chars.next().filter(|(_, c)| *c == '\'').map(|(at, _)| at + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is left of a line, without the blanks.
    fn left(source: &str) -> String {
        code_only(source).split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_is_not_code_is_blanked() {
        for (source, code) in [
            ("a // { \" }\nb", "a b"),
            ("a /* { /* } */ \" */ b", "a b"),
            (r#"a("{ \" }", b)"#, "a( , b)"),
            ("a(r#\"{ \" }\"#, br\"}\", b)", "a( , , b)"),
            ("a('{', '\\'', '\\u{7b}', b'}')", "a( , , , b )"),
            ("fn a<'b>(c: &'b str) -> 'b {}", "fn a<'b>(c: &'b str) -> 'b {}"),
            ("for\"x\" in r#type", "for in r#type"),
            ("\"not closed {", ""),
        ] {
            assert_eq!(left(source), code, "{source}");
        }
    }

    #[test]
    fn lines_and_columns_stay() {
        let source = "a /* ü\n */ b\n\"c\nd\" e";
        let code = code_only(source);
        assert_eq!(code.lines().count(), 4);
        assert_eq!(code.chars().count(), source.chars().count());
    }
}
