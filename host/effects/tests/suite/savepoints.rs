//! Savepoints: a failed event is undone, the others stay, and what failed cannot be committed.

use keylane_effects::{EndedAs, FinishError, StatementError};

use super::{Ground, LONG, did, execute, heard, kept, owner};

const TABLE: &str = "CREATE TABLE t (a BIGINT NOT NULL UNIQUE)";

/// The failed event's rows go, those before and after it stay.
pub async fn only_the_failed_event_is_undone(ground: &Ground) {
    let database = &*ground.here;
    let fence = owner(database, TABLE).await;
    let run = database.begin(&fence).await.unwrap();
    let ((), run) = run.savepoint().await.unwrap();
    let run = did(database, run, "INSERT INTO t VALUES (1)", Vec::new()).await;
    let ((), run) = run.savepoint().await.unwrap();
    let run = did(database, run, "INSERT INTO t VALUES (2)", Vec::new()).await;
    let failed = execute(database, run, "INSERT INTO t VALUES (1)", Vec::new()).await.err().unwrap();
    assert!(matches!(heard(&failed), StatementError::Refused(_)), "{failed:?}");
    let run = failed.transaction.unwrap();
    let ((), run) = run.rollback_to_savepoint().await.unwrap();
    let run = did(database, run, "INSERT INTO t VALUES (3)", Vec::new()).await;
    let ((), run) = run.savepoint().await.unwrap();
    let run = did(database, run, "INSERT INTO t VALUES (4)", Vec::new()).await;
    run.finish(&[], &[(0, EndedAs::Done), (2, EndedAs::Done), (3, EndedAs::Done)], LONG).await.unwrap();
    assert_eq!(kept(database).await, [1, 3, 4]);
}

/// An event that succeeded in SQL and failed in the handler is undone as well, twice over if need be.
pub async fn a_savepoint_serves_more_than_once(ground: &Ground) {
    let database = &*ground.here;
    let fence = owner(database, TABLE).await;
    let run = database.begin(&fence).await.unwrap();
    let run = did(database, run, "INSERT INTO t VALUES (1)", Vec::new()).await;
    let ((), mut run) = run.savepoint().await.unwrap();
    for a in [2, 3] {
        run = did(database, run, &format!("INSERT INTO t VALUES ({a})"), Vec::new()).await;
        run = run.rollback_to_savepoint().await.unwrap().1;
    }
    run.finish(&[], &[(0, EndedAs::Done)], LONG).await.unwrap();
    assert_eq!(kept(database).await, [1]);
}

/// A guest that swallows an error and goes on: every later statement is refused, and so is the commit.
pub async fn a_swallowed_error_cannot_be_committed(ground: &Ground) {
    let database = &*ground.here;
    let fence = owner(database, TABLE).await;
    let run = database.begin(&fence).await.unwrap();
    let ((), run) = run.savepoint().await.unwrap();
    let run = did(database, run, "INSERT INTO t VALUES (1)", Vec::new()).await;
    let failed = execute(database, run, "INSERT INTO t VALUES (1)", Vec::new()).await.err().unwrap();
    let run = failed.transaction.unwrap();
    let failed = execute(database, run, "INSERT INTO t VALUES (2)", Vec::new()).await.err().unwrap();
    assert_eq!(heard(&failed), &StatementError::Aborted);
    let run = failed.transaction.unwrap();
    let finished = run.finish(&[], &[(0, EndedAs::Done)], LONG).await;
    assert!(matches!(finished, Err(FinishError::Void(_))), "{finished:?}");
    assert_eq!(kept(database).await, Vec::<i64>::new());
    assert_eq!(database.ended(&fence, &[0]).await.unwrap(), Vec::<i64>::new());
}

/// A deferred foreign key that is left open is found at the event's end, and at the latest at the commit.
pub async fn a_deferred_key_is_the_fault_of_its_event(ground: &Ground) {
    let database = &*ground.here;
    let sql = "CREATE TABLE t (a BIGINT PRIMARY KEY); \
               CREATE TABLE child (a BIGINT REFERENCES t (a) DEFERRABLE INITIALLY DEFERRED);";
    let fence = owner(database, sql).await;
    let run = database.begin(&fence).await.unwrap();
    let ((), run) = run.savepoint().await.unwrap();
    let run = did(database, run, "INSERT INTO child VALUES (5)", Vec::new()).await;
    let failed = run.savepoint().await.err().unwrap();
    assert!(matches!(heard(&failed), StatementError::Refused(_)), "{failed:?}");
    let ((), run) = failed.transaction.unwrap().rollback_to_savepoint().await.unwrap();
    let run = did(database, run, "INSERT INTO t VALUES (6)", Vec::new()).await;
    run.finish(&[], &[(1, EndedAs::Done)], LONG).await.unwrap();
    let run = database.begin(&fence).await.unwrap();
    let run = did(database, run, "INSERT INTO child VALUES (7)", Vec::new()).await;
    let finished = run.finish(&[], &[(2, EndedAs::Done)], LONG).await;
    assert!(matches!(finished, Err(FinishError::Refused(_))), "{finished:?}");
    assert_eq!(kept(database).await, [6]);
    assert_eq!(database.ended(&fence, &[1, 2]).await.unwrap(), [1]);
}
