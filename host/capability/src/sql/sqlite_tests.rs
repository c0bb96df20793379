//! The guard behind the check of the text: statements that end a transaction, let through on purpose.

use std::time::Duration;

use super::*;
use crate::sql::statement::Statement;

async fn transaction_after(text: &str) -> (tempfile::TempDir, Sqlite, Result<(), String>) {
    let dir = tempfile::tempdir().unwrap();
    let config = DatabaseConfig::sqlite(&dir.path().join("guard.db"));
    std::fs::create_dir(dir.path().join("m")).unwrap();
    std::fs::write(dir.path().join("m/1_t.sql"), "CREATE TABLE t (a);").unwrap();
    let database = Sqlite::open("h", &config, Some(&dir.path().join("m"))).await.unwrap();
    let ended = async {
        let deadline = Duration::from_secs(20);
        let run = |text: &str| Statement { text: text.into(), changes: true };
        let words = |error: Error| format!("{error:?}");
        let transaction = database.begin().await.map_err(words)?;
        let (_, transaction) = transaction
            .execute(run("INSERT INTO t VALUES (1)"), Vec::new(), deadline)
            .await
            .map_err(words)?;
        let (_, transaction) = transaction.execute(run(text), Vec::new(), deadline).await.map_err(words)?;
        transaction.commit(deadline).await
    };
    let ended = ended.await;
    (dir, database, ended)
}

#[tokio::test]
async fn whatever_ends_a_transaction_is_noticed_and_nothing_is_kept() {
    for text in ["COMMIT", "END", "ROLLBACK", "ROLLBACK; BEGIN", "COMMIT; BEGIN IMMEDIATE"] {
        let (dir, database, ended) = transaction_after(text).await;
        assert!(ended.is_err(), "{text} went unnoticed");
        drop(database.begin().await.unwrap());
        let config = DatabaseConfig::sqlite(&dir.path().join("guard.db"));
        let rows = crate::sql::read_rows(&config, "SELECT a FROM t").await.unwrap();
        assert!(rows.is_empty(), "{text} kept {rows:?}");
    }
    let (dir, _, ended) = transaction_after("INSERT INTO t VALUES (2)").await;
    assert_eq!(ended, Ok(()));
    let config = DatabaseConfig::sqlite(&dir.path().join("guard.db"));
    assert_eq!(crate::sql::read_rows(&config, "SELECT a FROM t").await.unwrap().len(), 2);
}
