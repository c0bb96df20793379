//! From one assignment to the next: what ended is not done again, what did not begins anew.

use std::sync::Arc;

use keylane_engine::{
    Delivery, GapSet, HandlerOptions, PAYLOAD_UNITS_HIGH, Policy, Restored, TopicId, restore,
};

use crate::bench::{Bench, TOPIC, coin, deliver, event, options};

/// What the next owner reads from the group's commit.
fn committed(inbox: &keylane_engine::Inbox) -> Restored {
    let progress = inbox.progress();
    restore(progress.offset, progress.payload.as_bytes(), TOPIC)
}

#[tokio::test(start_paused = true)]
async fn an_assignment_begins_with_the_progress_it_was_given() {
    let bench = Bench::new(options());
    let gap = GapSet { base: 7, ended: vec![9..12, 20..21] };
    let inbox = bench.assign_at(0, gap.clone());
    assert_eq!(committed(&inbox).gap, gap);
    assert_eq!(inbox.progress().offset, 7);
    assert_ne!(inbox.progress().token, bench.assign(0).progress().token);
}

#[tokio::test(start_paused = true)]
async fn events_that_had_ended_are_not_run_again() {
    let bench = Bench::new(HandlerOptions { slots: 8, ..options() });
    let first = bench.assign(0);
    let value = |offset| if offset == 0 || offset == 3 { "wait" } else { "done" };
    let events: Vec<_> = (0..6).map(|offset| event(offset, &offset.to_string(), value(offset))).collect();
    deliver(&first, events.clone());
    let ended = GapSet { base: 0, ended: vec![1..3, 4..6] };
    bench.until("a gap", || committed(&first).gap == ended).await;
    let restored = committed(&first).gap;
    drop(first);
    bench.until("reaped", || bench.running() == 0).await;
    bench.runner.seen.lock().unwrap().clear();
    bench.runner.gate.add_permits(2);

    let second = bench.assign_at(0, restored);
    deliver(&second, events);
    bench.until_watermark(&second, 6).await;
    let mut seen = bench.seen();
    seen.sort_unstable();
    assert_eq!(seen, [(0, 1), (3, 1)]);
    assert_eq!(bench.engine.tally().totals().before, 4);
    assert!(restore(6, second.progress().payload.as_bytes(), TOPIC).gap.ended.is_empty());
}

/// What lies above the newest arrival is known from the restored payload alone.
#[tokio::test(start_paused = true)]
async fn what_had_ended_before_and_is_not_read_again_yet_is_handed_on() {
    let bench = Bench::new(options());
    let inbox = bench.assign_at(0, GapSet { base: 6, ended: vec![9..12, 20..21] });
    deliver(&inbox, [event(6, "a", "done")]);
    bench.until_watermark(&inbox, 7).await;
    assert_eq!(committed(&inbox).gap, GapSet { base: 7, ended: vec![9..12, 20..21] });
    inbox.deliver(Delivery { events: vec![], next: 8 }).unwrap();
    bench.until_watermark(&inbox, 8).await;
    assert_eq!(committed(&inbox).gap, GapSet { base: 8, ended: vec![9..12, 20..21] });
}

#[tokio::test(start_paused = true)]
async fn attempts_start_anew_after_a_hand_over() {
    let policy = Policy {
        attempts_max: 3,
        backoff_ms: 10_000,
        backoff_max_ms: 10_000,
        flood: None,
        ..options().policy
    };
    let bench = Bench::new(HandlerOptions { policy, ..options() });
    let first = bench.assign(0);
    deliver(&first, [event(0, "a", "retry")]);
    bench.until("two attempts", || bench.seen().len() == 2).await;
    let restored = committed(&first).gap;
    drop(first);

    let second = bench.assign_at(0, restored);
    deliver(&second, [event(0, "a", "retry")]);
    bench.until_watermark(&second, 1).await;
    assert_eq!(bench.seen(), [(0, 1), (0, 2), (0, 1), (0, 2), (0, 3)]);
    assert_eq!(bench.letters.kept.lock().unwrap()[0].attempts, 3, "as many as the last owner made");
}

/// A payload that is nearly full was restored: the events that would make it shorter are still to be read.
#[tokio::test(start_paused = true)]
async fn a_restored_payload_that_is_nearly_full_does_not_stop_its_own_events() {
    let bench = Bench::new(options());
    // Two or three that have not ended, then one or two that have: nearly as random as can be.
    let mut at = 0;
    let ended = (0..8_500).map(|n| {
        let start = at + 2 + i64::from(coin(n));
        at = start + 1 + i64::from(coin(-n));
        start..at
    });
    let gap = GapSet { base: 0, ended: ended.collect() };
    let inbox = bench.assign_at(0, gap.clone());
    let units = inbox.progress().payload.len();
    assert!(units > PAYLOAD_UNITS_HIGH, "only {units} units: the test shows nothing");
    let last = gap.ended.last().unwrap().end;
    for first in (0..last + 100).step_by(250) {
        bench.until("room", || inbox.has_room()).await;
        deliver(&inbox, (first..first + 250).map(|offset| event(offset, &offset.to_string(), "done")));
    }
    let end = (last + 100 + 249) / 250 * 250;
    bench.until_watermark(&inbox, end).await;
}

#[tokio::test(start_paused = true)]
async fn the_topic_id_is_part_of_every_payload() {
    let bench = Bench::new(options());
    let inbox = bench.assign(0);
    let before: Arc<str> = inbox.progress().payload;
    deliver(&inbox, [event(0, "a", "done")]);
    bench.until_watermark(&inbox, 1).await;
    for payload in [before, inbox.progress().payload] {
        let other = TopicId::new([1; 16]);
        let restored = restore(1, payload.as_bytes(), other);
        assert_eq!(restored.gap, GapSet::at(0), "{:?}", restored.note);
    }
}
