//! The file is replaced, or written over, by an older copy of itself while a host has it open.
#![allow(unsafe_code, reason = "sqlx has no form of SQLite's own way to copy a database into another")]

use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::ptr::null_mut;

use keylane_effects::{BeginError, Database, DatabaseError, open};
use keylane_engine::Fence;
use libsqlite3_sys as ffi;
use sqlx::Row;
use tempfile::TempDir;

use crate::suite::setbacks::{self, Backup};
use crate::suite::{self, LONG, commit_event, kept, key, owner, take};
use crate::{config, ground, outside};

const TABLE: &str = "CREATE TABLE t (a BIGINT)";

/// Event 1 is in the copy that is answered, event 2 came after it.
async fn owned(folder: &TempDir, database: &dyn Database) -> (Fence, PathBuf) {
    let fence = owner(database, TABLE).await;
    commit_event(database, &fence, 1).await;
    let copy = folder.path().join("copy.db");
    let flushed = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&mut outside(folder).await).await;
    assert_eq!(flushed.unwrap().get::<i64, _>(0), 0, "somebody was in the way");
    // By another process: to close the file in this one would end the locks that SQLite has on it.
    let copied = std::process::Command::new("cp").arg(effects(folder, "")).arg(&copy).status().unwrap();
    assert!(copied.success());
    commit_event(database, &fence, 2).await;
    assert_eq!(kept(database).await, [1, 2]);
    (fence, copy)
}

fn effects(folder: &TempDir, ending: &str) -> PathBuf {
    folder.path().join(format!("effects.db{ending}"))
}

/// What a careful operator does, but for stopping the host.
fn replace(folder: &TempDir, copy: &Path) {
    for ending in ["-wal", "-shm"] {
        std::fs::remove_file(effects(folder, ending)).unwrap();
    }
    std::fs::rename(copy, effects(folder, "")).unwrap();
}

async fn is_refused(database: &dyn Database, fence: &Fence) {
    let begun = database.begin(fence).await.err();
    assert!(matches!(begun, Some(BeginError::NotOwner)), "{begun:?}");
    let raised = database.raise_floor(fence, 3, None).await;
    assert!(matches!(raised, Err(BeginError::NotOwner)), "{raised:?}");
}

/// What the copy lacks is done again, in the file that lies there now.
async fn goes_on(folder: &TempDir, database: &dyn Database) {
    let taken = take(database).await;
    assert_eq!((taken.floor, taken.ended), (Some(0), vec![1]));
    assert_eq!(kept(database).await, [1], "the former file is still read");
    commit_event(database, &taken.fence, 2).await;
    database.raise_floor(&taken.fence, 3, None).await.unwrap();
    let other = open(&config(folder)).await.unwrap();
    assert_eq!(kept(&*other).await, [1, 2], "the former file is still written");
    assert_eq!(take(&*other).await.floor, Some(3));
}

#[tokio::test]
async fn a_file_in_its_place_ends_every_ownership() {
    let folder = tempfile::tempdir().unwrap();
    let database = open(&config(&folder)).await.unwrap();
    let mut neighbour = key();
    neighbour.partition = 1;
    database.settle_start(&key(), &[(0, 0), (1, 0)]).await.unwrap();
    let neighbour = database.take(&neighbour, LONG).await.unwrap().fence;
    let (fence, copy) = owned(&folder, &*database).await;
    replace(&folder, &copy);
    is_refused(&*database, &fence).await;
    // By now the file is opened anew, which changes nothing for those who come later.
    is_refused(&*database, &neighbour).await;
    is_refused(&*database, &fence).await;
    goes_on(&folder, &*database).await;
}

#[tokio::test]
async fn a_floor_is_not_raised_in_a_file_in_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let database = open(&config(&folder)).await.unwrap();
    let (fence, copy) = owned(&folder, &*database).await;
    replace(&folder, &copy);
    let raised = database.raise_floor(&fence, 3, None).await;
    assert!(matches!(raised, Err(BeginError::NotOwner)), "{raised:?}");
    goes_on(&folder, &*database).await;
}

/// SQLite's own way back, `.restore`: one transaction in the file that is open.
#[tokio::test]
async fn a_copy_written_over_it_ends_every_ownership() {
    let folder = tempfile::tempdir().unwrap();
    let database = open(&config(&folder)).await.unwrap();
    let (fence, copy) = owned(&folder, &*database).await;
    write_over(&copy, &effects(&folder, ""));
    is_refused(&*database, &fence).await;
    goes_on(&folder, &*database).await;
}

/// A log that stays behind would be played into the file that came: committed pages of two databases in one.
#[tokio::test]
async fn a_file_beside_the_log_of_the_former_one_is_not_used() {
    let folder = tempfile::tempdir().unwrap();
    let database = open(&config(&folder)).await.unwrap();
    let (fence, copy) = owned(&folder, &*database).await;
    std::fs::rename(&copy, effects(&folder, "")).unwrap();
    for _ in 0..2 {
        let begun = database.begin(&fence).await.err();
        assert!(matches!(&begun, Some(BeginError::Database(error)) if error.can_retry()), "{begun:?}");
        assert!(begun.unwrap().to_string().contains("effects.db-wal"));
    }
    for ending in ["-wal", "-shm"] {
        std::fs::remove_file(effects(&folder, ending)).unwrap();
    }
    is_refused(&*database, &fence).await;
    goes_on(&folder, &*database).await;
}

/// Between two steps of an operator's nothing lies there: no empty database may be made in its place.
#[tokio::test]
async fn a_file_that_is_gone_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(&folder);
    config.lock_wait = std::time::Duration::from_millis(300);
    let database = open(&config).await.unwrap();
    let (fence, copy) = owned(&folder, &*database).await;
    std::fs::rename(effects(&folder, ""), folder.path().join("former.db")).unwrap();
    let begun = database.begin(&fence).await.err();
    assert!(matches!(&begun, Some(BeginError::Database(error)) if error.can_retry()), "{begun:?}");
    let taken = database.take(&key(), LONG).await;
    assert!(matches!(&taken, Err(error) if error.can_retry()), "{taken:?}");
    assert!(!effects(&folder, "").exists(), "an empty database was made");
    replace(&folder, &copy);
    is_refused(&*database, &fence).await;
    goes_on(&folder, &*database).await;
}

#[tokio::test]
async fn another_database_in_its_place_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let database = open(&config(&folder)).await.unwrap();
    let (fence, _) = owned(&folder, &*database).await;
    let other = TempDir::new().unwrap();
    let _other = open(&config(&other)).await.unwrap();
    let copy = folder.path().join("other.db");
    let text = "VACUUM INTO $1";
    sqlx::query(text).bind(copy.to_str()).execute(&mut outside(&other).await).await.unwrap();
    replace(&folder, &copy);
    let begun = database.begin(&fence).await.err();
    assert!(matches!(&begun, Some(BeginError::Database(error)) if !error.can_retry()), "{begun:?}");
    let taken = database.take(&key(), LONG).await;
    assert!(matches!(taken, Err(DatabaseError::Tables { .. })), "{taken:?}");
}

/// Runs that are dropped, and with them their connection, end no ownership; nor does another host.
#[tokio::test]
async fn a_connection_that_is_opened_anew_ends_none() {
    let folder = tempfile::tempdir().unwrap();
    let database = open(&config(&folder)).await.unwrap();
    let fence = owner(&*database, TABLE).await;
    let run = database.begin(&fence).await.unwrap();
    drop(suite::did(&*database, run, "INSERT INTO t VALUES (9)", Vec::new()).await);
    let other = open(&config(&folder)).await.unwrap();
    suite::migrate(&*other, TABLE).await;
    commit_event(&*database, &fence, 1).await;
    assert_eq!(kept(&*database).await, [1]);
}

/// A copy made and put back by SQLite's own ways.
struct Copy<'a> {
    folder: &'a TempDir,
    copy: PathBuf,
}

impl Backup for Copy<'_> {
    async fn make(&mut self) {
        let query = sqlx::query("VACUUM INTO $1").bind(self.copy.to_str());
        query.execute(&mut outside(self.folder).await).await.unwrap();
    }

    async fn restore(&self) {
        write_over(&self.copy, &effects(self.folder, ""));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_older_by_one_batch_stops_the_relay() {
    let folder = tempfile::tempdir().unwrap();
    let mut copy = Copy { folder: &folder, copy: folder.path().join("copy.db") };
    setbacks::a_copy_older_by_one_batch_stops_the_relay(&ground(&folder).await, &mut copy).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_with_the_last_batch_under_way_is_recognised() {
    let folder = tempfile::tempdir().unwrap();
    let mut copy = Copy { folder: &folder, copy: folder.path().join("copy.db") };
    setbacks::a_copy_with_the_last_batch_under_way_is_recognised(&ground(&folder).await, &mut copy).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_former_owners_batch_is_not_taken_for_sent() {
    let folder = tempfile::tempdir().unwrap();
    let mut copy = Copy { folder: &folder, copy: folder.path().join("copy.db") };
    setbacks::a_former_owners_batch_is_not_taken_for_sent(&ground(&folder).await, &mut copy).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_in_a_copy_counts_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let mut copy = Copy { folder: &folder, copy: folder.path().join("copy.db") };
    setbacks::a_reset_in_a_copy_counts_no_more(&ground(&folder).await, &mut copy).await;
}

/// Copies one database over another one, page by page, as `.restore` does.
fn write_over(from: &Path, to: &Path) {
    let opened = |path: &Path| {
        let (name, mut handle) = (CString::new(path.to_str().unwrap()).unwrap(), null_mut());
        // SAFETY: the name ends with a NUL and outlives the call; the handle is closed below.
        let code = unsafe { ffi::sqlite3_open(name.as_ptr(), &raw mut handle) };
        assert_eq!(code, ffi::SQLITE_OK);
        // SAFETY: the handle is open. Somebody who writes for a moment is waited for.
        assert_eq!(unsafe { ffi::sqlite3_busy_timeout(handle, 30_000) }, ffi::SQLITE_OK);
        handle
    };
    let (from, to) = (opened(from), opened(to));
    // SAFETY: both handles are open and used by nobody else, and closed after the copy is finished.
    unsafe {
        let copying = ffi::sqlite3_backup_init(to, c"main".as_ptr(), from, c"main".as_ptr());
        assert!(!copying.is_null());
        assert_eq!(ffi::sqlite3_backup_step(copying, -1), ffi::SQLITE_DONE);
        assert_eq!(ffi::sqlite3_backup_finish(copying), ffi::SQLITE_OK);
        assert_eq!(ffi::sqlite3_close(from), ffi::SQLITE_OK);
        assert_eq!(ffi::sqlite3_close(to), ffi::SQLITE_OK);
    }
}
