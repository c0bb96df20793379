//! Partitions that are given up or lost: what ran is reaped, and nothing is said to have ended that has
//! not. Loss bugs that others had are re-enacted by name.

use std::sync::atomic::Ordering;
use std::time::Duration;

use keylane_engine::{
    Floor, GapSet, HandlerOptions, HostBudget, InboxLimits, Ownership, Policy, RestoredNote, restore,
};

use crate::bench::{Bench, TOPIC, a_while, deliver, event, in_partition, options, status};
use crate::shown::with_metrics;

#[tokio::test(start_paused = true)]
async fn draining_finishes_what_runs_and_begins_nothing() {
    let bench = Bench::new(HandlerOptions { slots: 1, ..options() });
    let inbox = bench.assign(0);
    deliver(&inbox, [event(0, "a", "wait")]);
    bench.until("a run", || bench.seen().len() == 1).await;
    deliver(&inbox, [event(1, "b", "done")]);
    inbox.drain();
    bench.until("draining", || inbox.ownership() == Ownership::Draining).await;
    bench.runner.gate.add_permits(1);
    bench.until("drained", || inbox.ownership() == Ownership::Drained).await;
    assert_eq!(bench.seen(), [(0, 1)]);
    assert_eq!(inbox.progress().offset, 1);
}

#[tokio::test(start_paused = true)]
async fn draining_stops_a_run_between_its_events() {
    let policy = Policy { slice_ms: 60_000, ..options().policy };
    let bench = Bench::new(HandlerOptions { slots: 1, policy, ..options() });
    let inbox = bench.assign(0);
    deliver(&inbox, (0..20).map(|offset| event(offset, "one", "wait")));
    bench.until("a run", || bench.seen().len() == 1).await;
    bench.runner.gate.add_permits(1);
    bench.until("its second event", || bench.seen().len() == 2).await;
    inbox.drain();
    bench.runner.gate.add_permits(20);
    bench.until("drained", || inbox.ownership() == Ownership::Drained).await;
    assert_eq!(bench.seen(), [(0, 1), (1, 1)], "eighteen events of the run were not begun");
    assert_eq!(inbox.progress().offset, 2);
}

/// Others committed the highest offset they had seen when a partition was revoked.
#[tokio::test(start_paused = true)]
async fn a_commit_of_the_highest_seen_after_a_revoke_cannot_happen() {
    let policy = Policy { backoff_ms: 3_600_000, backoff_max_ms: 3_600_000, ..options().policy };
    let bench = Bench::new(HandlerOptions { policy, ..options() });
    let inbox = bench.assign(0);
    let unfinished = [0, 4];
    let value = |offset| if unfinished.contains(&offset) { "retry" } else { "done" };
    deliver(&inbox, (0..10).map(|offset| event(offset, &offset.to_string(), value(offset))));
    bench.until("all tried", || bench.seen().len() == 10).await;
    deliver(&inbox, [event(10, "late", "wait"), event(11, "late", "done")]);
    bench.until("the last one", || bench.running() == 1).await;
    inbox.drain();
    bench.until("draining", || inbox.ownership() == Ownership::Draining).await;
    let progress = inbox.progress();
    let told = restore(progress.offset, progress.payload.as_bytes(), TOPIC);
    assert_eq!(told.note, RestoredNote::Ours);
    assert_eq!(told.gap, GapSet { base: 0, ended: vec![1..4, 5..10] }, "neither 0, 4 nor what runs or waits");
    bench.runner.gate.add_permits(1);
    bench.until("drained", || inbox.ownership() == Ownership::Drained).await;
    let progress = inbox.progress();
    let told = restore(progress.offset, progress.payload.as_bytes(), TOPIC).gap;
    assert_eq!(told, GapSet { base: 0, ended: vec![1..4, 5..11] });
}

#[tokio::test(start_paused = true)]
async fn a_lost_partition_drops_its_runs() {
    let bench = Bench::new(HandlerOptions { slots: 1, ..options() });
    let inbox = bench.assign(0);
    deliver(&inbox, [event(0, "a", "wait"), event(1, "b", "done")]);
    bench.until("a run", || bench.running() == 1).await;
    let control = inbox.control();
    drop(inbox);
    bench.until("the run is gone", || bench.running() == 0).await;
    a_while().await;
    assert_eq!(bench.seen(), [(0, 1)], "nothing else was begun");
    assert_eq!(control.status().await, Err(keylane_engine::ControlError::Gone));
}

/// A fault of the host in one run must not give the partition away while another run of it is out.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_partition_whose_owner_fell_is_gone_only_when_its_runs_are() {
    let bench = Bench::new(options());
    let inbox = bench.assign(0);
    deliver(&inbox, [event(0, "a", "block"), event(1, "b", "panic-beside")]);
    bench.until("faulted", || inbox.ownership() == Ownership::Faulted).await;
    let parting = inbox.part();
    a_while().await;
    let gone_before = parting.is_gone();
    bench.runner.unblock.open();
    assert!(!gone_before, "a run of it was out");
    bench.until("gone", || parting.is_gone()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_partition_whose_owner_fell_is_gone_only_when_its_letters_are() {
    let bench = Bench::new(options());
    let inbox = bench.assign(0);
    deliver(&inbox, [event(0, "blocking", "reject"), event(1, "b", "panic-beside")]);
    bench.until("a letter is on its way", || bench.letters.blocked.load(Ordering::SeqCst)).await;
    bench.runner.blocks.add_permits(1);
    bench.until("faulted", || inbox.ownership() == Ownership::Faulted).await;
    let parting = inbox.part();
    a_while().await;
    let gone_before = parting.is_gone();
    bench.letters.unblock.open();
    assert!(!gone_before, "a letter of it was on its way");
    bench.until("gone", || parting.is_gone()).await;
}

/// A run that does not yield is waited for. Another host has the partition meanwhile, and its letters.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_lost_partition_buries_nothing_while_a_run_of_it_is_still_out() {
    let bench = Bench::new(options());
    bench.letters.refuse.store(1, Ordering::SeqCst);
    let inbox = bench.assign(0);
    deliver(&inbox, [event(0, "a", "block"), event(1, "b", "reject")]);
    let refused = || bench.letters.refuse.load(Ordering::SeqCst) == 0;
    bench.until("a run is blocked, and a letter refused", || bench.running() == 1 && refused()).await;
    let parting = inbox.part();
    // The letter was due again long ago.
    a_while().await;
    let buried = bench.letters.kept.lock().unwrap().len();
    bench.runner.unblock.open();
    assert_eq!(buried, 0);
    bench.until("gone", || parting.is_gone()).await;
}

/// Others kept counters outside the assignment, and a revoke left them where they were: a host that had
/// lost its partitions believed itself full for ever.
#[test]
fn counters_do_not_leak_on_a_revoke() {
    with_metrics(|shown| async move {
        fill_and_revoke().await;
        let rendered = shown.render();
        let gauges = rendered
            .split("# TYPE ")
            .skip(1)
            .filter(|family| family.lines().next().unwrap().ends_with(" gauge"));
        let lines = gauges.flat_map(|family| family.lines().skip(1)).filter(|line| !line.is_empty());
        let left: Vec<&str> = lines.filter(|line| !line.ends_with(" 0")).collect();
        let limits = ["_max", "_high", "keylane_host_floor_", "keylane_slots{", "keylane_slots_open{"];
        let other = left.iter().find(|line| !limits.iter().any(|limit| line.contains(limit)));
        assert_eq!(other, None, "only the limits themselves are left");
        assert!(left.contains(&"keylane_slots{handler=\"bench\"} 2"), "{left:?}");
        assert!(left.contains(&"keylane_host_buffered_bytes_max 1500"), "{left:?}");
    });
}

async fn fill_and_revoke() {
    let others = options();
    let budget = HostBudget::with_floor(1_500, Floor { records: 1, bytes: 1 });
    let bench = Bench::new(HandlerOptions { slots: 2, budget: budget.clone(), ..others });
    let (full, hungry) = (bench.assign(0), bench.assign(1));
    deliver(&hungry, [in_partition(1, event(0, "a", "wait"))]);
    deliver(&full, (0..9).map(|offset| event(offset, &offset.to_string(), "wait")));
    bench.until("both slots in use", || bench.running() == 2).await;
    assert!(!hungry.has_room() && !full.has_room(), "the host is full");
    assert_eq!(budget.hungry(), 2);
    assert!(budget.held_bytes() > 1_500);
    drop(full);
    bench.until("its bytes are back", || budget.held_bytes() < 1_500).await;
    assert!(hungry.has_room());
    drop(hungry);
    bench.until("all bytes are back", || budget.held_bytes() == 0).await;
    assert_eq!((budget.hungry(), bench.running()), (0, 0));
    let again = bench.assign(2);
    deliver(&again, (0..3).map(|offset| in_partition(2, event(offset, &offset.to_string(), "wait"))));
    bench.until("both slots are free again", || bench.running() == 2).await;
    bench.runner.gate.add_permits(3);
    bench.until_watermark(&again, 3).await;
    drop(again);
    a_while().await;
}

#[tokio::test(start_paused = true)]
async fn a_partition_gets_its_floor_where_the_host_is_full() {
    let budget = HostBudget::new(1_000);
    let bench = Bench::new(HandlerOptions { slots: 1, budget: budget.clone(), ..options() });
    let (hot, late) = (bench.assign(0), bench.assign(1));
    deliver(&hot, (0..300).map(|offset| event(offset, "hot", "wait")));
    bench.until("a run", || bench.running() == 1).await;
    assert!(!hot.has_room(), "the host is full");
    assert!(late.has_room(), "an inbox below its floor may always take a batch");
    deliver(&late, [in_partition(1, event(0, "late", "done"))]);
    assert!(late.has_room(), "and more than one");
    deliver(&late, (1..256).map(|offset| in_partition(1, event(offset, "late", "done"))));
    assert!(!late.has_room(), "until its floor is used up");
    let wakes = bench.wakes.load(Ordering::SeqCst);
    bench.runner.gate.add_permits(300);
    bench.until_watermark(&hot, 300).await;
    bench.until_watermark(&late, 256).await;
    assert!(bench.wakes.load(Ordering::SeqCst) > wakes, "who was refused is woken");
    assert!(hot.has_room() && late.has_room());
}

#[tokio::test(start_paused = true)]
async fn a_full_inbox_says_so_and_wakes_the_poller_when_it_has_room() {
    let inbox = InboxLimits { records: 2, bytes: usize::MAX };
    let bench = Bench::new(HandlerOptions { slots: 1, inbox, ..options() });
    let inbox = bench.assign(0);
    deliver(&inbox, [event(0, "a", "wait"), event(1, "b", "wait")]);
    assert!(!inbox.has_room());
    bench.until("a run", || !bench.seen().is_empty()).await;
    assert_eq!(bench.wakes.load(Ordering::SeqCst), 0);
    bench.runner.gate.add_permits(2);
    bench.until_watermark(&inbox, 2).await;
    assert!(inbox.has_room());
    assert!(bench.wakes.load(Ordering::SeqCst) >= 1, "the poller was not woken");
}

#[tokio::test(start_paused = true)]
async fn a_drained_partition_still_answers() {
    let bench = Bench::new(options());
    let inbox = bench.assign(0);
    deliver(&inbox, [event(0, "a", "done")]);
    bench.until_watermark(&inbox, 1).await;
    inbox.drain();
    bench.until("drained", || inbox.ownership() == Ownership::Drained).await;
    let told = tokio::time::timeout(Duration::from_secs(30), status(&inbox)).await.unwrap();
    assert_eq!((told.phase.as_str(), told.watermark, told.admits), ("drained", 1, false));
}
