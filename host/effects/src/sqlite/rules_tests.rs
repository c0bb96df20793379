//! Statements that are let through, and hostile ones that are not.

use super::*;

fn refusal(text: &str, given: usize) -> String {
    let parameters = vec![Value::Null; given];
    match check(text, &parameters, &StatementLimits::default()) {
        Err(StatementError::Refused(said)) => said,
        other => panic!("{text:?} was not refused but answered {other:?}"),
    }
}

fn allowed(text: &str, given: usize) -> Statement {
    let parameters = vec![Value::Null; given];
    check(text, &parameters, &StatementLimits::default())
        .unwrap_or_else(|error| panic!("{text:?} was refused: {error:?}"))
}

#[test]
fn data_statements_are_let_through() {
    for text in [
        "SELECT 1",
        "  -- a comment\n select a from t;",
        "SELECT ';', \"a;b\", [c;d], `e;f` FROM t /* ; DROP TABLE t */ ; -- the end",
        "VALUES (1, 2)",
        "INSERT INTO t SELECT * FROM u ON CONFLICT DO NOTHING RETURNING a",
        "WITH a AS (SELECT 1) SELECT * FROM a",
        "select begin_at, commit_id from rollback_log",
        "SELECT a -> '$.b', a ->> '$[0]' FROM t",
        "SELECT 'BEGIN; COMMIT'",
    ] {
        allowed(text, 0);
    }
}

#[test]
fn other_statements_are_refused() {
    for text in [
        "BEGIN",
        "BEGIN IMMEDIATE",
        "COMMIT",
        "END",
        "ROLLBACK",
        "/* select */ ROLLBACK",
        "-- select\nCOMMIT",
        "SAVEPOINT a",
        "RELEASE a",
        "PRAGMA journal_mode = DELETE",
        "ATTACH DATABASE '/etc/passwd' AS p",
        "DETACH p",
        "VACUUM INTO '/tmp/x'",
        "CREATE TABLE t (a)",
        "CREATE TEMP TRIGGER t BEFORE INSERT ON t BEGIN SELECT RAISE(ROLLBACK, 'x'); END",
        "DROP TABLE t",
        "ALTER TABLE t ADD a",
        "REINDEX",
        "ANALYZE",
        "EXPLAIN SELECT 1",
        "(SELECT 1)",
        "'select' 1",
        "\u{feff}SELECT 1",
    ] {
        refusal(text, 0);
    }
    assert_eq!(refusal("", 0), "the statement does not begin with a keyword");
    assert!(refusal("PRAGMA user_version", 0).starts_with("\"PRAGMA\" is not for handlers: a statement"));
}

#[test]
fn more_than_one_statement_is_refused() {
    for text in [
        "SELECT 1; COMMIT",
        "SELECT 1;SELECT 2;",
        "SELECT 1 /* */ ; -- x\n ROLLBACK",
        "SELECT 'it''s'; COMMIT",
        "SELECT \"a\"\"\"; COMMIT; --\"",
        "SELECT [a]]; COMMIT; --]",
    ] {
        assert_eq!(refusal(text, 0), "one statement at a time", "{text}");
    }
}

#[test]
fn names_beyond_the_data_are_refused_in_any_quotes() {
    for text in [
        "SELECT * FROM pragma_table_info('t')",
        "SELECT * FROM \"PRAGMA_database_list\"",
        "DELETE FROM keylane_claim",
        "DELETE FROM 'keylane_claim'",
        "DELETE FROM [KEYLANE_claim]",
        "SELECT * FROM main.`keylane_claim`",
        "INSERT INTO keylane_fence VALUES (1)",
        "SELECT fts3_tokenizer('simple')",
        "SELECT \"FTS3_tokenizer\"('simple', x'00')",
        "SELECT load_extension('/tmp/x.so')",
    ] {
        assert!(refusal(text, 0).contains("is not for handlers"), "{text}");
    }
}

#[test]
fn or_rollback_is_refused() {
    refusal("INSERT OR ROLLBACK INTO t VALUES (1)", 0);
    refusal("UPDATE or /* */ rollback t SET a = 1", 0);
    allowed("INSERT OR IGNORE INTO t VALUES (1)", 0);
}

#[test]
fn broken_text_is_refused() {
    refusal("SELECT 'open", 0);
    refusal("SELECT \"open", 0);
    refusal("SELECT 1 \0; COMMIT", 0);
    refusal("SELECT\u{b}1", 0);
}

#[test]
fn parameters_are_numbered_and_all_of_them_given() {
    allowed("SELECT $1, $2, $1", 2);
    assert_eq!(refusal("SELECT $1", 0), "the statement names 1 parameters, 0 are given");
    assert_eq!(refusal("SELECT 1", 1), "the statement names 0 parameters, 1 are given");
    for text in [
        "SELECT ?",
        "SELECT ?1",
        "SELECT :a",
        "SELECT @a",
        "SELECT $a",
        "SELECT $0",
        "SELECT $",
        "SELECT $1::x",
        "SELECT $1(a)",
        "SELECT $1a",
        "SELECT #1",
    ] {
        refusal(text, 1);
    }
}

#[test]
fn what_changes_rows_is_known() {
    assert!(allowed("insert into t values (1)", 0).changes);
    assert!(allowed("WITH a AS (SELECT 1) DELETE FROM t", 0).changes);
    assert!(!allowed("WITH a AS (VALUES (1)) SELECT replace('a', 'b', 'c') FROM a", 0).changes);
    assert!(!allowed("SELECT 1", 0).changes);
}

#[test]
fn limits_are_named() {
    let limits = StatementLimits { text_bytes: 10, parameters: 1, parameter_bytes: 20 };
    let check =
        |text: &str, parameters: &[Value]| super::check(text, parameters, &limits).map(|_| ()).unwrap_err();
    let limit = |said: &str| StatementError::Limit(said.to_owned());
    assert_eq!(check("SELECT 1234", &[]), limit("the statement's text: 11 bytes, 10 are allowed"));
    assert_eq!(
        check("SELECT 1", &[Value::Null, Value::Null]),
        limit("the statement: 2 parameters, 1 are allowed")
    );
    assert_eq!(
        check("SELECT $1", &[Value::Text("thirteen bytes".to_owned())]),
        limit("all parameters together: 22 bytes, 20 are allowed")
    );
}
