//! The allow list alone: statements that never passed the check of their text, on a run and on a reader; and a
//! disk that is full, as far as SQLite can be told that it is.

use std::time::Duration;

use super::*;
use crate::config::Synchronous;
use crate::error::{FinishError, StatementError, StepError};
use crate::sqlite::authorizer::Mode;
use crate::sqlite::connection::host;
use crate::sqlite::writing::Writing;
use crate::value::ResultLimits;

const LONG: Duration = Duration::from_secs(60);
const LIMITS: ResultLimits = ResultLimits { rows: 100, bytes: 10_000 };

fn unchecked(text: &str) -> Statement {
    Statement { text: text.into(), changes: true }
}

async fn owner(folder: &Path) -> (Arc<dyn Database>, Fence) {
    let database = open(&DatabaseConfig::sqlite(&folder.join("guard.db"))).await.unwrap();
    std::fs::create_dir(folder.join("m")).unwrap();
    let sql = "CREATE TABLE t (a); CREATE VIRTUAL TABLE words USING fts5 (word); \
               CREATE TABLE n (a INTEGER PRIMARY KEY AUTOINCREMENT);";
    std::fs::write(folder.join("m/1_t.sql"), sql).unwrap();
    database.migrate("h", &folder.join("m")).await.unwrap();
    database.settle_start(&key(), &[(0, 0)]).await.unwrap();
    let fence = database.take(&key(), LONG).await.unwrap().fence;
    (database, fence)
}

/// The same as what it is.
async fn opened(folder: &Path) -> (Sqlite, Fence) {
    let _ = owner(folder).await;
    let database = Sqlite::open(&DatabaseConfig::sqlite(&folder.join("guard.db"))).await.unwrap();
    let fence = database.take(&key(), LONG).await.unwrap().fence;
    (database, fence)
}

fn key() -> StreamKey {
    let topic_id = keylane_engine::TopicId::new([1; 16]);
    let (fleet, handler, topic) = ("f".to_owned(), "h".to_owned(), "t".to_owned());
    StreamKey { fleet, handler, topic, topic_id, partition: 0 }
}

/// A kill does not show it, only a power cut: so the connection that writes is asked.
#[tokio::test]
async fn each_commit_goes_to_the_disk_unless_the_configuration_says_otherwise() {
    let folder = tempfile::tempdir().unwrap();
    let by_default = DatabaseConfig::sqlite(&folder.path().join("disk.db"));
    let normal = DatabaseConfig { synchronous: Synchronous::Normal, ..by_default.clone() };
    for (config, wanted) in [(by_default, 2_i64), (normal, 1)] {
        let file = File::new(&config).await.unwrap();
        let mut writer = file.writer(LONG).await.unwrap();
        let rows = writer.as_mut().unwrap().fetch(host("PRAGMA synchronous")).await.unwrap();
        let found: i64 = sqlx::Row::get(rows.first().unwrap(), 0);
        assert_eq!(found, wanted, "{:?}", config.synchronous);
        let rows = writer.as_mut().unwrap().fetch(host("PRAGMA journal_mode")).await.unwrap();
        assert_eq!(sqlx::Row::get::<String, _>(rows.first().unwrap(), 0), "wal");
    }
}

async fn kept(database: &dyn Database) -> usize {
    database.query(unchecked("SELECT 1 FROM t"), Vec::new(), LIMITS, LONG).await.unwrap().rows.len()
}

/// Whatever the text is, it is the database that refuses, and the run's own rows are not committed by it.
#[tokio::test]
async fn the_database_refuses_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let (database, fence) = owner(folder.path()).await;
    for text in [
        "COMMIT",
        "END",
        "ROLLBACK",
        "ROLLBACK; BEGIN",
        "COMMIT; BEGIN IMMEDIATE",
        "SAVEPOINT a",
        "RELEASE keylane_event",
        "PRAGMA journal_mode = DELETE",
        "PRAGMA user_version",
        "PRAGMA data_version = 1",
        "ATTACH ':memory:' AS other",
        "CREATE TABLE u (a)",
        "CREATE TEMP TABLE u (a)",
        "DROP TABLE t",
        "ALTER TABLE t ADD COLUMN b",
        "CREATE TEMP TRIGGER x AFTER INSERT ON t BEGIN DELETE FROM t; END",
        "REINDEX",
        "ANALYZE",
        "SELECT * FROM keylane_claim",
        "SELECT * FROM KEYLANE_FENCE",
        "UPDATE keylane_floor SET floor = 9",
        "SELECT (SELECT count(*) FROM keylane_outbox)",
        "SELECT * FROM sqlite_schema",
        "SELECT * FROM pragma_database_list",
        "SELECT fts3_tokenizer('simple')",
        "SELECT sqlite_source_id()",
        "BEGIN IMMEDIATE",
    ] {
        let run = database.begin(&fence).await.unwrap();
        let (_, run) = run.execute(unchecked("INSERT INTO t VALUES (1)"), Vec::new(), LONG).await.unwrap();
        let failed = run.query(unchecked(text), Vec::new(), LIMITS, LONG).await.err();
        let failed = failed.unwrap_or_else(|| panic!("{text} was let through"));
        assert!(
            matches!(failed.error, StepError::Statement(StatementError::Refused(_))),
            "{text}: {failed:?}"
        );
        let read = database.query(unchecked(text), Vec::new(), LIMITS, LONG).await;
        assert!(read.is_err(), "{text} was let through where it only reads: {read:?}");
    }
    assert_eq!(kept(&*database).await, 0);
}

/// A text that the host has prepared on the same connection is asked for anew when a guest says it.
#[tokio::test]
async fn a_guest_never_meets_a_statement_of_the_host() {
    let folder = tempfile::tempdir().unwrap();
    let (database, fence) = owner(folder.path()).await;
    let text = "SELECT floor FROM keylane_floor WHERE stream = $1";
    assert!(include_str!("ownership.rs").contains(text), "the host says something else by now");
    let run = database.begin(&fence).await.unwrap();
    let failed = run.query(unchecked(text), vec![Value::Integer(fence.stream)], LIMITS, LONG).await.err();
    assert!(failed.is_some(), "the host's prepared statement was run for a guest");
}

/// What ends a transaction although it is a data statement is noticed at once.
#[tokio::test]
async fn or_rollback_ends_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let (database, fence) = owner(folder.path()).await;
    let run = database.begin(&fence).await.unwrap();
    let ((), run) = run.savepoint().await.unwrap();
    let (_, run) = run.execute(unchecked("INSERT INTO n VALUES (1)"), Vec::new(), LONG).await.unwrap();
    let twice = "INSERT OR ROLLBACK INTO n VALUES (1)";
    let failed = run.execute(unchecked(twice), Vec::new(), LONG).await.err().unwrap();
    assert!(failed.transaction.is_none(), "{failed:?}");
    // Two statements in one text: the second would commit alone, were it not refused.
    let run = database.begin(&fence).await.unwrap();
    let two = "INSERT OR ROLLBACK INTO n VALUES (1), (1); INSERT INTO t VALUES (1)";
    assert!(run.execute(unchecked(two), Vec::new(), LONG).await.is_err());
    assert_eq!(kept(&*database).await, 0);
}

/// Should a transaction ever end unnoticed, what a guest writes after it is not committed alone.
#[tokio::test]
async fn a_guests_statement_never_commits_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let (database, _) = owner(folder.path()).await;
    let file = File::new(&DatabaseConfig::sqlite(&folder.path().join("guard.db"))).await.unwrap();
    let mut slot = file.writer(LONG).await.unwrap();
    let connection = slot.as_mut().unwrap();
    let insert = connection.guest_changes(&unchecked("INSERT INTO t VALUES (1)"), Vec::new(), LONG).await;
    assert!(insert.is_err(), "{insert:?}");
    assert_eq!(kept(&*database).await, 0);
}

/// Full-text search and counting keys work under the allow list.
#[tokio::test]
async fn what_guests_need_is_let_through() {
    let folder = tempfile::tempdir().unwrap();
    let (database, fence) = owner(folder.path()).await;
    let mut run = database.begin(&fence).await.unwrap();
    for text in [
        "INSERT INTO words VALUES ('one two')",
        "INSERT INTO n DEFAULT VALUES",
        "INSERT INTO t SELECT value FROM json_each('[1, 2]')",
        "UPDATE t SET a = upper(coalesce(a, 'x')) WHERE a IS NOT NULL",
        "INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING RETURNING a",
        "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 3) \
         INSERT INTO t SELECT i FROM c",
        "SELECT a, row_number() OVER (ORDER BY a) FROM t",
        "SELECT word FROM words WHERE words MATCH 'two' ORDER BY rank",
        "SELECT strftime('%Y', 'now'), json_extract('{\"a\": 1}', '$.a'), sum(a) FILTER (WHERE a > 1) FROM t",
    ] {
        run = run
            .execute(unchecked(text), Vec::new(), LONG)
            .await
            .unwrap_or_else(|e| panic!("{text}: {e:?}"))
            .1;
    }
    run.finish(&[], &[(0, crate::EndedAs::Done)], LONG).await.unwrap();
    let found = unchecked("SELECT word FROM words WHERE words MATCH 'two'");
    assert_eq!(database.query(found, Vec::new(), LIMITS, LONG).await.unwrap().rows.len(), 1);
}

/// From now on the file may grow by so many pages.
async fn leave_pages(database: &Sqlite, left: i64) {
    let mut slot = database.file.writer(LONG).await.unwrap();
    let connection = slot.as_mut().unwrap();
    let rows = connection.fetch(connection::host("PRAGMA page_count")).await.unwrap();
    let pages: i64 = tables::get(&rows[0], 0, "").unwrap();
    let text = format!("PRAGMA max_page_count = {}", pages + left);
    connection.script(Mode::Host, &text, LONG).await.unwrap();
}

/// The relay reads rows of any length by the connection that has just run a guest's statements.
#[tokio::test]
async fn a_guests_bound_ends_with_its_run() {
    let folder = tempfile::tempdir().unwrap();
    let (database, fence) = opened(folder.path()).await;
    let run = database.begin(&fence).await.unwrap();
    let long = unchecked("SELECT length(zeroblob(6000000) || '')");
    let refused = run.query(long, Vec::new(), LIMITS, LONG).await.err().unwrap().error;
    assert!(matches!(refused, StepError::Statement(StatementError::Limit(_))), "{refused:?}");
    let mut writing = Writing::begin(&database.file, LONG, LONG).await.unwrap();
    let rows = writing.fetch(host("SELECT length(zeroblob(6000000) || '')")).await.unwrap();
    assert_eq!(rows.len(), 1);
    writing.rollback().await;
}

/// Nobody is charged, nothing is half done, and it goes on when there is room again.
#[tokio::test]
async fn a_full_disk_is_nobodys_fault() {
    let folder = tempfile::tempdir().unwrap();
    let (database, fence) = opened(folder.path()).await;
    let long = || vec![Value::Bytes(vec![7; 100_000])];
    leave_pages(&database, 40).await;
    for savepoint in [false, true] {
        let mut run = database.begin(&fence).await.unwrap();
        if savepoint {
            ((), run) = run.savepoint().await.unwrap();
        }
        let (_, run) = run.execute(unchecked("INSERT INTO t VALUES ($1)"), long(), LONG).await.unwrap();
        let failed = run.execute(unchecked("INSERT INTO t VALUES ($1)"), long(), LONG).await.err().unwrap();
        assert!(matches!(&failed.error, StepError::Database(error) if error.can_retry()), "{failed:?}");
        assert!(failed.transaction.is_none());
    }
    let run = database.begin(&fence).await.unwrap();
    let (_, run) = run.execute(unchecked("INSERT INTO t VALUES (1)"), Vec::new(), LONG).await.unwrap();
    let (kind, topic) = (crate::OutboxKind::Record, "out".to_owned());
    let value = Some(vec![7; 1_000_000]);
    let row =
        crate::OutboxRow { event_offset: 0, ordinal: 0, kind, topic, key: None, value, headers: Vec::new() };
    let finished = run.finish(&[row], &[(0, crate::EndedAs::Done)], LONG).await;
    assert!(matches!(&finished, Err(FinishError::Database(error)) if error.can_retry()), "{finished:?}");
    assert_eq!(database.ended(&fence, &[0]).await.unwrap(), [0_i64; 0]);
    assert_eq!(kept(&database).await, 0);
    leave_pages(&database, 1_000).await;
    let run = database.begin(&fence).await.unwrap();
    let (_, run) = run.execute(unchecked("INSERT INTO t VALUES ($1)"), long(), LONG).await.unwrap();
    run.finish(&[], &[(0, crate::EndedAs::Done)], LONG).await.unwrap();
    assert_eq!(kept(&database).await, 1);
}
