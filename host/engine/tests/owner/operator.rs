//! What an operator sees and does: paused lanes, halted partitions, stuck runs.

use std::time::Duration;

use keylane_engine::{
    Blocking, ControlError, FailureClass, Flood, HandlerOptions, Inbox, LaneStatus, Ownership, Policy, Then,
};

use crate::bench::{Bench, a_while, deliver, event, options, status};

fn bench_with(then: Then, flood: Option<Flood>) -> Bench {
    let policy = Policy { attempts_max: 2, backoff_ms: 5, then, flood, ..Policy::default() };
    Bench::new(HandlerOptions { policy, ..options() })
}

async fn until_paused(bench: &Bench, inbox: &Inbox, lanes: usize) {
    for _ in 0..10_000 {
        if status(inbox).await.lanes.paused == lanes {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("never {lanes} paused lanes; seen {:?}", bench.seen());
}

#[tokio::test(start_paused = true)]
async fn a_paused_lane_waits_until_it_is_resumed() {
    let bench = bench_with(Then::PauseLane, None);
    let inbox = bench.assign(0);
    deliver(&inbox, [event(0, "bad", "retry"), event(1, "bad", "done"), event(2, "good", "done")]);
    until_paused(&bench, &inbox, 1).await;
    a_while().await;
    assert_eq!(bench.seen().len(), 3, "two attempts, and the other key's event");
    assert_eq!(inbox.ownership(), Ownership::Running, "the partition goes on");
    inbox.control().resume(Some(0)).await.unwrap();
    bench.until("fresh attempts", || bench.seen().len() == 5).await;
    assert_eq!(bench.seen()[3..], [(0, 1), (0, 2)], "counted anew");
    until_paused(&bench, &inbox, 1).await;
    inbox.control().resume(None).await.unwrap();
    bench.until("fresh attempts again", || bench.seen().len() == 7).await;
    assert_eq!(bench.letters.kept.lock().unwrap().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_skipped_head_ends_and_its_lane_goes_on() {
    let bench = bench_with(Then::PauseLane, None);
    let inbox = bench.assign(0);
    deliver(&inbox, [event(0, "bad", "retry"), event(1, "bad", "done")]);
    until_paused(&bench, &inbox, 1).await;
    let control = inbox.control();
    assert_eq!(control.skip(1).await, Err(ControlError::NotWaiting { offset: 1 }), "not at the head");
    assert_eq!(control.resume(Some(7)).await, Err(ControlError::NotWaiting { offset: 7 }));
    control.skip(0).await.unwrap();
    bench.until_watermark(&inbox, 2).await;
    assert_eq!(bench.seen(), [(0, 1), (0, 2), (1, 1)]);
    assert_eq!(bench.engine.tally().totals().skipped, 1);
}

/// Its final progress may be committed already: what is granted now would be heard of by nobody.
#[tokio::test(start_paused = true)]
async fn a_drained_partition_refuses_a_wish() {
    let bench = bench_with(Then::PauseLane, None);
    let inbox = bench.assign(0);
    deliver(&inbox, [event(0, "bad", "reject")]);
    until_paused(&bench, &inbox, 1).await;
    inbox.drain();
    bench.until("drained", || inbox.ownership() == Ownership::Drained).await;
    let told = inbox.progress();
    assert_eq!(inbox.control().skip(0).await, Err(ControlError::Gone));
    assert_eq!(inbox.control().resume(None).await, Err(ControlError::Gone));
    a_while().await;
    assert_eq!(inbox.progress(), told, "a final progress does not change");
}

#[tokio::test(start_paused = true)]
async fn a_zombie_refuses_a_wish() {
    let term = Duration::from_secs(45);
    let policy = Policy { then: Then::PauseLane, ..options().policy };
    let bench = Bench::with_term(HandlerOptions { policy, ..options() }, term);
    let inbox = bench.assign(0);
    deliver(&inbox, [event(0, "bad", "reject")]);
    until_paused(&bench, &inbox, 1).await;
    bench.clock.sleep(term);
    assert_eq!(inbox.control().skip(0).await, Err(ControlError::Gone));
    bench.until("expired", || inbox.ownership() == Ownership::Expired).await;
    assert_eq!(bench.engine.tally().totals().skipped, 0);
}

#[tokio::test(start_paused = true)]
async fn a_halted_partition_begins_nothing_until_it_is_resumed() {
    let bench = bench_with(Then::Stop, None);
    let inbox = bench.assign(0);
    deliver(&inbox, [event(0, "bad", "reject")]);
    bench.until("halted", || matches!(inbox.ownership(), Ownership::Halted { .. })).await;
    let Ownership::Halted { reason } = inbox.ownership() else { panic!("not halted") };
    for word in ["offset 0", "key bad", "reject", "on purpose"] {
        assert!(reason.contains(word), "{reason}");
    }
    deliver(&inbox, [event(1, "good", "done")]);
    a_while().await;
    assert_eq!(bench.seen(), [(0, 1)]);
    let told = status(&inbox).await;
    assert_eq!((told.phase.as_str(), told.halted.as_deref()), ("halted", Some(&*reason)));
    assert!(!told.admits && told.why_not.is_some());
    assert_eq!(inbox.progress().offset, 0);
    inbox.control().skip(0).await.unwrap();
    bench.until_watermark(&inbox, 2).await;
    assert_eq!(inbox.ownership(), Ownership::Running);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_bad_endings_halts_the_partition_before_the_topic_is_emptied() {
    let bench = bench_with(Then::DeadLetter, Some(Flood { window_events: 10, share_percent: 50 }));
    let inbox = bench.assign(0);
    deliver(&inbox, (0..500).map(|offset| event(offset, &offset.to_string(), "reject")));
    bench.until("halted", || matches!(inbox.ownership(), Ownership::Halted { .. })).await;
    a_while().await;
    let letters = bench.letters.kept.lock().unwrap().len();
    assert!(letters <= 10, "{letters} dead letters");
    inbox.drain();
    bench.until("drained", || inbox.ownership() == Ownership::Drained).await;
}

#[tokio::test(start_paused = true)]
async fn the_status_tells_where_the_partition_stands() {
    let policy = Policy {
        backoff_ms: 60_000,
        then: Then::PauseLane,
        attempts_max: 2,
        flood: None,
        ..Policy::default()
    };
    let bench = Bench::new(HandlerOptions { policy, stuck_after: Duration::from_millis(50), ..options() });
    let inbox = bench.assign(0);
    let events = [
        event(0, "parked", "retry"),
        event(1, "parked", "done"),
        event(2, "rejected", "reject"),
        event(3, "stuck", "wait"),
        event(4, "fine", "done"),
    ];
    deliver(&inbox, events);
    bench.until("all tried", || bench.seen().len() == 4).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let told = status(&inbox).await;
    assert_eq!((told.phase.as_str(), told.watermark, told.next, told.gap_records), ("running", 0, 5, 5));
    assert_eq!(told.blocking, Some(Blocking { offset: 0, key: Some("parked".to_owned()) }));
    assert_eq!((told.buffered_records, told.admits, told.why_not.as_deref()), (4, true, None));
    assert_eq!((told.lanes.parked, told.lanes.paused, told.lanes.running, told.lanes.runs), (1, 1, 1, 1));
    assert!(told.oldest_run_ms.unwrap() >= 3_000);
    assert_eq!(told.waiting_more, 0);
    let [parked, paused] = &told.waiting[..] else { panic!("{:?}", told.waiting) };
    let next_try_in_ms = parked.next_try_in_ms.unwrap();
    assert!((1..=57_000).contains(&next_try_in_ms), "{next_try_in_ms}");
    let expected = LaneStatus {
        offset: 0,
        key: Some("parked".to_owned()),
        state: "parked".to_owned(),
        attempts: 1,
        next_try_in_ms: Some(next_try_in_ms),
        class: Some(FailureClass::Retry.name().to_owned()),
        error: Some("on purpose".to_owned()),
        queued: 2,
    };
    assert_eq!(*parked, expected);
    assert_eq!((paused.offset, paused.state.as_str(), paused.next_try_in_ms), (2, "paused", None));
    let json = serde_json::to_string(&told).unwrap();
    assert_eq!(serde_json::from_str::<keylane_engine::PartitionStatus>(&json).unwrap(), told);
}

#[tokio::test(start_paused = true)]
async fn a_status_lists_only_so_many_waiting_lanes() {
    let bench = bench_with(Then::PauseLane, None);
    let inbox = bench.assign(0);
    deliver(&inbox, (0..80).map(|offset| event(offset, &offset.to_string(), "reject")));
    until_paused(&bench, &inbox, 80).await;
    let told = status(&inbox).await;
    assert_eq!((told.waiting.len(), told.waiting_more), (50, 30));
}
