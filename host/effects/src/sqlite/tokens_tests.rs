//! Tokens: known texts are cut as SQLite cuts them, and any text is cut without a gap.

use proptest::prelude::*;
use proptest::sample::select;

use super::*;

/// Pieces that mean something to a reader of SQL, whole or half.
const PIECES: &[&str] = &[
    "'", "''", "\"", "`", "[", "]", "--", "/*", "*/", "/", "*", "-", "$", "$1", "$1a", "::", ";", ",", ".",
    "(", ")", "?", "@", " ", "\t", "\n", "\r", "\x0c", "\x0b", "\0", "\u{feff}", "\u{a0}", "\u{3000}",
    "select", "PRAGMA_x", "_sqlx_", "or", "rollback", "ä", "1", "1.5e3", "0x1F", "x'00'", "🦀",
];

fn tokens(text: &str) -> Vec<Token<'_>> {
    Tokens::of(text).collect::<Result<_, _>>().unwrap()
}

#[test]
fn words_quotes_and_comments_are_told_apart() {
    use Token::{Number, Parameter, Quoted, Symbol, Word};
    let text = "select \"a\"\"b\", [c]]d]/* ; */ 'it''s' -- ; \n , 0x1F $12 x";
    let expected = [
        Word("select"),
        Quoted("a\"\"b"),
        Symbol(','),
        Quoted("c"),
        Symbol(']'),
        Word("d"),
        Symbol(']'),
        Quoted("it''s"),
        Symbol(','),
        Number,
        Parameter("12"),
        Word("x"),
    ];
    assert_eq!(tokens(text), expected);
}

#[test]
fn an_open_comment_ends_with_the_text_and_an_open_quote_is_an_error() {
    assert_eq!(tokens("select /* ; drop"), [Token::Word("select")]);
    assert_eq!(Tokens::of("'it''s").last(), Some(Err("a quote is not closed")));
}

/// SQLite reads it as a blank where a token could begin, and as part of the name that it stands in.
#[test]
fn a_byte_order_mark_begins_no_name() {
    for text in ["\u{feff}", "a \u{feff}b", "(\u{feff}b)", "'a'\u{feff}b", "/**/\u{feff}b"] {
        let fault = Tokens::of(text).last();
        assert_eq!(fault, Some(Err("a byte-order mark stands outside quotes")), "{text:?}");
    }
    assert_eq!(tokens("a\u{feff}b"), [Token::Word("a\u{feff}b")]);
    assert_eq!(tokens("'\u{feff}' -- \u{feff}"), [Token::Quoted("\u{feff}")]);
}

/// How many bytes of blanks and comments a text begins with, read character by character.
fn blank_bytes(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut at = 0;
    loop {
        match &bytes[at..] {
            [b' ' | b'\t' | b'\n' | b'\r' | b'\x0c', ..] => at += 1,
            [b'-', b'-', ..] => {
                while bytes.get(at).is_some_and(|byte| *byte != b'\n') {
                    at += 1;
                }
            }
            [b'/', b'*', ..] => {
                at += 2;
                while at < bytes.len() && !bytes[at..].starts_with(b"*/") {
                    at += 1;
                }
                at = (at + 2).min(bytes.len());
            }
            _ => return at,
        }
    }
}

/// Whether a token says what is written.
fn is_written(token: Token<'_>, piece: &str) -> bool {
    let quoted = |text: &str| {
        let closing = if piece.starts_with('[') { ']' } else { piece.chars().next().unwrap() };
        "'\"`[".contains(piece.chars().next().unwrap())
            && piece.ends_with(closing)
            && piece.get(1..piece.len() - 1) == Some(text)
    };
    match token {
        Token::Word(text) => piece == text && text.chars().all(is_name),
        Token::Quoted(text) => quoted(text),
        Token::Parameter(text) => piece.strip_prefix('$') == Some(text),
        Token::Number => piece.starts_with(|first: char| first.is_ascii_digit()),
        Token::Symbol(symbol) => piece == symbol.to_string(),
    }
}

/// Cuts the whole text: each token is what stands in it after the blanks, nothing is left over, and a
/// fault ends it.
fn whole(text: &str) -> Result<(), TestCaseError> {
    let mut tokens = Tokens::of(text);
    loop {
        let before = tokens.rest;
        let token = tokens.next();
        prop_assert!(before.ends_with(tokens.rest));
        let taken = &before[..before.len() - tokens.rest.len()];
        let piece = &taken[blank_bytes(taken)..];
        match token {
            Some(Ok(token)) => prop_assert!(is_written(token, piece), "{token:?} of {piece:?}"),
            Some(Err(_)) => prop_assert!(!piece.is_empty() && tokens.rest.is_empty()),
            None => {
                prop_assert_eq!((piece, tokens.rest), ("", ""));
                return Ok(());
            }
        }
    }
}

proptest! {
    #[test]
    fn any_text_is_cut_without_a_gap(text: String) {
        whole(&text)?;
    }

    #[test]
    fn anything_like_sql_is_cut_without_a_gap(pieces in prop::collection::vec(select(PIECES), 0..12)) {
        whole(&pieces.concat())?;
    }
}
