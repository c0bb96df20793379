//! Guests that misbehave: each ends as a failed attempt with its class and reason, its neighbours in the
//! same run are unharmed, and the next event finds a fresh instance.

use std::time::Duration;

use keylane_engine::{FailureClass, Outcome, RunControl, Runner as _};

use crate::stage::{Loaded, Stage, attempts, failure};

/// Long enough for what these guests do when they behave, short enough to wait for.
const TIME: Duration = Duration::from_millis(200);

/// Runs a bad event between two good ones and a good one afterwards; answers how the bad one failed.
async fn contained(loaded: &Loaded, bad: &str) -> (FailureClass, String) {
    let outcomes = loaded.each(&["good", bad, "good"]).await;
    assert_eq!(outcomes[0], Outcome::Done);
    assert_eq!(outcomes[2], Outcome::Done);
    assert_eq!(loaded.one("good").await, Outcome::Done);
    let counts = loaded.revision.instances();
    assert_eq!(counts.failed, 1, "the instance of the failed event is ended");
    assert_eq!(counts.created, 2, "one before the failure, one after it");
    let (class, reason) = failure(&outcomes[1]);
    (class, reason.to_owned())
}

#[tokio::test]
async fn spin() {
    let loaded = Stage::of("spin").time(TIME).load().await;
    let (class, reason) = contained(&loaded, "spin").await;
    assert_eq!(class, FailureClass::Timeout);
    assert!(reason.starts_with("used more than its own time of 200ms, at "), "{reason}");
}

#[tokio::test(flavor = "current_thread")]
async fn a_spinning_guest_shares_its_thread() {
    let loaded = Stage::of("spin").time(TIME * 5).load().await;
    let runner = loaded.runner.clone();
    let run =
        tokio::spawn(async move { runner.run(attempts(&["spin"]), RunControl::unlimited()).await.outcomes });
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(!run.is_finished(), "the other task of this thread went on while the guest was computing");
    assert_eq!(failure(&run.await.unwrap()[0]).0, FailureClass::Timeout);
}

#[tokio::test]
async fn sleep() {
    let loaded = Stage::of("sleep").time(TIME).load().await;
    let (class, reason) = contained(&loaded, "sleep").await;
    assert_eq!(class, FailureClass::Timeout);
    assert_eq!(reason, "used more than its own time of 200ms, asleep or waiting");
}

#[tokio::test]
async fn trap() {
    let loaded = Stage::of("trap").load().await;
    let (class, reason) = contained(&loaded, "trap").await;
    assert_eq!(class, FailureClass::Trap);
    assert!(reason.starts_with("wasm trap: wasm `unreachable` instruction executed, at "), "{reason}");
}

#[tokio::test]
async fn hoard() {
    let loaded = Stage::of("hoard").load().await;
    let (class, reason) = contained(&loaded, "hoard").await;
    assert_eq!(class, FailureClass::Memory);
    assert!(reason.starts_with("asked for more than its 16777216 bytes of memory"), "{reason}");
}

#[tokio::test]
async fn recurse() {
    let loaded = Stage::of("recurse").load().await;
    let (class, reason) = contained(&loaded, "recurse").await;
    assert_eq!(class, FailureClass::Trap);
    assert!(reason.contains("call stack exhausted"), "{reason}");
}

#[tokio::test]
async fn panics_on_second() {
    let loaded = Stage::of("panics-on-second").load().await;
    let outcomes = loaded.each(&["first", "second", "third"]).await;
    assert_eq!(outcomes[0], Outcome::Done);
    assert_eq!(failure(&outcomes[1]).0, FailureClass::Trap);
    assert_eq!(outcomes[2], Outcome::Done, "the third event finds an instance that remembers nothing");
}

#[tokio::test]
async fn stdout() {
    let loaded = Stage::of("stdout").load().await;
    assert_eq!(loaded.each(&["1", "5000", "1"]).await, vec![Outcome::Done; 3]);
    assert_eq!(loaded.revision.instances().created, 1, "talking is no failure");
}
