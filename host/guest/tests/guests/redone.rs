//! Runs that are undone through no fault of their events, and done again: nobody is charged, and nothing happens
//! twice. The database fails where the test wants it.

use std::time::Duration;

use keylane_effects::Value;
use keylane_engine::{FailureClass, Outcome, RunControl, RunStand, Runner as _};
use sqlx::Connection as _;

use crate::fake_publisher::Acks;
use crate::faulty::{At, Fault};
use crate::stage::{Loaded, Stage, attempt, attempts, failure};

const TABLE: &str = "CREATE TABLE t (a INTEGER UNIQUE);";
const RUN: [&str; 3] =
    ["do INSERT INTO t VALUES (0)", "do INSERT INTO t VALUES (1)", "do INSERT INTO t VALUES (2)"];

async fn loaded_with(change: impl FnOnce(&mut Stage)) -> Loaded {
    let migrations = tempfile::tempdir().unwrap();
    std::fs::write(migrations.path().join("1_table.sql"), TABLE).unwrap();
    let mut stage =
        Stage::of("script").with_database(Some(migrations.path().to_owned())).with_producer(Acks::AtOnce);
    change(&mut stage);
    stage.load().await
}

async fn loaded() -> Loaded {
    loaded_with(|_| {}).await
}

async fn kept(loaded: &Loaded) -> usize {
    loaded.read("SELECT a FROM t").await.len()
}

#[tokio::test]
async fn a_conflict_is_done_again_in_another_instance_and_charged_to_nobody() {
    for at in [At::Statement, At::Finish] {
        let loaded = loaded().await;
        assert_eq!(loaded.one("").await, Outcome::Done);
        loaded.faults.add(at, Fault::Conflict, 1);
        let report = loaded.report(attempts(&["", "do INSERT INTO t VALUES (1)"])[1..].to_vec()).await;
        assert_eq!(
            (report.outcomes, report.stand, report.conflicts),
            (vec![Outcome::Done], RunStand::Kept, 1)
        );
        assert_eq!(kept(&loaded).await, 1);
        let counts = loaded.revision.instances();
        assert_eq!((counts.created, counts.undone, counts.failed), (2, 1, 0), "{at:?}");
    }
}

/// A guest that takes every error for good never learns of a conflict.
#[tokio::test]
async fn a_guest_cannot_swallow_a_conflict() {
    let loaded = loaded().await;
    loaded.faults.add(At::Statement, Fault::Conflict, 1);
    let swallow = "try INSERT INTO t VALUES (7)\ntry INSERT INTO t VALUES (8)";
    assert_eq!(loaded.one(swallow).await, Outcome::Done);
    assert_eq!(kept(&loaded).await, 2, "both statements of the second try");
}

/// Each conflict halves what is tried again; the rest comes in another run.
#[tokio::test]
async fn a_run_in_conflict_is_shortened() {
    let loaded = loaded().await;
    loaded.faults.add(At::Finish, Fault::Conflict, 1);
    let report = loaded.report(attempts(&RUN)).await;
    assert_eq!(report.outcomes, [Outcome::Done, Outcome::NotStarted, Outcome::NotStarted]);
    assert_eq!((report.conflicts, kept(&loaded).await, loaded.claimed().await), (1, 1, vec![0]));
}

#[tokio::test]
async fn a_run_gives_up_after_some_conflicts_and_charges_nobody() {
    let loaded = loaded().await;
    loaded.faults.add(At::Finish, Fault::Conflict, 100);
    let report = loaded.report(attempts(&RUN)).await;
    assert_eq!((report.outcomes, report.stand), (vec![Outcome::NotStarted; 3], RunStand::Kept));
    assert_eq!(report.conflicts, 5);
    assert_eq!(loaded.faults.left(), 95);
    assert_eq!((kept(&loaded).await, loaded.claimed().await), (0, vec![]));
}

/// A function of the handler's own that answers as a conflict does must not hold its partition up for ever. Where
/// it has neighbours, they are done before it is alone.
#[tokio::test]
async fn an_event_that_is_in_conflict_alone_again_and_again_is_charged_at_last() {
    let alone = vec![attempt(7, 7, "do INSERT INTO t VALUES (7)")];
    for at in [At::Statement, At::Finish] {
        let loaded = loaded().await;
        // Five passes a run; one success in between, and all is counted anew.
        loaded.faults.add(at, Fault::Conflict, 19 * 5);
        for _ in 0..19 {
            assert_eq!(loaded.run(alone.clone()).await, [Outcome::NotStarted]);
        }
        assert_eq!(loaded.run(alone.clone()).await, [Outcome::Done]);
        let poison = vec![attempt(8, 8, "do INSERT INTO t VALUES (8)")];
        loaded.faults.add(at, Fault::Conflict, 20 * 5);
        for _ in 0..19 {
            assert_eq!(loaded.run(poison.clone()).await, [Outcome::NotStarted]);
        }
        let report = loaded.report(poison).await;
        let (class, reason) = failure(&report.outcomes[0]);
        assert!(class == FailureClass::Retry && reason.contains("a conflict by the test"), "{reason}");
        assert_eq!((report.stand, report.conflicts, loaded.faults.left()), (RunStand::Kept, 5, 0));
        assert_eq!((kept(&loaded).await, loaded.claimed().await), (1, vec![7]));
    }
}

/// Neighbours in one run may be in each other's way no less than those of other runs: nobody of them is charged.
#[tokio::test]
async fn events_that_are_in_conflict_together_are_charged_to_nobody() {
    let loaded = loaded().await;
    let values = vec!["do INSERT INTO t (a) SELECT count(*) FROM t"; 64];
    loaded.faults.add(At::Finish, Fault::Conflict, 25 * 5);
    for _ in 0..25 {
        assert_eq!(loaded.run(attempts(&values)).await, vec![Outcome::NotStarted; 64]);
    }
    assert_eq!(loaded.faults.left(), 0);
}

#[tokio::test]
async fn a_conflict_among_savepoints_is_one_of_the_run() {
    let loaded = loaded().await;
    loaded.faults.add(At::Savepoint, Fault::Conflict, 1);
    let report = loaded.report(attempts(&["do INSERT INTO t VALUES (0)", "reject"])).await;
    assert_eq!((report.stand, report.conflicts), (RunStand::Kept, 1));
    assert_eq!(report.outcomes, [Outcome::Done, Outcome::NotStarted], "shortened to one");
}

#[tokio::test]
async fn a_database_that_is_gone_leaves_the_partition_in_doubt_and_charges_nobody() {
    for (at, run) in [
        (At::Begin, RUN),
        (At::Statement, RUN),
        (At::Finish, RUN),
        (At::Savepoint, ["do INSERT INTO t VALUES (0)", "reject", ""]),
    ] {
        let loaded = loaded().await;
        loaded.faults.add(at, Fault::Lost, 1);
        let report = loaded.report(attempts(&run)).await;
        assert_eq!(report.outcomes, vec![Outcome::NotStarted; 3], "{at:?}");
        let RunStand::InDoubt(reason) = report.stand else { panic!("{at:?}: {:?}", report.stand) };
        assert!(reason.contains("gone by the test"), "{reason}");
        assert_eq!((kept(&loaded).await, loaded.faults.left()), (0, 0), "{at:?}");
        // The only instance: the idle one, or the one at work. Before a savepoint its event has ended it.
        let ended = at != At::Savepoint;
        assert_eq!(loaded.revision.instances().undone, u64::from(ended), "{at:?}");
    }
}

/// An event whose own statement ends the connection must not hold its partition up for ever.
#[tokio::test]
async fn an_event_that_loses_the_connection_again_and_again_is_charged_at_last() {
    let loaded = loaded().await;
    loaded.faults.add(At::Statement, Fault::Lost, 3);
    let run = attempts(&["", "do INSERT INTO t VALUES (1)", ""]);
    for _ in 0..2 {
        assert!(matches!(loaded.report(run.clone()).await.stand, RunStand::InDoubt(_)));
    }
    let report = loaded.report(run.clone()).await;
    assert_eq!((&report.outcomes[0], &report.outcomes[2]), (&Outcome::Done, &Outcome::Done), "{report:?}");
    let (class, reason) = failure(&report.outcomes[1]);
    assert_eq!(class, FailureClass::Retry);
    assert!(reason.contains("again and again") && report.stand == RunStand::Kept, "{reason}");
    assert_eq!(loaded.claimed().await, [0, 2]);
}

/// Other events' losses, and those before a success, do not count.
#[tokio::test]
async fn a_loss_now_and_then_is_charged_to_nobody() {
    let loaded = loaded().await;
    for number in 0..4 {
        loaded.faults.add(At::Statement, Fault::Lost, 2);
        let insert = format!("do INSERT INTO t VALUES ({number})\nretry once more");
        let run = vec![attempt(7, 7, &insert)];
        for _ in 0..2 {
            assert!(matches!(loaded.report(run.clone()).await.stand, RunStand::InDoubt(_)));
        }
        assert_eq!(failure(&loaded.run(run).await[0]).1, "once more");
    }
}

/// The same where all goes well until the end: an event that was in such a run comes alone, and is charged if it
/// still loses the connection there.
#[tokio::test]
async fn an_event_at_whose_end_the_connection_is_lost_again_and_again_is_charged_at_last() {
    let loaded = loaded().await;
    let run = attempts(&RUN[..2]);
    loaded.faults.add(At::Finish, Fault::Lost, 1);
    assert!(matches!(loaded.report(run.clone()).await.stand, RunStand::InDoubt(_)));
    // Both were in that run: each begins alone now, and the first one is not at fault.
    assert_eq!(loaded.run(run.clone()).await, [Outcome::Done, Outcome::NotStarted]);
    let mut report = loaded.report(run[1..].to_vec()).await;
    assert_eq!(report.outcomes, [Outcome::Done], "{report:?}");
    let alone = vec![attempt(7, 7, "do INSERT INTO t VALUES (7)")];
    loaded.faults.add(At::Finish, Fault::Lost, 3);
    for _ in 0..2 {
        assert!(matches!(loaded.report(alone.clone()).await.stand, RunStand::InDoubt(_)));
    }
    report = loaded.report(alone).await;
    let (class, reason) = failure(&report.outcomes[0]);
    assert!(class == FailureClass::Retry && reason.contains("again and again"), "{reason}");
    assert_eq!((report.stand, loaded.faults.left()), (RunStand::Kept, 0));
    assert_eq!((kept(&loaded).await, loaded.claimed().await), (2, vec![0, 1]));
}

/// Whoever is charged for a commit without an answer may have been committed after all: it is asked for first.
#[tokio::test]
async fn an_event_that_is_committed_without_an_answer_is_not_charged() {
    let loaded = loaded().await;
    let alone = vec![attempt(7, 7, "do INSERT INTO t VALUES (7)")];
    loaded.faults.add(At::Finish, Fault::Lost, 2);
    loaded.faults.add(At::Finish, Fault::Unknown, 1);
    for _ in 0..2 {
        assert!(matches!(loaded.report(alone.clone()).await.stand, RunStand::InDoubt(_)));
    }
    assert_eq!(loaded.run(alone).await, [Outcome::Done]);
    assert_eq!((kept(&loaded).await, loaded.claimed().await), (1, vec![7]));
}

/// It is committed, and whoever takes the partition anew reads that in the claims.
#[tokio::test]
async fn a_commit_without_an_answer_leaves_the_partition_in_doubt() {
    let loaded = loaded().await;
    loaded.faults.add(At::Finish, Fault::Unknown, 1);
    let report = loaded.report(attempts(&RUN)).await;
    assert_eq!(report.outcomes, vec![Outcome::NotStarted; 3]);
    assert!(matches!(report.stand, RunStand::InDoubt(reason) if reason.contains("swallowed by the test")));
    assert_eq!((kept(&loaded).await, loaded.claimed().await), (3, vec![0, 1, 2]));
}

/// The trap that this room must mind: the transaction stands beside the instance, and a call that is dropped in
/// the middle of a statement must leave none that could be committed.
#[tokio::test]
async fn a_call_dropped_in_a_statement_takes_the_transaction_along_and_nothing_of_it_is_committed() {
    // Twenty host calls of full length are what one event may wait for.
    let loaded = loaded_with(|stage| stage.manifest.limits.host_call = Duration::from_millis(50)).await;
    // The first pass, then each try of the second event until it is known that it is not an instance's fault.
    let hanging = ["", "do INSERT INTO t VALUES (1)", ""];
    loaded.faults.add(At::Statement, Fault::Hang, 3);
    let report = loaded.report(attempts(&hanging)).await;
    assert_eq!(report.stand, RunStand::Kept);
    assert_eq!((&report.outcomes[0], &report.outcomes[2]), (&Outcome::Done, &Outcome::Done));
    let (class, reason) = failure(&report.outcomes[1]);
    assert_eq!(class, FailureClass::Timeout);
    assert!(reason.starts_with("its host calls together took longer than"), "{reason}");
    assert_eq!((kept(&loaded).await, loaded.faults.left()), (0, 0));
    assert_eq!(loaded.claimed().await, [0, 2]);
}

#[tokio::test]
async fn a_run_dropped_in_a_statement_leaves_nothing_and_its_neighbours_rows_neither() {
    let loaded = loaded().await;
    loaded.faults.add(At::Statement, Fault::Hang, 1);
    let run = attempts(&["", "do INSERT INTO t VALUES (1)"]);
    let control = RunControl::unlimited().under(loaded.fence);
    let dropped =
        tokio::time::timeout(Duration::from_millis(500), loaded.runner.run(run.clone(), control)).await;
    assert!(dropped.is_err() && loaded.faults.left() == 0);
    assert_eq!(loaded.revision.instances().abandoned, 1);
    assert_eq!(loaded.run(run).await, vec![Outcome::Done; 2]);
    assert_eq!((kept(&loaded).await, loaded.claimed().await), (1, vec![0, 1]));
}

/// What an instance keeps in its memory of others is not the event's fault.
#[tokio::test]
async fn what_fails_only_in_an_instance_that_served_before_is_tried_in_a_fresh_one() {
    for (last, attempts_charged) in [("trap", 0), ("hoard", 0), ("spin", 0), ("reject no", 1)] {
        let loaded = loaded_with(|stage| stage.manifest.limits.time = Duration::from_millis(300)).await;
        let served = format!("do INSERT INTO t (a) SELECT count(*) FROM t\nif served\n{last}");
        let outcomes = loaded.each(&["", &served, ""]).await;
        let charged = outcomes.iter().filter(|outcome| **outcome != Outcome::Done).count();
        assert_eq!(charged, attempts_charged, "{last}: {outcomes:?}");
        assert_eq!(kept(&loaded).await, 1 - attempts_charged, "{last}");
        // Alone in its run, on an instance that served the former one.
        let outcome = loaded.one(&served).await;
        assert_eq!(outcome != Outcome::Done, attempts_charged == 1, "{last}: {outcome:?}");
        assert_eq!(kept(&loaded).await, 2 * (1 - attempts_charged), "{last}");
    }
}

/// The memory of whoever failed is not what the next event meets, in the same run neither.
#[tokio::test]
async fn the_event_after_a_failed_one_meets_an_instance_that_has_not_served() {
    let loaded = loaded().await;
    let told = "if served\ndo INSERT INTO t (a) SELECT count(*) FROM t";
    let outcomes = loaded.each(&["", "reject", told, told]).await;
    assert_eq!([&outcomes[0], &outcomes[2], &outcomes[3]], [&Outcome::Done; 3]);
    assert_eq!(kept(&loaded).await, 1, "the last one alone");
    assert_eq!(loaded.revision.instances().failed, 2, "one for each pass");
}

/// An event that failed before is likely to fail again: its run begins with savepoints, and no pass is lost.
#[tokio::test]
async fn a_run_with_an_event_that_failed_before_begins_with_savepoints() {
    let loaded = loaded().await;
    let mut run = attempts(&["do INSERT INTO t VALUES (0)", "reject", "do INSERT INTO t VALUES (2)"]);
    run[1].number = 2;
    let outcomes = loaded.run(run).await;
    assert_eq!((&outcomes[0], &outcomes[2]), (&Outcome::Done, &Outcome::Done));
    assert_eq!((kept(&loaded).await, loaded.revision.instances().failed), (2, 1));
}

/// What the database has forgotten, or may have, no instance may remember: not the idle ones, and not one that
/// was at work meanwhile.
#[tokio::test]
async fn the_idle_instances_end_where_a_run_is_in_doubt_or_overtaken() {
    let loaded = loaded().await;
    assert_eq!(loaded.one("").await, Outcome::Done);
    loaded.faults.add(At::Begin, Fault::Lost, 1);
    assert!(matches!(loaded.report(attempts(&RUN)).await.stand, RunStand::InDoubt(_)));
    assert_eq!((loaded.revision.instances().undone, loaded.revision.instances().alive()), (1, 0));
    assert_eq!(loaded.one("if served\nreject").await, Outcome::Done);
    // A run at work waits for the file, another one is in doubt meanwhile.
    let mut writer =
        sqlx::SqliteConnection::connect(&format!("sqlite://{}", loaded.file().display())).await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut writer).await.unwrap();
    let other = async {
        loaded.faults.add(At::Begin, Fault::Lost, 1);
        let report = loaded.report(vec![attempt(50, 50, "")]).await;
        writer.close().await.unwrap();
        report.stand
    };
    let (outcomes, stand) = tokio::join!(loaded.run(vec![attempt(51, 51, "")]), other);
    assert!(outcomes == [Outcome::Done] && matches!(stand, RunStand::InDoubt(_)), "{outcomes:?} {stand:?}");
    assert_eq!((loaded.revision.instances().undone, loaded.revision.instances().alive()), (2, 0));
    assert_eq!(loaded.one("if served\nreject").await, Outcome::Done);
    loaded.own(3).await;
    assert_eq!(loaded.report(attempts(&RUN)).await.stand, RunStand::Overtaken);
    assert_eq!((loaded.revision.instances().undone, loaded.revision.instances().alive()), (3, 0));
}

/// Whoever takes a partition anew may find that its database has gone back, and no run need have met that.
#[tokio::test]
async fn what_served_under_a_former_ownership_serves_no_more() {
    let mut loaded = loaded().await;
    assert_eq!(loaded.one("").await, Outcome::Done);
    loaded.fence = Some(loaded.own(3).await);
    assert_eq!(loaded.one("if served\nreject").await, Outcome::Done);
    let told = "if served\ndo INSERT INTO t (a) SELECT count(*) FROM t";
    assert_eq!(loaded.one(told).await, Outcome::Done);
    assert_eq!(
        (kept(&loaded).await, loaded.revision.instances().undone),
        (1, 1),
        "it serves on under this one"
    );
    // A replay has it go on as another stream.
    let replayed = loaded.own(4).await;
    loaded.fence = Some(replayed);
    assert_eq!(loaded.one("if served\nreject").await, Outcome::Done);
    assert_eq!(loaded.revision.instances().undone, 2);
}

/// A fresh instance for the event at fault only: the memory of the others' is kept.
#[tokio::test]
async fn an_instance_outlives_a_run_that_is_committed_and_none_that_is_undone() {
    let loaded = loaded().await;
    let told = "if served\ndo INSERT INTO t (a) SELECT count(*) FROM t";
    for _ in 0..3 {
        assert_eq!(loaded.each(&[told, told]).await, vec![Outcome::Done; 2]);
    }
    assert_eq!((kept(&loaded).await, loaded.revision.instances().created), (5, 1));
    loaded.faults.add(At::Finish, Fault::Conflict, 1);
    assert_eq!(loaded.one(told).await, Outcome::Done);
    assert_eq!(kept(&loaded).await, 5, "it was done again by an instance that has not served");
    assert_eq!(loaded.read("SELECT max(a) FROM t").await, [[Value::Integer(4)]]);
}
