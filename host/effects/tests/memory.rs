//! SQLite out of memory. The bound on memory is the whole process's, so that these tests have one of their own,
//! and one at a time.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod suite;

use std::sync::Arc;

use keylane_effects::{
    DatabaseConfig, ReadDatabase, ResultLimits, Rows, StatementError, StatementLimits, StepError, Value,
    open, open_reading,
};
use sqlx::{AssertSqlSafe, ConnectOptions};
use suite::{LIMITS, LONG, checked, commit_event, kept, owner};
use tempfile::TempDir;
use tokio::sync::Mutex;

static ALONE: Mutex<()> = Mutex::const_new(());

const COLUMNS: usize = 40;

/// A row of 200 MB, which all databases of a process may have once, and the copy of it would be the second time.
fn row_bytes() -> String {
    vec!["zeroblob(5000000)"; COLUMNS].join(", ")
}

/// One that has as many columns and can be copied.
fn row_small() -> String {
    vec!["0"; COLUMNS].join(", ")
}

fn config(folder: &TempDir) -> DatabaseConfig {
    DatabaseConfig { read_connections: 1, ..DatabaseConfig::sqlite(&folder.path().join("effects.db")) }
}

/// A file that is only read, by one connection.
async fn reader(folder: &TempDir) -> Arc<dyn ReadDatabase> {
    open(&config(folder)).await.unwrap();
    open_reading(&config(folder)).await.unwrap()
}

async fn read(database: &dyn ReadDatabase, text: &str, limits: ResultLimits) -> Result<Rows, StatementError> {
    let statement = database.check(text, &[], &StatementLimits::default()).unwrap();
    database.query(statement, Vec::new(), limits, LONG).await
}

/// The thread of the connection ends with a row that it cannot copy.
#[tokio::test]
async fn a_connection_that_died_is_not_kept() {
    let _alone = ALONE.lock().await;
    let folder = TempDir::new().unwrap();
    let database = reader(&folder).await;
    for _ in 0..2 {
        let died = read(&*database, &format!("SELECT {}", row_bytes()), LIMITS).await;
        assert!(matches!(died, Err(StatementError::Unavailable(_))), "{died:?}");
        let rows = read(&*database, "SELECT 1", LIMITS).await.unwrap().rows;
        assert_eq!(rows, [[Value::Integer(1)]]);
    }
}

/// The row that was too long is the statement's own fault, however soon the connection died of the next one.
#[tokio::test]
async fn a_connection_that_died_after_a_limit_is_not_kept() {
    let _alone = ALONE.lock().await;
    let folder = TempDir::new().unwrap();
    let database = reader(&folder).await;
    let text = format!("SELECT {} UNION ALL SELECT {}", row_small(), row_bytes());
    let none = ResultLimits { rows: 0, bytes: 1_000 };
    let refused = read(&*database, &text, none).await;
    assert!(matches!(refused, Err(StatementError::Limit(_))), "{refused:?}");
    assert_eq!(read(&*database, "SELECT 1", LIMITS).await.unwrap().rows, [[Value::Integer(1)]]);
}

#[tokio::test]
async fn rows_before_one_that_cannot_be_copied_are_no_answer() {
    let _alone = ALONE.lock().await;
    let folder = TempDir::new().unwrap();
    let text = format!("SELECT {} UNION ALL SELECT {}", row_small(), row_bytes());
    let short = read(&*reader(&folder).await, &text, LIMITS).await;
    assert!(matches!(short, Err(StatementError::Unavailable(_))), "{:?}", short.map(|rows| rows.rows.len()));

    let database = open(&config(&folder)).await.unwrap();
    let fence = owner(&*database, "CREATE TABLE t (a BIGINT)").await;
    let run = database.begin(&fence).await.unwrap();
    let short = run.query(checked(&*database, &text, &[]), Vec::new(), LIMITS, LONG).await.err().unwrap();
    assert!(matches!(&short.error, StepError::Database(error) if error.can_retry()), "{short:?}");
    assert!(short.transaction.is_none());
    // Neither where the rows are passed over.
    let text = format!("SELECT {}", row_bytes());
    let run = database.begin(&fence).await.unwrap();
    let short = run.execute(checked(&*database, &text, &[]), Vec::new(), LONG).await.err().unwrap();
    assert!(matches!(&short.error, StepError::Database(error) if error.can_retry()), "{short:?}");
    commit_event(&*database, &fence, 2).await;
    assert_eq!(kept(&*database).await, [2]);
}

/// What another database of the process has taken is nobody's fault here, and passes.
#[tokio::test]
async fn memory_that_a_neighbour_has_is_nobodys_fault() {
    let _alone = ALONE.lock().await;
    let folder = TempDir::new().unwrap();
    let database = open(&config(&folder)).await.unwrap();
    let fence = owner(&*database, "CREATE TABLE t (a BIGINT)").await;
    let mut neighbour =
        sqlx::sqlite::SqliteConnectOptions::new().filename(":memory:").connect().await.unwrap();
    sqlx::query("CREATE TABLE t (a)").execute(&mut neighbour).await.unwrap();
    let megabyte = "INSERT INTO t VALUES (randomblob(1000000))";
    while sqlx::query(AssertSqlSafe(megabyte)).execute(&mut neighbour).await.is_ok() {}

    let innocent = checked(&*database, "SELECT length(hex(zeroblob(2000000)))", &[]);
    let ask = || database.query(innocent.clone(), Vec::new(), LIMITS, LONG);
    let run = database.begin(&fence).await.unwrap();
    let ((), run) = run.savepoint().await.unwrap();
    let failed = run.query(innocent.clone(), Vec::new(), LIMITS, LONG).await.err().unwrap();
    assert!(matches!(&failed.error, StepError::Database(error) if error.can_retry()), "{failed:?}");
    let failed = ask().await;
    assert!(matches!(failed, Err(StatementError::Unavailable(_))), "{failed:?}");

    sqlx::Connection::close(neighbour).await.unwrap();
    assert_eq!(ask().await.unwrap().rows, [[Value::Integer(4_000_000)]]);
    commit_event(&*database, &fence, 1).await;
    assert_eq!(kept(&*database).await, [1]);
}
