//! Where a handler's reach ends on SQLite: what its migrations leave behind, and texts that are too long.

use keylane_effects::{Database, EndedAs, FinishError, StatementError};
use tempfile::TempDir;

use crate::ground;
use crate::suite::{self, LONG, execute, heard, kept, owner, write_migration};

async fn migrated(database: &dyn Database, sql: &str) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    write_migration(folder.path(), "1_hostile.sql", sql);
    database.migrate("hostile", folder.path()).await.map_err(|error| error.to_string())
}

/// Work of the host that a migration could have broken: a take, a run with claims and outbox, pruning.
async fn the_host_works(database: &dyn Database) {
    let taken = suite::take(database).await;
    let next = taken.ended.last().map_or(taken.floor.unwrap(), |last| last + 1);
    let run = database.begin(&taken.fence).await.unwrap();
    run.finish(&[suite::commits::output(next, 0)], &[(next, EndedAs::Done)], LONG).await.unwrap();
    database.raise_floor(&taken.fence, next + 1, None).await.unwrap();
}

#[tokio::test]
async fn a_migration_cannot_stand_in_the_hosts_way() {
    let folder = TempDir::new().unwrap();
    let ground = ground(&folder).await;
    let database = &*ground.here;
    owner(database, "CREATE TABLE t (a BIGINT)").await;
    for hostile in [
        "CREATE TABLE x (a); ALTER TABLE x RENAME TO keylane_later",
        "CREATE TABLE x (a); ALTER TABLE x RENAME TO \"KEYLANE_later\"",
        "CREATE TABLE c (o INTEGER REFERENCES keylane_claim (ended_as))",
        "CREATE TABLE c (s, o, FOREIGN KEY (s, o) REFERENCES Keylane_Claim)",
        "CREATE TABLE c (s INTEGER REFERENCES keylane_fence ON UPDATE CASCADE)",
        "CREATE TABLE c (s INTEGER REFERENCES [keylane_outbox] (topic))",
        "UPDATE sqlite_sequence SET seq = 9223372036854775807 WHERE name = 'keylane_outbox'",
        "INSERT INTO sqlite_sequence VALUES ('keylane_outbox', 9223372036854775807)",
        "CREATE VIRTUAL TABLE keylane USING fts5(a)",
        "CREATE VIRTUAL TABLE f USING fts5(topic, content='keylane_outbox'); INSERT INTO f(f) VALUES ('rebuild')",
        "CREATE TABLE keylane_x (a)",
        "CREATE TRIGGER keylane_x AFTER INSERT ON t BEGIN SELECT 1; END",
        "ANALYZE keylane_claim",
        "DROP INDEX keylane_outbox_waiting",
        "UPDATE sqlite_schema SET sql = '' WHERE name = 'keylane_claim'",
        "PRAGMA writable_schema = ON",
        "CREATE TEMP TABLE keylane_claim (a)",
        "VACUUM INTO '/tmp/keylane-copied.db'",
        "ATTACH '/tmp/keylane-copied.db' AS other",
    ] {
        let made = migrated(database, hostile).await;
        assert!(made.is_err(), "{hostile}");
        the_host_works(database).await;
    }
    assert!(!std::path::Path::new("/tmp/keylane-copied.db").exists());
    migrated(
        database,
        "CREATE TABLE x (id INTEGER PRIMARY KEY AUTOINCREMENT); ALTER TABLE x RENAME TO y; DROP TABLE y",
    )
    .await
    .unwrap();
}

/// A full-text index with the outbox as its content: whatever a migration may leave, a guest reads nothing.
#[tokio::test]
async fn a_full_text_index_does_not_read_for_the_guest() {
    let folder = TempDir::new().unwrap();
    let ground = ground(&folder).await;
    let database = &*ground.here;
    let fence = owner(database, "CREATE TABLE t (a BIGINT)").await;
    let run = database.begin(&fence).await.unwrap();
    run.finish(&[suite::commits::output(0, 0)], &[(0, EndedAs::Done)], LONG).await.unwrap();
    let made = migrated(database, "CREATE VIRTUAL TABLE f USING fts5(topic, content='keylane_outbox')").await;
    if made.is_err() {
        return;
    }
    let fence = suite::take(database).await.fence;
    for text in
        ["SELECT topic FROM f", "SELECT * FROM f WHERE f MATCH 'out'", "INSERT INTO f (f) VALUES ('rebuild')"]
    {
        let run = database.begin(&fence).await.unwrap();
        let statement = suite::checked(database, text, &[]);
        let read = run.query(statement, Vec::new(), suite::LIMITS, LONG).await;
        assert!(
            read.as_ref().map_or(true, |(rows, _)| rows.rows.is_empty()),
            "{text}: {:?}",
            read.map(|(rows, _)| rows)
        );
    }
    the_host_works(database).await;
}

/// A conflict clause of a table's own ends the whole transaction: nothing may be committed after it.
#[tokio::test]
async fn a_clause_that_rolls_back_ends_the_run() {
    let folder = TempDir::new().unwrap();
    let ground = ground(&folder).await;
    let database = &*ground.here;
    let fence = owner(database, "CREATE TABLE t (a BIGINT UNIQUE ON CONFLICT ROLLBACK)").await;
    let run = database.begin(&fence).await.unwrap();
    let ((), run) = run.savepoint().await.unwrap();
    let run = suite::did(database, run, "INSERT INTO t VALUES (1)", Vec::new()).await;
    let failed = execute(database, run, "INSERT INTO t VALUES (1)", Vec::new()).await.err().unwrap();
    assert!(matches!(heard(&failed), StatementError::Refused(_)), "{failed:?}");
    assert!(failed.transaction.is_none());
    assert_eq!(kept(database).await, Vec::<i64>::new());
}

/// One step of SQLite's machine is not stopped at the deadline, so what one step can work on is bounded; the
/// host's own rows are not.
#[tokio::test]
async fn a_text_that_is_too_long_for_a_guest_is_refused() {
    let folder = TempDir::new().unwrap();
    let ground = ground(&folder).await;
    let database = &*ground.here;
    let fence = owner(database, "CREATE TABLE t (a BIGINT)").await;
    let long = "SELECT instr(hex(zeroblob(100000000)), hex(zeroblob(50000000)) || '1')";
    let run = database.begin(&fence).await.unwrap();
    let failed = execute(database, run, long, Vec::new()).await.err().unwrap();
    assert!(matches!(heard(&failed), StatementError::Limit(_)), "{failed:?}");
    // The second one is no more than the database's memory would allow.
    for long in [long, "SELECT length(hex(zeroblob(3000000)))"] {
        let read = database.query(suite::checked(database, long, &[]), Vec::new(), suite::LIMITS, LONG).await;
        assert!(matches!(read, Err(StatementError::Limit(_))), "{long}: {read:?}");
    }
    let mut row = suite::commits::output(1, 0);
    row.value = Some(vec![7; 12 * 1024 * 1024]);
    let run = database.begin(&fence).await.unwrap();
    let run = suite::did(database, run, "INSERT INTO t VALUES (1)", Vec::new()).await;
    run.finish(&[row], &[(1, EndedAs::Done)], LONG).await.unwrap();
    let again = database.begin(&fence).await.unwrap();
    let finished = again.finish(&[], &[(1, EndedAs::Done)], LONG).await;
    assert!(matches!(finished, Err(FinishError::ClaimExists)), "{finished:?}");
}
