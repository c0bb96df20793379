//! Statements that fail or must not run: what the guest hears, and what is left of the run.

use std::time::Duration;

use keylane_effects::{EndedAs, ResultLimits, StatementError, StatementLimits, Value};

use super::{ENDLESS, Ground, LIMITS, LONG, checked, did, execute, heard, kept, owner, rows};

const TABLE: &str = "CREATE TABLE t (a BIGINT NOT NULL CHECK (a >= 0), UNIQUE (a))";

/// Each fault ends the run, says what it is, and leaves nothing that could be committed.
pub async fn a_fault_ends_the_run(ground: &Ground) {
    let database = &*ground.here;
    let fence = owner(database, TABLE).await;
    for (text, parameters) in [
        ("INSERT INTO t VALUES (1)", vec![]),
        ("INSERT INTO t VALUES (-1)", vec![]),
        ("INSERT INTO t VALUES ($1)", vec![Value::Null]),
        ("INSERT INTO nowhere VALUES (1)", vec![]),
        ("SELECT FROM WHERE", vec![]),
        ("SELECT a + FROM t", vec![]),
        ("UPDATE t SET nothing = 1", vec![]),
    ] {
        let run = database.begin(&fence).await.unwrap();
        let run = did(database, run, "INSERT INTO t VALUES (1)", Vec::new()).await;
        let failed = execute(database, run, text, parameters).await.err().unwrap();
        assert!(matches!(heard(&failed), StatementError::Refused(_)), "{text}: {failed:?}");
        assert!(failed.transaction.is_none(), "{text}: no savepoint stood");
    }
    assert_eq!(kept(database).await, Vec::<i64>::new());
}

/// A text for a number is refused, but where columns take values of any kind, as `wit/sql.wit` says of SQLite.
pub async fn a_value_of_another_kind_is_the_columns_to_judge(ground: &Ground) {
    let database = &*ground.here;
    let fence = owner(database, TABLE).await;
    let run = database.begin(&fence).await.unwrap();
    let text = Value::Text("one".to_owned());
    match execute(database, run, "INSERT INTO t VALUES ($1)", vec![text.clone()]).await {
        Ok((changed, run)) => {
            assert!(ground.words.takes_any_kind && changed == 1);
            let (back, run) = rows(database, run, "SELECT a FROM t", Vec::new()).await;
            assert_eq!(back.rows, [[text]]);
            run.rollback().await;
        }
        Err(failed) => {
            assert!(!ground.words.takes_any_kind, "{failed:?}");
            assert!(matches!(heard(&failed), StatementError::Refused(_)), "{failed:?}");
        }
    }
    assert_eq!(kept(database).await, Vec::<i64>::new());
}

/// A statement that takes too long is stopped in the database, and the next run goes on.
pub async fn a_late_statement_is_stopped(ground: &Ground) {
    let database = &*ground.here;
    let fence = owner(database, TABLE).await;
    let run = database.begin(&fence).await.unwrap();
    let run = did(database, run, "INSERT INTO t VALUES (1)", Vec::new()).await;
    let short = Duration::from_millis(300);
    let statement = checked(database, ENDLESS, &[]);
    let failed = run.query(statement.clone(), Vec::new(), LIMITS, short).await.err().unwrap();
    assert!(matches!(heard(&failed), StatementError::Late(_)), "{failed:?}");
    assert!(failed.transaction.is_none());
    let read = database.query(statement, Vec::new(), LIMITS, short).await;
    assert!(matches!(read, Err(StatementError::Late(_))), "{read:?}");
    super::commit_event(database, &fence, 2).await;
    assert_eq!(kept(database).await, [2]);
}

/// More rows or bytes than are allowed is an error, not a shorter answer.
pub async fn a_long_answer_is_refused(ground: &Ground) {
    let database = &*ground.here;
    let fence = owner(database, TABLE).await;
    for limits in [ResultLimits { rows: 2, bytes: 1_000 }, ResultLimits { rows: 10, bytes: 20 }] {
        let run = database.begin(&fence).await.unwrap();
        let run = did(database, run, "INSERT INTO t VALUES (1), (2), (3)", Vec::new()).await;
        let statement = checked(database, "SELECT a FROM t", &[]);
        let failed = run.query(statement, Vec::new(), limits, LONG).await.err().unwrap();
        assert!(matches!(heard(&failed), StatementError::Limit(_)), "{failed:?}");
    }
    let run = database.begin(&fence).await.unwrap();
    let run = did(database, run, "INSERT INTO t VALUES (1), (2)", Vec::new()).await;
    let statement = checked(database, "SELECT a FROM t", &[]);
    let two = ResultLimits { rows: 2, bytes: 1_000 };
    let (rows, run) = run.query(statement, Vec::new(), two, LONG).await.unwrap();
    assert_eq!(rows.rows.len(), 2);
    run.rollback().await;
}

/// A query that was cut short by its limit at the read address leaves its connection usable.
pub async fn a_long_read_leaves_the_connection_usable(ground: &Ground) {
    let database = &*ground.here;
    let fence = owner(database, TABLE).await;
    super::commit_event(database, &fence, 1).await;
    super::commit_event(database, &fence, 2).await;
    for _ in 0..20 {
        let statement = checked(database, "SELECT a FROM t", &[]);
        let one = ResultLimits { rows: 1, bytes: 1_000 };
        let read = database.query(statement, Vec::new(), one, LONG).await;
        assert!(matches!(read, Err(StatementError::Limit(_))), "{read:?}");
    }
    super::commit_event(database, &fence, 3).await;
    assert_eq!(kept(database).await, [1, 2, 3]);
}

/// What is not one data statement is refused, by the check or by the database, and so is every way to the
/// host's tables.
pub async fn statements_that_are_not_for_guests_are_refused(ground: &Ground) {
    let database = &*ground.here;
    let fence = owner(database, TABLE).await;
    let mut texts: Vec<String> = [
        "BEGIN",
        "COMMIT",
        "END",
        "ROLLBACK",
        "SAVEPOINT a",
        "RELEASE a",
        "SELECT 1; SELECT 2",
        "INSERT INTO t VALUES (1); COMMIT",
        "/* select */ COMMIT",
        "CREATE TABLE u (a BIGINT)",
        "DROP TABLE t",
        "ALTER TABLE t ADD COLUMN b TEXT",
        "CREATE VIEW v AS SELECT 1",
        "VACUUM",
        "ANALYZE",
        "EXPLAIN SELECT 1",
    ]
    .iter()
    .map(ToString::to_string)
    .collect();
    for table in ground.words.host_tables {
        texts.push(format!("SELECT * FROM {table}"));
        texts.push(format!("DELETE FROM {table}"));
        texts.push(format!("SELECT 1 WHERE EXISTS (SELECT 1 FROM {table})"));
        texts.push(format!("WITH x AS (SELECT * FROM {table}) SELECT * FROM x"));
        texts.push(format!("INSERT INTO t SELECT count(*) FROM {table}"));
    }
    texts.extend(ground.words.refused.iter().map(ToString::to_string));
    for text in &texts {
        let statement = match database.check(text, &[], &StatementLimits::default()) {
            Err(StatementError::Refused(_)) => continue,
            Err(other) => panic!("{text:?}: {other:?}"),
            Ok(statement) => statement,
        };
        let run = database.begin(&fence).await.unwrap();
        let failed = run.query(statement, Vec::new(), LIMITS, LONG).await.err();
        let failed = failed.unwrap_or_else(|| panic!("{text:?} was not refused"));
        assert!(matches!(heard(&failed), StatementError::Refused(_)), "{text:?}: {failed:?}");
    }
    assert_eq!(kept(database).await, Vec::<i64>::new());
}

/// The read address cannot write, whatever the statement is.
pub async fn the_read_address_cannot_write(ground: &Ground) {
    let database = &*ground.here;
    let fence = owner(database, TABLE).await;
    super::commit_event(database, &fence, 1).await;
    for text in [
        "INSERT INTO t VALUES (2)",
        "UPDATE t SET a = 3",
        "DELETE FROM t",
        "INSERT INTO t VALUES (4) RETURNING a",
    ] {
        let statement = checked(database, text, &[]);
        let read = database.query(statement, Vec::new(), LIMITS, LONG).await;
        assert!(matches!(read, Err(StatementError::Refused(_))), "{text}: {read:?}");
    }
    assert_eq!(kept(database).await, [1]);
}

/// A run sees its own writes; the read address does not before the commit.
pub async fn a_run_reads_its_own_writes(ground: &Ground) {
    let database = &*ground.here;
    let fence = owner(database, TABLE).await;
    let run = database.begin(&fence).await.unwrap();
    let run = did(database, run, "INSERT INTO t VALUES (1)", Vec::new()).await;
    let (inside, run) = super::rows(database, run, "SELECT a FROM t", Vec::new()).await;
    assert_eq!(inside.rows, [[Value::Integer(1)]]);
    assert_eq!(kept(database).await, Vec::<i64>::new());
    run.finish(&[], &[(0, EndedAs::Done)], LONG).await.unwrap();
    assert_eq!(kept(database).await, [1]);
}
