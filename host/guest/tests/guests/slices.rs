//! Runs that must not go on: what has not begun is given back, and nothing of it has happened. What a run waits for
//! its database is no part of its slice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use keylane_engine::{BootClock, Lease, Outcome, RunControl, RunReport, Runner as _};

use crate::fake_publisher::Acks;
use crate::faulty::{At, Fault};
use crate::stage::{Loaded, Stage, attempt, attempts};

struct Stopped;

impl BootClock for Stopped {
    fn now(&self) -> Duration {
        Duration::from_secs(1)
    }
}

fn lease(proven: bool) -> Arc<Lease> {
    let lease = Lease::new(Duration::from_secs(1), Arc::new(Stopped));
    if proven {
        lease.renew(lease.now());
    }
    Arc::new(lease)
}

async fn produced_by_three(control: RunControl) -> (Vec<Outcome>, usize) {
    let loaded: Loaded = Stage::of("echo").with_producer(Acks::AtOnce).load().await;
    let outcomes = loaded.runner.run(attempts(&["once", "once", "once"]), control).await.outcomes;
    (outcomes, loaded.publisher.records().len())
}

const FIRST_ONLY: [Outcome; 3] = [Outcome::Done, Outcome::NotStarted, Outcome::NotStarted];

#[tokio::test]
async fn a_used_up_slice_gives_the_rest_back() {
    let control = RunControl::new(Duration::ZERO, Arc::default(), lease(true));
    assert_eq!(produced_by_three(control).await, (FIRST_ONLY.to_vec(), 1));
}

#[tokio::test]
async fn a_drain_stops_a_run_between_its_events() {
    let stop = Arc::new(AtomicBool::new(true));
    let control = RunControl::new(Duration::from_secs(60), stop, lease(true));
    assert_eq!(produced_by_three(control).await, (FIRST_ONLY.to_vec(), 1));
}

#[tokio::test]
async fn a_lease_that_ran_out_stops_a_run_between_its_events() {
    let control = RunControl::new(Duration::from_secs(60), Arc::default(), lease(false));
    assert_eq!(produced_by_three(control).await, (FIRST_ONLY.to_vec(), 1));
}

#[tokio::test]
async fn a_run_with_time_left_goes_on() {
    let control = RunControl::new(Duration::from_secs(60), Arc::default(), lease(true));
    assert_eq!(produced_by_three(control).await, (vec![Outcome::Done; 3], 3));
}

/// A guest that writes, warm, to a database that is another process's or not.
async fn writer(is_elsewhere: bool) -> Loaded {
    let migrations = tempfile::tempdir().unwrap();
    std::fs::write(migrations.path().join("1_table.sql"), "CREATE TABLE t (a INTEGER);").unwrap();
    let stage = Stage::of("script").with_database(Some(migrations.path().to_owned()));
    let loaded = stage.with_producer(Acks::AtOnce).load().await;
    loaded.faults.is_elsewhere.store(is_elsewhere, Ordering::SeqCst);
    assert_eq!(loaded.run(vec![attempt(1_000, 0, "")]).await, [Outcome::Done]);
    loaded
}

/// Three events from this offset on, of which the first one waits for its statement.
async fn three_that_wait(loaded: &Loaded, first: u64, slice_ms: u64, wait_ms: u64) -> RunReport {
    loaded.faults.add(At::Statement, Fault::Late(wait_ms), 1);
    let slice = Duration::from_millis(slice_ms);
    let control = RunControl::new(slice, Arc::default(), lease(true)).under(loaded.fence);
    let insert = |offset| attempt(offset, offset, &format!("do INSERT INTO t VALUES ({offset})"));
    loaded.runner.run((first..first + 3).map(insert).collect(), control).await
}

#[tokio::test]
async fn what_a_run_waits_for_its_database_is_no_part_of_its_slice() {
    let (slice_ms, wait_ms) = (480, 490);
    let loaded = writer(true).await;
    // On a busy machine the rest may take longer than the slice, which is no fault; but not each time.
    for first in (0..60).step_by(3) {
        loaded.faults.add(At::Begin, Fault::Late(wait_ms), 1);
        let report = three_that_wait(&loaded, first, slice_ms, wait_ms).await;
        if report.outcomes == vec![Outcome::Done; 3] {
            let spent = report.spent.unwrap();
            assert!(spent < 2 * Duration::from_millis(wait_ms), "{spent:?} with what it waited");
            return;
        }
    }
    panic!("no run outlasts its slice, though all of them wait");
}

#[tokio::test]
async fn waiting_has_its_bound_and_what_a_database_does_here_is_no_waiting() {
    for (is_elsewhere, slice_ms, wait_ms) in [(true, 50, 600), (false, 50, 60)] {
        let loaded = writer(is_elsewhere).await;
        let report = three_that_wait(&loaded, 0, slice_ms, wait_ms).await;
        assert_eq!(report.outcomes, FIRST_ONLY, "elsewhere: {is_elsewhere}");
    }
}
