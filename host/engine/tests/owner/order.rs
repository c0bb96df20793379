//! Order, retries and endings.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use keylane_engine::{Event, FailureClass, HandlerOptions, Ownership, Policy};

use crate::bench::{Bench, a_while, deliver, event, options};

#[tokio::test(start_paused = true)]
async fn events_of_a_key_run_in_order_and_the_watermark_follows() {
    let bench = Bench::new(options());
    let inbox = bench.assign(0);
    deliver(&inbox, (0..100).map(|offset| event(offset, "one", "done")));
    bench.until_watermark(&inbox, 100).await;
    assert_eq!(bench.seen(), (0..100).map(|offset| (offset, 1)).collect::<Vec<_>>());
    assert_eq!(bench.engine.tally().totals().done, 100);
}

#[tokio::test(start_paused = true)]
async fn a_failing_key_waits_and_others_go_on() {
    let bench = Bench::new(options());
    let inbox = bench.assign(0);
    deliver(&inbox, [event(0, "bad", "retry"), event(1, "bad", "done"), event(2, "good", "done")]);
    bench.until_watermark(&inbox, 3).await;
    let bad: Vec<_> = bench.seen().into_iter().filter(|(offset, _)| *offset != 2).collect();
    assert_eq!(bad, [(0, 1), (0, 2), (0, 3), (1, 1)], "three attempts, then its follower");
    let letters = bench.letters.kept.lock().unwrap();
    let letter = letters.first().unwrap();
    assert_eq!((letters.len(), letter.attempts, letter.class), (1, 3, FailureClass::Retry));
    assert_eq!(bench.engine.tally().totals().retried, 2, "after the third no other comes");
    assert!(letter.first_failure_ms > 1_700_000_000_000, "{}", letter.first_failure_ms);
}

#[tokio::test(start_paused = true)]
async fn a_refused_dead_letter_is_sent_again_and_nothing_ends_before() {
    let bench = Bench::new(options());
    let inbox = bench.assign(0);
    bench.letters.refuse.store(1, Ordering::SeqCst);
    deliver(&inbox, [event(0, "a", "reject")]);
    bench.until("first refusal", || bench.letters.refuse.load(Ordering::SeqCst) == 0).await;
    assert_eq!(inbox.progress().offset, 0);
    bench.until_watermark(&inbox, 1).await;
    assert_eq!(bench.seen(), [(0, 1)], "a rejected event is not tried again");
}

#[tokio::test(start_paused = true)]
async fn an_undeliverable_effect_is_buried_at_once() {
    let bench = Bench::new(options());
    let inbox = bench.assign(0);
    deliver(&inbox, [event(0, "a", "undeliverable")]);
    bench.until_watermark(&inbox, 1).await;
    assert_eq!(bench.seen(), [(0, 1)]);
    assert_eq!(bench.engine.tally().totals().dead_lettered, 1);
}

#[tokio::test(start_paused = true)]
async fn effects_that_fail_are_not_charged_as_attempts() {
    let bench = Bench::new(options());
    let inbox = bench.assign(0);
    deliver(&inbox, [event(0, "a", "effects")]);
    bench.until("more attempts than the policy has", || bench.seen().len() > 5).await;
    assert_eq!(bench.engine.tally().totals().dead_lettered, 0);
}

#[tokio::test(start_paused = true)]
async fn what_has_no_type_is_buried_unseen_and_other_types_are_skipped() {
    let bench = Bench::new(options());
    let inbox = bench.assign(0);
    let untyped = Event { headers: vec![], ..event(0, "a", "done") };
    let mut other = event(1, "a", "done");
    other.headers.first_mut().unwrap().value = Some(Bytes::from_static(b"other"));
    deliver(&inbox, [untyped, other]);
    bench.until_watermark(&inbox, 2).await;
    assert_eq!(bench.seen(), []);
    let totals = bench.engine.tally().totals();
    assert_eq!((totals.skipped, totals.dead_lettered, totals.ended()), (1, 1, 2));
}

#[tokio::test(start_paused = true)]
async fn a_panic_stops_the_partition_and_is_told() {
    let bench = Bench::new(options());
    let inbox = bench.assign(0);
    deliver(&inbox, [event(0, "a", "panic")]);
    bench.until("faulted", || inbox.ownership() == Ownership::Faulted).await;
    assert_eq!(bench.engine.tally().totals().faulted, 1);
    assert!(!inbox.has_room(), "a faulted partition takes nothing more");
    assert_eq!(inbox.progress().offset, 0);
    assert_eq!(bench.budget.held_bytes(), 0, "its events are gone, so their bytes are too");
}

#[tokio::test(start_paused = true)]
async fn a_run_gives_back_what_its_slice_has_no_time_for() {
    let policy = Policy { slice_ms: 25, ..options().policy };
    let bench = Bench::new(HandlerOptions { slots: 1, policy, ..options() });
    let inbox = bench.assign(0);
    deliver(&inbox, (0..5).map(|offset| event(offset, "one", "slow")));
    bench.until("a run of all five", || bench.running() == 1).await;
    deliver(&inbox, [event(5, "two", "slow")]);
    bench.until("the sixth event", || bench.seen().contains(&(5, 1))).await;
    let begun = bench.seen().len();
    assert!(begun < 6, "the other key had to wait for all of {begun} events: {:?}", bench.seen());
    bench.until_watermark(&inbox, 6).await;
    assert_eq!(bench.engine.tally().totals().done, 6);
}

#[tokio::test(start_paused = true)]
async fn what_a_run_has_waited_for_its_database_makes_no_other_shorter() {
    for (value, expected) in [("slow", 1), ("waited", 20)] {
        let policy = Policy { slice_ms: 5, ..options().policy };
        let bench = Bench::new(HandlerOptions { slots: 1, policy, ..options() });
        let inbox = bench.assign(0);
        deliver(&inbox, [event(0, "one", value)]);
        bench.until_watermark(&inbox, 1).await;
        deliver(&inbox, (1..21).map(|offset| event(offset, "one", "done")));
        bench.until_watermark(&inbox, 21).await;
        let runs: Vec<usize> = bench.runner.runs.lock().unwrap().iter().map(|(events, ..)| *events).collect();
        assert_eq!(runs.get(1), Some(&expected), "{value}: {runs:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn offsets_that_never_arrive_block_nothing() {
    let bench = Bench::new(options());
    let inbox = bench.assign(0);
    deliver(&inbox, [event(3, "a", "done"), event(7, "a", "done")]);
    bench.until_watermark(&inbox, 8).await;
    inbox.deliver(keylane_engine::Delivery { events: vec![], next: 40 }).unwrap();
    bench.until_watermark(&inbox, 40).await;
    assert_eq!(bench.seen(), [(3, 1), (7, 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_progress_with_a_gap_is_made_ten_times_a_second_at_most() {
    let bench = Bench::new(HandlerOptions { slots: 2, ..options() });
    let inbox = bench.assign(0);
    deliver(&inbox, [event(0, "stuck", "wait")]);
    deliver(&inbox, (1..200).map(|offset| event(offset, "slow", "slow")));
    let mut payloads = std::collections::BTreeSet::new();
    for _ in 0..2_100 {
        payloads.insert(inbox.progress().payload);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    a_while().await;
    assert!((5..=23).contains(&payloads.len()), "{} payloads in 2.1 s", payloads.len());
    bench.runner.gate.add_permits(1);
    bench.until_watermark(&inbox, 200).await;
}
