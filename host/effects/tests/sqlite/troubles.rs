//! A file that cannot be read or written.

use std::time::Instant;

use keylane_effects::{BeginError, DatabaseConfig, open};
use sqlx::Row;

use crate::suite::{LONG, commit_event, kept, owner};
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
