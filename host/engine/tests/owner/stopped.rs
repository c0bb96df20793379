//! A partition that gets nothing: never because of another handler alone, and never without a word.

use std::sync::atomic::Ordering;
use std::time::Duration;

use keylane_engine::{HandlerOptions, HostBudget, Inbox, InboxLimits, PAYLOAD_UNITS_HIGH, Policy, Then};
use keylane_test_support::Log;

use crate::bench::{Bench, a_while, deliver, event, options, status};
use crate::shown::with_metrics;

/// What every partition may hold however full the host is.
const FLOOR_RECORDS: i64 = 256;

fn pausing() -> Policy {
    Policy { then: Then::PauseLane, ..options().policy }
}

/// A handler whose only partition holds the whole budget, and does not get on.
async fn hog(bytes: usize) -> (Bench, Inbox) {
    let bench = Bench::new(HandlerOptions { budget: HostBudget::new(bytes), ..options() });
    let inbox = bench.assign(0);
    let mut next = 0;
    while bench.budget.held_bytes() < bytes || next < FLOOR_RECORDS {
        deliver(&inbox, (next..next + 50).map(|offset| event(offset, &offset.to_string(), "wait")));
        next += 50;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(!inbox.has_room(), "the host is full");
    (bench, inbox)
}

/// A handler that filled the host kept every partition of the others from more than one batch, once a
/// single record of theirs waited for an operator.
#[tokio::test(start_paused = true)]
async fn a_host_filled_by_one_handler_does_not_starve_a_partition_of_another_with_a_paused_lane() {
    let (hog, _kept) = hog(100_000).await;
    let budget = hog.budget.clone();
    let bench = Bench::new(HandlerOptions { policy: pausing(), budget, ..options() });
    let inbox = bench.assign(0);
    deliver(&inbox, [event(0, "bad", "reject")]);
    bench.until("it was tried", || bench.seen().len() == 1).await;
    for offset in 1..1_000 {
        bench.until("room", || inbox.has_room()).await;
        deliver(&inbox, [event(offset, "good", "done")]);
    }
    bench.until("the other key got on", || bench.engine.tally().totals().done == 999).await;
    assert_eq!(status(&inbox).await.lanes.paused, 1);
    assert!(hog.budget.held_bytes() > 100_000, "the host is full all the time");
}

#[tokio::test(start_paused = true)]
async fn above_its_floor_a_partition_gets_nothing_from_a_full_host_and_is_woken_below_it() {
    let (hog, _kept) = hog(100_000).await;
    let bench = Bench::new(HandlerOptions { budget: hog.budget.clone(), slots: 1, ..options() });
    let inbox = bench.assign(0);
    for offset in 0..FLOOR_RECORDS {
        assert!(inbox.has_room(), "{offset} records are below the floor");
        deliver(&inbox, [event(offset, "one", "wait")]);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(!inbox.has_room(), "the floor is used up");
    let told = status(&inbox).await;
    assert!(!told.admits && told.why_not.as_ref().unwrap().contains("the host holds"), "{told:?}");
    let wakes = bench.wakes.load(Ordering::SeqCst);
    bench.runner.gate.add_permits(1);
    bench.until_watermark(&inbox, 1).await;
    assert!(inbox.has_room(), "the host is as full as before");
    assert!(bench.wakes.load(Ordering::SeqCst) > wakes, "the poller was not woken");
}

#[test]
fn an_inbox_filled_by_a_paused_key_is_told_of() {
    with_metrics(|shown| async move {
        let (log, _keeping) = Log::keep(tracing::Level::ERROR);
        let inbox = InboxLimits { records: 20, bytes: usize::MAX };
        let bench = Bench::new(HandlerOptions { policy: pausing(), inbox, ..options() });
        let inbox = bench.assign(0);
        let stopped = || {
            shown
                .render()
                .contains("keylane_admission_stopped{handler=\"bench\",topic=\"tasks\",partition=\"0\"} 1")
        };
        deliver(&inbox, [event(0, "alone", "reject")]);
        deliver(&inbox, (1..19).map(|offset| event(offset, "culprit", "reject")));
        a_while().await;
        assert!(status(&inbox).await.admits && !stopped(), "there is room for one more");
        deliver(&inbox, [event(19, "culprit", "done")]);
        a_while().await;
        assert!(!inbox.has_room());
        let told = status(&inbox).await;
        let why_not = told.why_not.unwrap();
        assert!(!told.admits);
        for words in ["20 records", "19 records", "offset 1 ", "culprit"] {
            assert!(why_not.contains(words), "{words} in {why_not}");
        }
        assert!(stopped(), "{}", shown.render());
        a_while().await;
        let said = log.lines("takes in nothing more");
        assert_eq!(said.len(), 1, "said once: {said:?}");
        assert!(said[0].contains("culprit"), "{said:?}");
        for offset in 1..19 {
            inbox.control().skip(offset).await.unwrap();
            a_while().await;
        }
        assert!(inbox.has_room() && status(&inbox).await.admits && !stopped());
    });
}

/// A handler that is slower than its topic has a full inbox all day, and a retry now and then.
#[test]
fn an_inbox_that_is_full_and_gets_on_is_no_alarm() {
    with_metrics(|shown| async move {
        let (log, _keeping) = Log::keep(tracing::Level::ERROR);
        let limits = InboxLimits { records: 20, bytes: usize::MAX };
        let bench = Bench::new(HandlerOptions { inbox: limits, ..options() });
        let inbox = bench.assign(0);
        deliver(&inbox, [event(0, "one", "wait")]);
        deliver(&inbox, (1..20).map(|offset| event(offset, "one", "retry-once")));
        a_while().await;
        let told = status(&inbox).await;
        assert!(!told.admits && told.why_not.unwrap().contains("20 records"), "true, and told to who asks");
        bench.runner.gate.add_permits(1);
        let mut next = 20;
        while next < 60 {
            bench.until("room", || inbox.has_room()).await;
            deliver(&inbox, [event(next, "one", "retry-once")]);
            next += 1;
        }
        bench.until_watermark(&inbox, next).await;
        assert_eq!(log.lines("takes in nothing more"), Vec::<String>::new());
        let counted = shown.render();
        let never = "keylane_admission_stops_total{handler=\"bench\",topic=\"tasks\",partition=\"0\"} 0";
        assert!(counted.contains(never), "{counted}");
    });
}

/// What lies above the cut would be done again by the next owner, so it may not grow, however short the
/// payload is: here every other event waits, which is too much to encode and deflates to nothing.
#[tokio::test(start_paused = true)]
async fn a_partition_whose_payload_was_cut_takes_in_nothing_and_says_so() {
    const EVENTS: i64 = 70_000;
    let policy = Policy { backoff_ms: 60_000, backoff_max_ms: 60_000, ..options().policy };
    let inbox = InboxLimits { records: usize::MAX, bytes: usize::MAX };
    let bench = Bench::new(HandlerOptions { policy, inbox, ..options() });
    let inbox = bench.assign(0);
    let value = |offset| if offset % 2 == 0 { "retry-once" } else { "done" };
    deliver(&inbox, (0..EVENTS).map(|offset| event(offset, &offset.to_string(), value(offset))));
    bench.until("a cut payload", || inbox.progress().truncated).await;
    let told = status(&inbox).await;
    assert!(told.gap_units < PAYLOAD_UNITS_HIGH, "{} units: the test shows nothing", told.gap_units);
    assert!(!told.admits);
    assert!(told.why_not.unwrap().contains("does not tell of all that has ended"));
    deliver(&inbox, [event(EVENTS, "next", "done")]);
    a_while().await;
    assert_eq!(status(&inbox).await.next, EVENTS, "nothing new was taken in");
    bench.until_watermark(&inbox, EVENTS + 1).await;
    assert_eq!(status(&inbox).await.why_not, None);
}
