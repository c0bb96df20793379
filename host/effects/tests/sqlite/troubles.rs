//! A file that cannot be read or written, and statements whose answers are not read to their ends.

use std::time::{Duration, Instant};

use keylane_effects::{BeginError, DatabaseConfig, EndedAs, ResultLimits, StatementError, Value, open};
use sqlx::Row;

use crate::suite::{LIMITS, LONG, checked, commit_event, did, heard, kept, owner};
use crate::{config, outside};

/// Writes over the file's first bytes, by another process: to close the file in this one would end the locks that
/// SQLite has on it.
fn write_over(file: &std::path::Path, bytes: &[u8]) {
    let part = file.with_extension("part");
    std::fs::write(&part, bytes).unwrap();
    let (from, to) = (format!("if={}", part.display()), format!("of={}", file.display()));
    let done = std::process::Command::new("dd").args([&from, &to, "conv=notrunc", "status=none"]).status();
    assert!(done.unwrap().success());
}

/// Only a lock is worth waiting for. A file that cannot be read is told at once, and opened anew later.
#[tokio::test]
async fn a_damaged_file_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let config = DatabaseConfig { lock_wait: 2 * LONG, ..config(&folder) };
    let database = open(&config).await.unwrap();
    let fence = owner(&*database, "CREATE TABLE t (a BIGINT)").await;
    commit_event(&*database, &fence, 1).await;
    // Into the file itself, so that its first page is read from there.
    let mut outside = outside(&folder).await;
    for text in ["PRAGMA wal_checkpoint(TRUNCATE)", "INSERT INTO t VALUES (2) RETURNING 0"] {
        assert_eq!(sqlx::query(text).fetch_one(&mut outside).await.unwrap().get::<i64, _>(0), 0);
    }
    let file = folder.path().join("effects.db");
    write_over(&file, &[0; 16]);
    for _ in 0..2 {
        let asked = Instant::now();
        let begun = database.begin(&fence).await.err();
        assert!(matches!(&begun, Some(BeginError::Database(error)) if error.can_retry()), "{begun:?}");
        assert!(asked.elapsed() < LONG, "it was waited for");
    }
    write_over(&file, b"SQLite format 3\0");
    commit_event(&*database, &fence, 3).await;
    assert_eq!(kept(&*database).await, [1, 2, 3]);
}

/// Its first row is no text, and a second one never comes.
const UNREADABLE: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) \
                          SELECT CAST(x'ff' AS TEXT) UNION ALL SELECT i FROM n WHERE i < 0";
/// The same with a row that can be read.
const READABLE: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) \
                        SELECT 1 UNION ALL SELECT i FROM n WHERE i < 0";
const NO_ROW: ResultLimits = ResultLimits { rows: 0, bytes: 1_000 };

/// The writer is not kept by what nobody reads any more.
#[tokio::test]
async fn a_run_ends_what_it_does_not_read_to_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let database = open(&config(&folder)).await.unwrap();
    let fence = owner(&*database, "CREATE TABLE t (a BIGINT)").await;
    for (text, limits, deadline) in [
        (UNREADABLE, LIMITS, Duration::from_millis(300)),
        (UNREADABLE, LIMITS, LONG),
        (READABLE, NO_ROW, LONG),
    ] {
        let run = database.begin(&fence).await.unwrap();
        let ((), run) = run.savepoint().await.unwrap();
        let asked = run.query(checked(&*database, text, &[]), Vec::new(), limits, deadline);
        let asked = tokio::time::timeout(Duration::from_secs(5), asked).await.unwrap();
        let failed = asked.err().unwrap();
        let own = matches!(heard(&failed), StatementError::Refused(_) | StatementError::Limit(_));
        assert!(own, "{failed:?}");
        // It was only read, so that the transaction goes on.
        let run = failed.transaction.unwrap();
        tokio::time::timeout(Duration::from_secs(5), run.rollback()).await.unwrap();
    }
    commit_event(&*database, &fence, 1).await;
    assert_eq!(kept(&*database).await, [1]);
}

/// Writes without end.
const ENDLESS_WRITE: &str = "INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) \
                             SELECT i FROM n";

/// SQLite rolls all of a transaction back where it stops a statement that writes, so that the run is over with all of
/// its events, whether a savepoint stood or not.
#[tokio::test]
async fn a_write_that_is_stopped_at_its_deadline_takes_its_run_along() {
    let folder = tempfile::tempdir().unwrap();
    let database = open(&config(&folder)).await.unwrap();
    let fence = owner(&*database, "CREATE TABLE t (a BIGINT)").await;
    let short = Duration::from_millis(300);
    for (offset, savepoint) in [(1, false), (2, true)] {
        let run = database.begin(&fence).await.unwrap();
        let mut run = did(&*database, run, "INSERT INTO t VALUES (-1)", Vec::new()).await;
        if savepoint {
            ((), run) = run.savepoint().await.unwrap();
        }
        let statement = checked(&*database, ENDLESS_WRITE, &[]);
        let failed = run.execute(statement, Vec::new(), short).await.err().unwrap();
        let StatementError::Late(said) = heard(&failed) else { panic!("{failed:?}") };
        assert!(said.contains("300ms"), "{said}");
        assert!(failed.transaction.is_none(), "there is nothing left to go back in");
        assert_eq!(kept(&*database).await, [0_i64; 0]);
        commit_event(&*database, &fence, offset).await;
        let all = checked(&*database, "DELETE FROM t", &[]);
        let (deleted, run) =
            database.begin(&fence).await.unwrap().execute(all, Vec::new(), LONG).await.unwrap();
        assert_eq!(deleted, 1);
        run.finish(&[], &[(10 + offset, EndedAs::Done)], LONG).await.unwrap();
    }
    assert_eq!(database.ended(&fence, &[1, 2, 3]).await.unwrap(), [1, 2]);
}

/// The next query has the connection for itself.
#[tokio::test]
async fn a_reader_ends_what_it_does_not_read_to_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let config = DatabaseConfig { read_connections: 1, ..config(&folder) };
    let database = open(&config).await.unwrap();
    for (text, limits) in [(UNREADABLE, LIMITS), (READABLE, NO_ROW)] {
        let cut = database.query(checked(&*database, text, &[]), Vec::new(), limits, LONG).await;
        assert!(matches!(cut, Err(StatementError::Refused(_) | StatementError::Limit(_))), "{cut:?}");
        let next = checked(&*database, "SELECT 1", &[]);
        let asked = Instant::now();
        let rows = database.query(next, Vec::new(), LIMITS, Duration::from_secs(5)).await.unwrap();
        assert_eq!(rows.rows, [[Value::Integer(1)]]);
        assert!(asked.elapsed() < Duration::from_secs(2), "it waited for the one before");
    }
}
