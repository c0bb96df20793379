//! Partitions that the handler's database gives to another host, or does not answer for: nothing more begins,
//! and nothing is said of them.

use std::sync::atomic::Ordering;
use std::time::Duration;

use keylane_engine::{HandlerOptions, Ownership};

use crate::bench::{Bench, a_while, deliver, event, options};
use crate::database::Database;

async fn given_up_by(value: &str) -> (Bench, String) {
    let bench = Bench::beside(HandlerOptions { slots: 2, ..options() }, Database::new());
    let inbox = bench.assign(0);
    deliver(&inbox, [event(0, "beside", "wait"), event(1, "a", value)]);
    bench.until("given up", || inbox.ownership().is_final()).await;
    let Ownership::Overtaken { reason } = inbox.ownership() else { panic!("{:?}", inbox.ownership()) };
    assert!(inbox.ownership().is_lost() && !inbox.has_room());
    bench.until("what ran beside is broken off", || bench.running() == 0).await;
    bench.runner.gate.add_permits(10);
    a_while().await;
    assert_eq!(inbox.progress().offset, 0);
    let parting = inbox.part();
    bench.until("gone", || parting.is_gone()).await;
    (bench, reason.to_string())
}

#[tokio::test(start_paused = true)]
async fn a_run_that_was_overtaken_gives_the_partition_up() {
    let (bench, reason) = given_up_by("overtaken").await;
    assert!(reason.contains("another host"), "{reason}");
    let totals = bench.engine.tally().totals();
    assert_eq!((totals.done, totals.retried), (0, 0), "what such a run answers does not count");
}

#[tokio::test(start_paused = true)]
async fn a_run_of_unknown_outcome_gives_the_partition_up() {
    let (bench, reason) = given_up_by("in-doubt").await;
    assert_eq!(reason, "the connection is gone");
    assert_eq!(bench.engine.tally().totals().ended(), 0);
}

#[tokio::test(start_paused = true)]
async fn nothing_begins_in_a_partition_that_was_overtaken() {
    let bench = Bench::beside(HandlerOptions { slots: 1, ..options() }, Database::new());
    let inbox = bench.assign(0);
    deliver(&inbox, [event(0, "a", "overtaken")]);
    bench.until("a run", || !bench.seen().is_empty()).await;
    let _ = inbox.deliver(keylane_engine::Delivery { events: vec![event(1, "b", "done")], next: 2 });
    bench.until("given up", || inbox.ownership().is_final()).await;
    a_while().await;
    assert_eq!(bench.seen(), [(0, 1)]);
}

/// It must not be taken for one whose progress is final and whose runs are done.
#[tokio::test(start_paused = true)]
async fn a_drain_of_a_partition_that_was_overtaken_is_no_drain() {
    let bench = Bench::beside(HandlerOptions { slots: 1, ..options() }, Database::new());
    let inbox = bench.assign(0);
    deliver(&inbox, [event(0, "a", "wait"), event(1, "b", "in-doubt")]);
    bench.until("a run", || bench.running() == 1).await;
    inbox.drain();
    bench.until("draining", || inbox.ownership() == Ownership::Draining).await;
    bench.runner.gate.add_permits(1);
    bench.until("given up", || inbox.ownership().is_final()).await;
    assert!(matches!(inbox.ownership(), Ownership::Overtaken { .. }));
    assert_eq!(inbox.progress().offset, 0);
    assert!(inbox.wait_drained(Duration::ZERO), "nobody waits for it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_partition_whose_owner_fell_is_gone_only_when_its_claims_are() {
    let database = Database::new();
    database.blocks.store(true, Ordering::SeqCst);
    let bench = Bench::beside(options(), database.clone());
    let inbox = bench.assign(0);
    deliver(&inbox, [event(0, "bad", "reject"), event(1, "b", "panic-beside")]);
    bench.until("a claim is on its way", || database.claims_asked.load(Ordering::SeqCst) == 1).await;
    bench.runner.blocks.add_permits(1);
    bench.until("faulted", || inbox.ownership() == Ownership::Faulted).await;
    let parting = inbox.part();
    a_while().await;
    let gone_before = parting.is_gone();
    database.unblock.open();
    assert!(!gone_before, "a claim of it was on its way");
    bench.until("gone", || parting.is_gone()).await;
}

#[tokio::test(start_paused = true)]
async fn a_letter_under_way_is_broken_off_with_the_partition() {
    let database = Database::new();
    database.hang(true);
    let bench = Bench::beside(options(), database.clone());
    let inbox = bench.assign(0);
    deliver(&inbox, [event(0, "bad", "reject"), event(1, "other", "overtaken")]);
    bench.until("given up", || inbox.ownership().is_final()).await;
    let asked = database.claims_asked.load(Ordering::SeqCst);
    let parting = inbox.part();
    bench.until("gone", || parting.is_gone()).await;
    database.hang(false);
    a_while().await;
    assert_eq!((database.claimed(), database.claims_asked.load(Ordering::SeqCst)), (vec![], asked));
}
