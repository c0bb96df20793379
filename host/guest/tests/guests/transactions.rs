//! Runs of a handler that writes to a database: one transaction, in which all that its events did becomes real
//! with a claim for each, and of which a failed event takes nothing along but itself.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use keylane_effects::{EndedAs, Value};
use keylane_engine::{BootClock, FailureClass, Lease, Outcome, RunControl, RunStand, Runner as _};
use sqlx::{Connection as _, Row as _};

use crate::fake_publisher::Acks;
use crate::stage::{Loaded, Stage, attempt, attempts, failure};

const TABLES: &str = "
    CREATE TABLE t (a INTEGER UNIQUE);
    CREATE TABLE alarm (a INTEGER);
    CREATE TRIGGER alarm BEFORE INSERT ON alarm BEGIN SELECT RAISE(ROLLBACK, 'rung'); END;
    CREATE TABLE parent (id INTEGER PRIMARY KEY);
    CREATE TABLE child (parent INTEGER REFERENCES parent DEFERRABLE INITIALLY DEFERRED);
";

/// The guest that does what its events say, over these tables.
async fn loaded() -> Loaded {
    let migrations = tempfile::tempdir().unwrap();
    std::fs::write(migrations.path().join("1_tables.sql"), TABLES).unwrap();
    let stage = Stage::of("script").with_database(Some(migrations.path().to_owned()));
    stage.with_reports().with_producer(Acks::AtOnce).load().await
}

/// What stands in `t`.
async fn kept(loaded: &Loaded) -> Vec<i64> {
    let rows = loaded.read("SELECT a FROM t ORDER BY a").await;
    rows.iter().map(|row| if let Value::Integer(a) = row[0] { a } else { panic!("{row:?}") }).collect()
}

/// What stands in the outbox: offsets, ordinals and values.
pub async fn outbox(file: &Path) -> Vec<(i64, i64, String)> {
    let mut file = sqlx::SqliteConnection::connect(&format!("sqlite://{}", file.display())).await.unwrap();
    let text = "SELECT event_offset, ordinal, CAST(value AS TEXT) FROM keylane_outbox ORDER BY 1, 2";
    let rows = sqlx::query(text).fetch_all(&mut file).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
}

fn class(outcome: &Outcome) -> FailureClass {
    failure(outcome).0
}

#[tokio::test]
async fn a_run_becomes_real_with_its_outputs_and_claims_and_nothing_leaves_by_itself() {
    let loaded = loaded().await;
    let values =
        ["do INSERT INTO t VALUES (0)\nsend zero", "send one\nsend uno", "do INSERT INTO t VALUES (2)"];
    assert_eq!(loaded.each(&values).await, vec![Outcome::Done; 3]);
    assert_eq!(kept(&loaded).await, [0, 2]);
    let rows = outbox(&loaded.file()).await;
    let expected = [(0, 0, "zero"), (1, 0, "one"), (1, 1, "uno")];
    assert_eq!(rows, expected.map(|(offset, ordinal, value)| (offset, ordinal, value.to_owned())));
    assert_eq!(loaded.publisher.records(), []);
    assert_eq!(loaded.revision.instances().created, 1);
    assert_eq!(loaded.claimed().await, [0, 1, 2]);
}

/// Events of one lane follow each other in a run, whatever lies between their offsets. What has seen what they did
/// leaves behind what they gave out, or a reader would keep the older of two balances.
#[tokio::test]
async fn outputs_leave_in_the_order_in_which_their_events_were_handled() {
    let loaded = loaded().await;
    let see = "do INSERT INTO t (a) SELECT count(*) FROM t\nask SELECT count(*) FROM t";
    let run = [(5, 1), (9, 1), (7, 2)].map(|(offset, lane)| attempt(offset, lane, see));
    assert_eq!(loaded.run(run.to_vec()).await, vec![Outcome::Done; 3]);
    let address = format!("sqlite://{}", loaded.file().display());
    let mut file = sqlx::SqliteConnection::connect(&address).await.unwrap();
    let text = "SELECT event_offset, CAST(value AS TEXT) FROM keylane_outbox ORDER BY id";
    let rows = sqlx::query(text).fetch_all(&mut file).await.unwrap();
    let rows: Vec<(i64, String)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(rows.iter().map(|(offset, _)| *offset).collect::<Vec<_>>(), [5, 9, 7]);
    let saw = |row: usize, count: i64| rows[row].1.contains(&format!("({count})"));
    assert!(saw(0, 1) && saw(1, 2) && saw(2, 3), "{rows:?}");
}

/// What one event has added is there for the next one, which names the table; and a failed one's is not.
#[tokio::test]
async fn what_an_event_adds_is_there_for_those_after_it() {
    let loaded = loaded().await;
    let add = |a: i64| format!("add INSERT INTO t (a) VALUES ({a})\n");
    let see = "ask SELECT count(*) FROM t";
    let outcomes = loaded.each(&[&add(1), &(add(2) + see), &(add(3) + "reject"), &(add(4) + see)]).await;
    assert!(matches!(outcomes[2], Outcome::Failed { .. }), "{outcomes:?}");
    let saw: Vec<_> = outbox(&loaded.file()).await.into_iter().map(|(_, _, value)| value).collect();
    assert!(saw.len() == 2 && saw[0].contains("(2)") && saw[1].contains("(3)"), "{saw:?}");
    assert_eq!(kept(&loaded).await, [1, 2, 4]);
}

#[tokio::test]
async fn a_failed_event_is_undone_and_charged_alone() {
    let loaded = loaded().await;
    let bad = "do INSERT INTO t VALUES (1)\nsend bad\n";
    for (last, expected) in [
        ("retry later", FailureClass::Retry),
        ("reject never", FailureClass::Reject),
        ("trap", FailureClass::Trap),
        ("hoard", FailureClass::Memory),
        ("do INSERT INTO nowhere VALUES (1)", FailureClass::Retry),
        ("do COMMIT", FailureClass::Retry),
        ("try INSERT INTO nowhere VALUES (1)", FailureClass::Retry),
        ("try INSERT INTO nowhere VALUES (1)\ntry INSERT INTO t VALUES (9)\nsend more", FailureClass::Retry),
        ("peek SELECT * FROM nowhere", FailureClass::Retry),
        ("do INSERT INTO child VALUES (77)", FailureClass::Retry),
        // Refused only when it is sent, with the neighbours' rows where there are no savepoints.
        ("add INSERT INTO t (a) VALUES (1)", FailureClass::Retry),
        ("add INSERT INTO nowhere (a) VALUES (1)", FailureClass::Retry),
        ("add DELETE FROM t", FailureClass::Retry),
        // Too much to copy: the driver's own thread may die of it.
        ("ask SELECT hex(zeroblob(80000000))", FailureClass::Retry),
        // These end the whole transaction, which takes the neighbours' rows with it: they are done again.
        ("try INSERT INTO alarm VALUES (1)", FailureClass::Retry),
        ("do INSERT INTO alarm VALUES (1)", FailureClass::Retry),
    ] {
        let before = kept(&loaded).await.len();
        let (first, second) = (100 + before, 101 + before);
        let good = |number| format!("do INSERT INTO t VALUES ({number})\nsend good {number}");
        let outcomes = loaded.each(&[&good(first), &format!("{bad}{last}"), &good(second)]).await;
        assert_eq!((&outcomes[0], &outcomes[2]), (&Outcome::Done, &Outcome::Done), "{last}");
        assert_eq!(class(&outcomes[1]), expected, "{last}");
        let numbers = [first, second].map(|number| i64::try_from(number).unwrap());
        assert_eq!(kept(&loaded).await[before..], numbers, "{last}");
    }
    let values: Vec<_> = outbox(&loaded.file()).await.into_iter().map(|(_, _, value)| value).collect();
    assert!(values.len() == 32 && values.iter().all(|value| value.starts_with("good ")), "{values:?}");
    assert!(loaded.claimed().await.iter().all(|offset| offset % 3 != 1), "a failed event is not claimed");
}

#[tokio::test]
async fn an_event_alone_fails_as_one_of_many_does_and_leaves_nothing() {
    let loaded = loaded().await;
    let mut failures = Vec::new();
    for last in [
        "retry",
        "reject",
        "trap",
        "try COMMIT",
        "do INSERT INTO child VALUES (7)",
        "add INSERT INTO t (a) VALUES (1)",
        "try INSERT INTO alarm VALUES (1)",
    ] {
        failures.push(class(&loaded.one(&format!("do INSERT INTO t VALUES (1)\nsend x\n{last}")).await));
    }
    let retry = FailureClass::Retry;
    assert_eq!(failures, [retry, FailureClass::Reject, FailureClass::Trap, retry, retry, retry, retry]);
    assert_eq!(kept(&loaded).await, Vec::<i64>::new());
    assert_eq!(outbox(&loaded.file()).await, []);
    assert_eq!(loaded.claimed().await, Vec::<i64>::new());
}

#[tokio::test]
async fn nothing_more_of_a_failed_events_lane_begins() {
    let loaded = loaded().await;
    let insert = |number| format!("do INSERT INTO t VALUES ({number})");
    let run = vec![
        attempt(0, 1, &insert(0)),
        attempt(1, 1, "trap"),
        attempt(2, 2, &insert(2)),
        attempt(3, 1, &insert(3)),
        attempt(4, 2, &insert(4)),
    ];
    let outcomes = loaded.run(run).await;
    assert_eq!(class(&outcomes[1]), FailureClass::Trap);
    let (done, not_started) = (Outcome::Done, Outcome::NotStarted);
    assert_eq!([&outcomes[0], &outcomes[2], &outcomes[3], &outcomes[4]], [&done, &done, &not_started, &done]);
    assert_eq!(kept(&loaded).await, [0, 2, 4]);
}

#[tokio::test]
async fn a_run_with_savepoints_is_cut_at_sixty_events() {
    let loaded = loaded().await;
    let values = vec!["do INSERT INTO t (a) SELECT count(*) FROM t"; 99];
    let mut run: Vec<_> =
        (0_u64..).zip(values).map(|(offset, value)| attempt(offset, offset, value)).collect();
    run.insert(50, attempt(1_000, 1_000, "reject"));
    let outcomes = loaded.run(run).await;
    assert_eq!(class(&outcomes[50]), FailureClass::Reject);
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Outcome::Done).count(), 59);
    assert_eq!(outcomes[60..], vec![Outcome::NotStarted; 40]);
    assert_eq!(kept(&loaded).await.len(), 59);
}

struct Stopped;

impl BootClock for Stopped {
    fn now(&self) -> Duration {
        Duration::from_secs(1)
    }
}

/// A run that must end before its second event commits the first.
#[tokio::test]
async fn a_run_that_is_cut_commits_what_it_did() {
    let lease = |proven| {
        let lease = Lease::new(Duration::from_secs(1), Arc::new(Stopped));
        if proven {
            lease.renew(lease.now());
        }
        Arc::new(lease)
    };
    let long = Duration::from_secs(60);
    let stop = || Arc::new(AtomicBool::new(true));
    for control in [
        RunControl::new(Duration::ZERO, Arc::default(), lease(true)),
        RunControl::new(long, stop(), lease(true)),
        RunControl::new(long, Arc::default(), lease(false)),
    ] {
        let loaded = loaded().await;
        let run = attempts(&["do INSERT INTO t VALUES (0)", "do INSERT INTO t VALUES (1)", "trap"]);
        let report = loaded.runner.run(run, control.under(loaded.fence)).await;
        assert_eq!(report.outcomes, [Outcome::Done, Outcome::NotStarted, Outcome::NotStarted]);
        assert_eq!((report.stand, kept(&loaded).await), (RunStand::Kept, vec![0]));
        assert_eq!(loaded.claimed().await, [0]);
    }
}

/// The first event fails without a savepoint, and then no more may begin: nobody is charged for that.
#[tokio::test]
async fn a_run_that_may_not_be_done_again_leaves_nothing() {
    let loaded = loaded().await;
    let lease = Lease::new(Duration::from_secs(1), Arc::new(Stopped));
    lease.renew(lease.now());
    let control = RunControl::new(Duration::ZERO, Arc::default(), Arc::new(lease)).under(loaded.fence);
    let report =
        loaded.runner.run(attempts(&["do INSERT INTO t VALUES (0)\nreject", "send x"]), control).await;
    assert_eq!(report.outcomes, vec![Outcome::NotStarted; 2]);
    assert_eq!((kept(&loaded).await, loaded.claimed().await), (vec![], vec![]));
}

#[tokio::test]
async fn an_event_that_was_claimed_before_is_done_and_not_done_again() {
    let loaded = loaded().await;
    let before = loaded.database().begin(&loaded.fence.unwrap()).await.unwrap();
    before.finish(&[], &[(1, EndedAs::Skipped)], Duration::from_secs(60)).await.unwrap();
    let insert =
        ["do INSERT INTO t VALUES (0)", "do INSERT INTO t VALUES (1)\nsend x", "do INSERT INTO t VALUES (2)"];
    let report = loaded.report(attempts(&insert)).await;
    assert_eq!((report.outcomes, report.stand), (vec![Outcome::Done; 3], RunStand::Kept));
    assert_eq!((kept(&loaded).await, outbox(&loaded.file()).await), (vec![0, 2], vec![]));
    assert_eq!(loaded.revision.instances().undone, 1, "it remembers what the database forgot");
    assert_eq!(loaded.report(attempts(&insert)).await.outcomes, vec![Outcome::Done; 3], "all of them");
    assert_eq!((kept(&loaded).await, loaded.claimed().await), (vec![0, 2], vec![0, 1, 2]));
}

/// It is not told as done before what comes first in its lane.
#[tokio::test]
async fn an_event_that_was_claimed_before_keeps_its_place_in_its_lane() {
    let loaded = loaded().await;
    let before = loaded.database().begin(&loaded.fence.unwrap()).await.unwrap();
    before.finish(&[], &[(2, EndedAs::Done)], Duration::from_secs(60)).await.unwrap();
    let run = vec![
        attempt(0, 7, ""),
        attempt(1, 7, "if first attempt\nreject"),
        attempt(2, 7, ""),
        attempt(3, 8, ""),
    ];
    let mut outcomes = loaded.run(run.clone()).await;
    assert_eq!(failure(&outcomes.remove(1)).0, FailureClass::Reject);
    assert_eq!(outcomes, [Outcome::Done, Outcome::NotStarted, Outcome::Done]);
    let mut again = run[1..3].to_vec();
    again[0].number = 2;
    assert_eq!(loaded.run(again).await, vec![Outcome::Done; 2]);
    assert_eq!(loaded.claimed().await, [0, 1, 2, 3]);
}

#[tokio::test]
async fn whoever_was_overtaken_writes_nothing() {
    let loaded = loaded().await;
    let successor = loaded.own(3).await;
    let report = loaded.report(attempts(&["do INSERT INTO t VALUES (0)"])).await;
    assert_eq!((report.outcomes, report.stand), (vec![Outcome::NotStarted], RunStand::Overtaken));
    assert_eq!(kept(&loaded).await, Vec::<i64>::new());
    let control = RunControl::unlimited().under(Some(successor));
    let report = loaded.runner.run(attempts(&["do INSERT INTO t VALUES (0)"]), control).await;
    assert_eq!((report.outcomes, report.stand), (vec![Outcome::Done], RunStand::Kept));
}

#[tokio::test]
async fn without_an_ownership_nothing_runs() {
    let loaded = loaded().await;
    let report = loaded.runner.run(attempts(&["trap"]), RunControl::unlimited()).await;
    assert_eq!(report.outcomes, [Outcome::NotStarted]);
    assert!(matches!(report.stand, RunStand::InDoubt(_)));
    assert_eq!(loaded.revision.instances().failed, 0);
}

/// A handler that only reads: a swallowed error makes its ok a retry as well.
#[tokio::test]
async fn an_ok_after_a_failed_query_is_a_retry_without_a_transaction_too() {
    let loaded = Stage::of("script").with_reports().with_producer(Acks::AtOnce).load().await;
    let outcomes = loaded.each(&["look SELECT 1\nsend good", "peek SELECT * FROM nowhere\nsend bad"]).await;
    assert_eq!((&outcomes[0], class(&outcomes[1])), (&Outcome::Done, FailureClass::Retry));
    assert_eq!(class(&loaded.one("look DELETE FROM nowhere").await), FailureClass::Retry);
    assert_eq!(loaded.publisher.records().len(), 1);
}
