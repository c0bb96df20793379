//! Runs that must not go on: what has not begun is given back, and nothing of it has happened.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use keylane_engine::{BootClock, Lease, Outcome, RunControl, Runner as _};

use crate::fake_publisher::Acks;
use crate::stage::{Loaded, Stage, attempts};

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
