//! How many calls go into one statement, and how it reads.

use super::*;

fn insert(text: &str, parameters: usize) -> Insert {
    use crate::value::Value;
    let parameters = vec![Value::Null; parameters];
    crate::sqlite::check_append(text, &parameters, &crate::statement::StatementLimits::default()).unwrap()
}

#[test]
fn rows_are_repeated_with_parameters_of_their_own() {
    let insert = insert("INSERT INTO t (a, b) VALUES ($2, lower($1)), (1, $2) ON CONFLICT DO NOTHING ;", 2);
    assert_eq!(
        &*insert.statement(1).text,
        "INSERT INTO t (a, b) VALUES ($2, lower($1)), (1, $2) ON CONFLICT DO NOTHING"
    );
    assert_eq!(
        &*insert.statement(2).text,
        "INSERT INTO t (a, b) VALUES ($2, lower($1)), (1, $2), ($4, lower($3)), (1, $4) ON CONFLICT DO NOTHING"
    );
}

#[test]
fn a_statement_is_bounded_and_of_few_lengths() {
    let narrow = insert("INSERT INTO t (a) VALUES ($1)", 1);
    assert_eq!([1, 2, 3, 127, 128, 4_000].map(|left| narrow.calls_of(left)), [1, 2, 2, 64, 128, 128]);
    let wide = insert(&format!("INSERT INTO t (a) VALUES (${})", 300), 300);
    assert_eq!(wide.calls_of(100), 2, "3 of 300 parameters are few enough, and no power of two");
    let long = insert(&format!("INSERT INTO t (a) VALUES ('{}')", "x".repeat(20_000)), 0);
    assert_eq!(long.calls_of(100), 2, "4 of 20,000 bytes are too long");
    let longer = insert(&format!("INSERT INTO t (a) VALUES ('{}')", "x".repeat(60_000)), 0);
    assert_eq!(longer.calls_of(100), 1);
}

#[test]
fn its_table_is_found_in_a_text_however_it_is_written() {
    for (text, named) in [
        ("SELECT * FROM Entry", true),
        ("SELECT * FROM main.\"ENTRY\"", true),
        ("SELECT 'entry'", true),
        ("SELECT * FROM account", false),
    ] {
        for table in ["entry", "main.[Entry]", "'entry'"] {
            let insert = insert(&format!("INSERT INTO {table} (a) VALUES ($1)"), 1);
            assert_eq!(insert.may_be_named_in(&text.to_ascii_lowercase()), named, "{table}: {text}");
        }
    }
}

#[test]
fn a_table_with_a_long_name_is_found_by_what_a_database_keeps_of_it() {
    let name = "e".repeat(62);
    let of = |end: &str| insert(&format!("INSERT INTO {name}{end} (a) VALUES ($1)"), 1);
    for (written, named) in [("ab", "ac"), ("ab", "a"), ("\u{e9}b", "\u{e9}c")] {
        let (one, other) = (of(written), of(named));
        assert!(one.may_be_named_in(&format!("select * from {name}{named}")), "{written}, {named}");
        assert!(one.is_beside(&other), "{written}, {named}");
    }
    assert!(!of("a").is_beside(&of("b")));
}
