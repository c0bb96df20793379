//! Bounds: slots, the length of the payload, the gap, and what is said when one is reached.

use std::sync::atomic::Ordering;
use std::time::Duration;

use keylane_engine::{HandlerOptions, InboxLimits, PAYLOAD_UNITS_HIGH, Policy};
use keylane_test_support::Log;

use crate::bench::{Bench, a_while, coin, deliver, ended_above, event, in_partition, options, status};

#[tokio::test(start_paused = true)]
async fn slots_bound_the_runs_of_all_partitions() {
    let bench = Bench::new(HandlerOptions { slots: 2, ..options() });
    let (one, two) = (bench.assign(0), bench.assign(1));
    deliver(&one, (0..6).map(|offset| event(offset, &offset.to_string(), "wait")));
    deliver(&two, (0..6).map(|offset| in_partition(1, event(offset, &offset.to_string(), "wait"))));
    bench.until("two runs", || bench.running() == 2).await;
    a_while().await;
    assert_eq!(bench.running(), 2);
    bench.runner.gate.add_permits(12);
    bench.until_watermark(&one, 6).await;
    bench.until_watermark(&two, 6).await;
}

#[tokio::test(start_paused = true)]
async fn a_partition_whose_runs_hang_leaves_slots_to_the_others() {
    let bench = Bench::new(HandlerOptions { slots: 8, ..options() });
    let (hanging, well) = (bench.assign(0), bench.assign(1));
    deliver(&hanging, (0..40).map(|offset| event(offset, &offset.to_string(), "wait")));
    a_while().await;
    deliver(&well, (0..200).map(|offset| in_partition(1, event(offset, &offset.to_string(), "slow"))));
    bench.until_watermark(&well, 200).await;
    assert_eq!(hanging.progress().offset, 0, "it still hangs");
    bench.runner.gate.add_permits(40);
    bench.until_watermark(&hanging, 40).await;
}

#[tokio::test(start_paused = true)]
async fn a_partition_whose_payload_is_nearly_full_takes_in_nothing_and_names_the_key() {
    let (log, _keeping) = Log::keep(tracing::Level::ERROR);
    let policy = Policy { backoff_ms: 60_000, backoff_max_ms: 60_000, flood: None, ..Policy::default() };
    let inbox = InboxLimits { records: 100_000, bytes: usize::MAX };
    let bench = Bench::new(HandlerOptions { policy, inbox, ..options() });
    let inbox = bench.assign(0);
    // Every other event fails, drawn so that nothing compresses: 24,000 offsets would take the whole commit.
    let fails = |offset: i64| offset == 0 || coin(offset);
    let key = |offset| if offset == 0 { "culprit".to_owned() } else { format!("key-{offset}") };
    let value = |offset| if fails(offset) { "retry-once" } else { "done" };
    let batch = |first| (first..first + 500).map(|offset| event(offset, &key(offset), value(offset)));
    let mut next = 0;
    while status(&inbox).await.admits {
        assert!(next < 40_000, "never full: {:?}", status(&inbox).await);
        deliver(&inbox, batch(next));
        next += 500;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let told = status(&inbox).await;
    assert!(told.gap_units > PAYLOAD_UNITS_HIGH && told.gap_units <= 4_096, "{}", told.gap_units);
    assert_eq!(told.blocking.unwrap().key.as_deref(), Some("culprit"));
    assert!(told.why_not.unwrap().contains("characters of the commit"));
    let begun = bench.seen().len();
    deliver(&inbox, batch(next));
    a_while().await;
    assert_eq!(bench.seen().len(), begun, "nothing new was taken in");
    let said = log.lines("takes in nothing more");
    assert_eq!(said.len(), 1, "said once: {said:?}");
    assert!(said[0].contains("culprit"), "{said:?}");
    tokio::time::sleep(Duration::from_secs(60)).await;
    bench.until_watermark(&inbox, next + 500).await;
}

#[tokio::test(start_paused = true)]
async fn a_gap_of_too_many_records_takes_in_nothing_more() {
    let policy = Policy { gap_max: 10, ..options().policy };
    let bench = Bench::new(HandlerOptions { policy, ..options() });
    let inbox = bench.assign(0);
    deliver(&inbox, [event(0, "culprit", "wait")]);
    for offset in 1..30 {
        deliver(&inbox, [event(offset, "other", "done")]);
    }
    a_while().await;
    let told = status(&inbox).await;
    assert_eq!((told.gap_records, told.admits), (10, false));
    assert!(told.why_not.unwrap().contains("10 records"));
    bench.runner.gate.add_permits(1);
    bench.until_watermark(&inbox, 30).await;
}

/// The ranges of a compacted log are long, and none of their offsets has a claim.
#[tokio::test(start_paused = true)]
async fn what_had_ended_before_keeps_nothing_out() {
    let bench = Bench::new(options());
    let inbox = bench.assign_at(0, ended_above(0, 1..1 << 40));
    deliver(&inbox, [event(0, "slow", "wait"), event(1 << 40, "new", "done")]);
    deliver(&inbox, [event((1 << 40) + 1, "newer", "done")]);
    bench.until("all are taken in", || bench.seen().len() == 3).await;
    assert!(status(&inbox).await.admits);
}

#[tokio::test(start_paused = true)]
async fn the_bytes_of_a_partition_are_bounded_and_its_poller_is_woken_when_there_is_room() {
    let bytes = 10 * event(0, "one", "wait").weight_bytes();
    let inbox = InboxLimits { records: usize::MAX, bytes };
    let bench = Bench::new(HandlerOptions { slots: 1, inbox, ..options() });
    let inbox = bench.assign(0);
    for offset in 0..10 {
        assert!(inbox.has_room(), "{offset} of ten events leave room");
        deliver(&inbox, [event(offset, "one", "wait")]);
    }
    bench.until("a run", || bench.running() == 1).await;
    assert!(!inbox.has_room(), "the bytes are used up");
    let told = status(&inbox).await;
    assert_eq!((told.buffered_records, told.buffered_bytes, told.admits), (10, bytes, false));
    let why_not = told.why_not.unwrap();
    assert!(why_not.contains(&format!("{bytes} bytes")), "{why_not}");
    assert_eq!(bench.wakes.load(Ordering::SeqCst), 0);
    bench.runner.gate.add_permits(10);
    bench.until_watermark(&inbox, 10).await;
    assert!(inbox.has_room());
    assert!(bench.wakes.load(Ordering::SeqCst) >= 1, "the poller was not woken");
}

/// Deliveries wait where the owner takes nothing in; how many may is a bound like the others.
#[tokio::test(start_paused = true)]
async fn a_poller_that_found_too_many_deliveries_waiting_is_woken_when_one_is_taken_in() {
    let policy = Policy { gap_max: 1, ..options().policy };
    let bench = Bench::new(HandlerOptions { policy, ..options() });
    let inbox = bench.assign(0);
    deliver(&inbox, [event(0, "one", "wait")]);
    bench.until("a run", || bench.running() == 1).await;
    let mut next = 1;
    while inbox.has_room() {
        assert!(next < 1_000, "deliveries are not bounded");
        deliver(&inbox, [event(next, "one", "wait")]);
        next += 1;
    }
    a_while().await;
    assert_eq!((inbox.has_room(), bench.wakes.load(Ordering::SeqCst)), (false, 0));
    bench.runner.gate.add_permits(1);
    bench.until_watermark(&inbox, 1).await;
    a_while().await;
    assert!(inbox.has_room());
    assert!(bench.wakes.load(Ordering::SeqCst) >= 1, "the poller was not woken");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_does_not_come_back_is_reported_once_with_its_keys() {
    let (log, _keeping) = Log::keep(tracing::Level::ERROR);
    let bench = Bench::new(HandlerOptions { stuck_after: Duration::from_secs(5), ..options() });
    let inbox = bench.assign(0);
    deliver(&inbox, [event(0, "stuck-key", "wait")]);
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(log.lines("does not come back").len(), 0);
    tokio::time::sleep(Duration::from_secs(60)).await;
    let said = log.lines("does not come back");
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("stuck-key") && said[0].contains("tasks[0]"), "{said:?}");
}
