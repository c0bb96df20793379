//! Statements drawn at random: no text brings the check down, and what is refused stays refused however
//! it is written.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

/// Refused statements, cut where SQLite allows blanks.
const REFUSED: &[&[&str]] = &[
    &["COMMIT"],
    &["BEGIN", "IMMEDIATE"],
    &["SAVEPOINT", "a"],
    &["PRAGMA", "journal_mode", "=", "DELETE"],
    &["ATTACH", "DATABASE", "'a'", "AS", "p"],
    &["VACUUM", "INTO", "'x'"],
    &["DROP", "TABLE", "t"],
    &["EXPLAIN", "SELECT", "1"],
    &["SELECT", "1", ";", "COMMIT"],
    &["INSERT", "OR", "ROLLBACK", "INTO", "t", "VALUES", "(", "1", ")"],
    &["UPDATE", "OR", "ROLLBACK", "t", "SET", "a", "=", "1"],
    &["DELETE", "FROM", "keylane_claim"],
    &["DELETE", "FROM", "main", ".", "[keylane_claim]"],
    &["SELECT", "*", "FROM", "\"pragma_database_list\""],
    &["INSERT", "INTO", "keylane_fence", "VALUES", "(", "1", ")"],
    &["SELECT", "fts3_tokenizer", "(", "'simple'", ")"],
    &["SELECT", "load_extension", "(", "'x'", ")"],
    &["SELECT", "1", "-", ":a"],
    &["SELECT", "?", "+", "1"],
    &["SELECT", "$1"],
];
/// Statements that are let through, cut in the same way.
const ALLOWED: &[&[&str]] = &[
    &["SELECT", "';'", ",", "\"a;b\"", ",", "[c;d]", "FROM", "t"],
    &["INSERT", "OR", "IGNORE", "INTO", "t", "VALUES", "(", "'BEGIN; COMMIT'", ")"],
    &["WITH", "a", "AS", "(", "SELECT", "1", ")", "DELETE", "FROM", "t"],
    &["UPDATE", "t", "SET", "a", "=", "a", "-", "1", "WHERE", "b", "=", "'it''s'"],
];
/// What may stand before a refused statement without making it a good one.
const BEFORE: &[&str] = &["", "SELECT 'it''s';", "SELECT \"a;\" ;", "VALUES (1);", "/* ' */", "-- \"\n"];
/// What may stand after it.
const AFTER: &[&str] = &["", ";", ";;", "; SELECT ' '", "-- '", "/* \" */", "/* not closed"];

fn check(text: &str) -> Result<Statement, StatementError> {
    super::check(text, &[], &StatementLimits::default())
}

/// One blank or comment. The byte-order mark is a blank to SQLite where a token could begin.
fn blank() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => select(&[" ", "\t", "\n", "\r", "\x0c"][..]).prop_map(str::to_owned),
        1 => "/\\*[a-z'\";$ -]{0,8}\\*/",
        1 => "--[a-z'\";$* -]{0,8}\n",
    ]
}

/// Some blanks, of which the first is no byte-order mark: within a name it would be a part of it.
fn blanks(marks: bool) -> impl Strategy<Value = String> {
    let more = prop_oneof![
        9 => blank().boxed(),
        1 => if marks { Just("\u{feff}".to_owned()).boxed() } else { blank().boxed() },
    ];
    (blank(), vec(more, 0..3)).prop_map(|(first, more)| first + &more.concat())
}

/// A statement, its words in any case and any blanks between them.
fn written(from: &'static [&'static [&'static str]], marks: bool) -> impl Strategy<Value = String> {
    select(from).prop_flat_map(move |words| {
        let cases = vec(any::<u64>(), words.len());
        (cases, vec(blanks(marks), words.len() + 1)).prop_map(move |(cases, blanks)| {
            let words = words.iter().zip(cases).zip(&blanks);
            let text: String =
                words.map(|((word, case), blank)| format!("{blank}{}", any_case(word, case))).collect();
            text + blanks.last().unwrap()
        })
    })
}

fn any_case(word: &str, mut case: u64) -> String {
    let turned = word.chars().map(|letter| {
        case = case.rotate_right(1);
        if case & 1 == 0 { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() }
    });
    turned.collect()
}

proptest! {
    #[test]
    fn any_text_is_checked_without_harm(text: String) {
        let _answer = check(&text);
    }

    #[test]
    fn what_is_refused_stays_refused(
        text in written(REFUSED, true),
        before in select(BEFORE),
        after in select(AFTER),
    ) {
        let text = format!("{before}{text}{after}");
        prop_assert!(matches!(check(&text), Err(StatementError::Refused(_))), "{text:?}");
    }

    #[test]
    fn what_is_allowed_stays_allowed(text in written(ALLOWED, false), after in select(&AFTER[..3])) {
        let text = text + after;
        prop_assert!(check(&text).is_ok(), "{:?}", check(&text));
    }

    #[test]
    fn a_nul_is_refused_wherever_it_stands(before in "[a-z'/*-]{0,6}", after in "[a-z'/*-]{0,6}") {
        let text = format!("SELECT 1 {before}\0{after}");
        prop_assert!(matches!(check(&text), Err(StatementError::Refused(_))), "{text:?}");
    }
}
