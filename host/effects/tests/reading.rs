//! A file that is only read: opened without making or changing anything.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::path::Path;
use std::time::Duration;

use keylane_effects::{
    DatabaseConfig, DatabaseError, ReadDatabase, ResultLimits, StatementError, StatementLimits, Value, open,
    open_reading,
};

const LIMIT: Duration = Duration::from_secs(60);

async fn read(database: &dyn ReadDatabase, text: &str) -> Result<Vec<Vec<Value>>, StatementError> {
    let statement = database.check(text, &[], &StatementLimits::default())?;
    let limits = ResultLimits { rows: 100, bytes: 10_000 };
    Ok(database.query(statement, Vec::new(), limits, LIMIT).await?.rows)
}

/// A file with a table of a handler's.
async fn written(folder: &Path) -> DatabaseConfig {
    let config = DatabaseConfig::sqlite(&folder.join("ledger.db"));
    let migrations = folder.join("migrations");
    std::fs::create_dir(&migrations).unwrap();
    std::fs::write(migrations.join("1_first.sql"), "CREATE TABLE t (x); INSERT INTO t VALUES (7);").unwrap();
    open(&config).await.unwrap().migrate("audit", &migrations).await.unwrap();
    config
}

#[tokio::test]
async fn what_another_handler_has_written_is_read_and_cannot_be_changed() {
    let folder = tempfile::tempdir().unwrap();
    let config = written(folder.path()).await;
    // At its read address, whatever its write address is.
    let config = DatabaseConfig { read: Some(config.write), ..DatabaseConfig::new("sqlite:///nowhere/x.db") };
    let database = open_reading(&config).await.unwrap();
    assert_eq!(read(&*database, "SELECT x FROM t").await.unwrap(), [[Value::Integer(7)]]);
    for text in ["DELETE FROM t", "INSERT INTO t VALUES (8)", "SELECT * FROM keylane_claim"] {
        let refused = read(&*database, text).await;
        assert!(matches!(refused, Err(StatementError::Refused(_))), "{text}: {refused:?}");
    }
    assert_eq!(read(&*database, "SELECT count(*) FROM t").await.unwrap(), [[Value::Integer(1)]]);
}

#[tokio::test]
async fn a_file_that_is_missing_is_waited_for_and_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ledger.db");
    let missing = open_reading(&DatabaseConfig::sqlite(&file)).await.map(|_| ()).unwrap_err();
    assert!(missing.can_retry() && missing.to_string().contains("makes it"), "{missing}");
    assert!(!file.exists());
}

/// Whoever reads hears whether it is the statement's fault: connections that are all in use and a file that is gone are
/// not.
#[tokio::test]
async fn a_reader_that_cannot_be_asked_is_told_apart_from_its_statement() {
    let folder = tempfile::tempdir().unwrap();
    let short = Duration::from_millis(300);
    let config = DatabaseConfig { read_connections: 1, writer_wait: short, ..written(folder.path()).await };
    let database = open_reading(&config).await.unwrap();
    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT 1 FROM n) SELECT count(*) FROM n";
    let endless = database.check(endless, &[], &StatementLimits::default()).unwrap();
    let limits = ResultLimits { rows: 1, bytes: 100 };
    let (late, busy) = tokio::join!(database.query(endless, Vec::new(), limits, 5 * short), async {
        tokio::time::sleep(short).await;
        read(&*database, "SELECT x FROM t").await
    });
    assert!(matches!(late, Err(StatementError::Late(_))), "{late:?}");
    assert!(matches!(busy, Err(StatementError::Unavailable(_))), "{busy:?}");
    let (file, former) = (folder.path().join("ledger.db"), folder.path().join("former.db"));
    std::fs::rename(&file, &former).unwrap();
    let gone = read(&*database, "SELECT x FROM t").await;
    assert!(matches!(gone, Err(StatementError::Unavailable(_))), "{gone:?}");
    std::fs::rename(&former, &file).unwrap();
    assert_eq!(read(&*database, "SELECT x FROM t").await.unwrap(), [[Value::Integer(7)]]);
}

#[tokio::test]
async fn a_file_of_another_machine_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let config = written(folder.path()).await;
    let elsewhere = DatabaseConfig { machine: Some("another machine".to_owned()), ..config };
    let refused = open_reading(&elsewhere).await.map(|_| ()).unwrap_err();
    assert!(matches!(refused, DatabaseError::OtherMachine { .. }), "{refused}");
}

#[tokio::test]
async fn a_file_that_no_host_has_used_is_read_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("plain.db");
    let address = format!("sqlite://{}?mode=rwc", file.display());
    let pool = sqlx::SqlitePool::connect(&address).await.unwrap();
    sqlx::query("CREATE TABLE t (x)").execute(&pool).await.unwrap();
    let database = open_reading(&DatabaseConfig::sqlite(&file)).await.unwrap();
    assert!(read(&*database, "SELECT x FROM t").await.unwrap().is_empty());
    let tables = sqlx::query("SELECT 1 FROM sqlite_schema").fetch_all(&pool).await.unwrap();
    assert_eq!(tables.len(), 1, "nothing is made there");
}
