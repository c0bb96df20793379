//! Runs that come to nothing again and again: what is counted against an event of theirs, and what never is.

use keylane_engine::{FailureClass, Outcome, RunStand};
use keylane_test_support::Log;

use crate::fake_publisher::Acks;
use crate::faulty::{At, Fault};
use crate::stage::{Loaded, Stage, attempt, attempts, failure};

const RUN: [&str; 3] =
    ["do INSERT INTO t VALUES (0)", "do INSERT INTO t VALUES (1)", "do INSERT INTO t VALUES (2)"];

async fn loaded() -> Loaded {
    let migrations = tempfile::tempdir().unwrap();
    std::fs::write(migrations.path().join("1_table.sql"), "CREATE TABLE t (a INTEGER UNIQUE);").unwrap();
    let stage = Stage::of("script").with_database(Some(migrations.path().to_owned()));
    stage.with_producer(Acks::AtOnce).load().await
}

async fn is_in_doubt(loaded: &Loaded, run: &[keylane_engine::Attempt]) -> bool {
    matches!(loaded.report(run.to_vec()).await.stand, RunStand::InDoubt(_))
}

/// A partition that is given up takes its lanes' charges with it. Whoever were given two losses for each attempt
/// would never come to the last one.
#[tokio::test]
async fn who_was_charged_for_a_loss_is_charged_for_each_further_one_at_once() {
    for at in [At::Statement, At::Finish] {
        let loaded = loaded().await;
        let run = [attempt(7, 7, "do INSERT INTO t VALUES (7)"), attempt(8, 8, "")];
        let alone = &run[..1];
        loaded.faults.add(at, Fault::Lost, 6);
        for _ in 0..2 {
            assert!(is_in_doubt(&loaded, alone).await, "{at:?}");
        }
        for _ in 0..4 {
            let outcomes = loaded.run(alone.to_vec()).await;
            let (class, reason) = failure(&outcomes[0]);
            assert!(class == FailureClass::Retry && reason.contains("again and again"), "{reason}");
        }
        assert_eq!(loaded.faults.left(), 0);
        // It begins alone until it has ended, and then all is counted anew.
        assert_eq!(loaded.run(run.to_vec()).await, [Outcome::Done, Outcome::NotStarted]);
        loaded.faults.add(at, Fault::Lost, 1);
        assert!(is_in_doubt(&loaded, &[attempt(7, 7, "do INSERT INTO t VALUES (77)")]).await);
    }
}

/// A disk that is full, or a server that shuts down, says so itself: it would empty whole partitions into the dead
/// letters, one event after the other.
#[tokio::test]
async fn what_a_database_says_of_itself_is_counted_against_nobody() {
    for at in [At::Statement, At::Finish] {
        let loaded = loaded().await;
        let alone = [attempt(7, 7, "do INSERT INTO t VALUES (7)")];
        loaded.faults.add(at, Fault::Unable, 10);
        for _ in 0..10 {
            assert!(is_in_doubt(&loaded, &alone).await, "{at:?}");
        }
        assert_eq!((loaded.run(alone.to_vec()).await, loaded.faults.left()), (vec![Outcome::Done], 0));
        // Nor is any of many in doubt, so that it had to begin alone.
        loaded.faults.add(at, Fault::Unable, 1);
        assert!(is_in_doubt(&loaded, &attempts(&RUN)).await);
        assert_eq!(loaded.run(attempts(&RUN)).await, vec![Outcome::Done; 3]);
    }
}

/// Whoever alters a table for an hour is in the way of each event alone, and none is at fault; so it is said, but not
/// of each run.
#[tokio::test]
async fn waiting_for_locks_is_counted_against_nobody() {
    for at in [At::Statement, At::Finish] {
        let loaded = loaded().await;
        let alone = [attempt(7, 7, "do INSERT INTO t VALUES (7)")];
        loaded.faults.add(at, Fault::Waited, 21 * 5);
        let (log, _kept) = Log::keep(tracing::Level::INFO);
        for _ in 0..21 {
            let report = loaded.report(alone.to_vec()).await;
            let (outcomes, conflicts) = (report.outcomes, report.conflicts);
            assert_eq!((outcomes, conflicts), (vec![Outcome::NotStarted], 5), "{at:?}");
        }
        let said = log.lines("another transaction keeps a lock");
        assert!((1..21).contains(&said.len()) && said[0].contains("a lock by the test"), "{at:?}: {said:?}");
        assert_eq!((loaded.run(alone.to_vec()).await, loaded.faults.left()), (vec![Outcome::Done], 0));
    }
}
