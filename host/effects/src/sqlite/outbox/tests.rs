//! What SQLite does to answer the relay's questions, which come twenty times a second.

use sqlx::{ConnectOptions, Row};

use super::rows::READY;
use super::view::HAS_RECORDS;
use crate::config::DatabaseConfig;

/// A topic that takes nothing keeps its rows, and they may be many: only an index that begins with the topic
/// steps over them.
#[tokio::test]
async fn rows_of_a_paused_topic_are_not_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("effects.db");
    let _made = crate::open(&DatabaseConfig::sqlite(&path)).await.unwrap();
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path);
    let mut connection = options.connect().await.unwrap();
    for text in [READY, HAS_RECORDS] {
        let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {text}"));
        let plan = sqlx::query(explain).bind("[]").bind(1).bind(2).fetch_all(&mut connection).await.unwrap();
        let steps: Vec<String> = plan.iter().map(|step| step.get("detail")).collect();
        let by_topic = steps.iter().filter(|step| step.contains("keylane_outbox_records (topic")).count();
        assert!(by_topic > 0, "{steps:?}");
        let scans = steps.iter().filter(|step| step.starts_with("SCAN") && !step.ends_with("CONSTANT ROW"));
        let scans: Vec<_> =
            scans.filter(|step| !step.contains("topics") && !step.contains("json_each")).collect();
        assert!(scans.is_empty(), "{steps:?}");
    }
}
