//! A handler in cuts: what an owner answers when it is asked what there is to commit, and what it holds.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use keylane_engine::{
    CutAnswer, Event, Floor, HandlerOptions, HostBudget, Inbox, LaneRule, Ownership, Policy, RestoredNote,
    Snapshot, Then, restore,
};

use crate::bench::{Bench, TOPIC, a_while, coin, deliver, emitted, event, options, status};

async fn cut(inbox: &Inbox) -> Snapshot {
    let mut question = inbox.ask_cut().unwrap();
    loop {
        match question.answer() {
            CutAnswer::Pending => tokio::time::sleep(Duration::from_millis(1)).await,
            CutAnswer::Made(snapshot) => return *snapshot,
            CutAnswer::Gone => panic!("the owner is gone"),
        }
    }
}

/// The records of a snapshot, as text.
fn records(snapshot: &Snapshot) -> Vec<String> {
    let all = snapshot.endings.iter().flat_map(|ending| ending.records.iter());
    all.map(|record| String::from_utf8(record.value.as_ref().unwrap().to_vec()).unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn records_and_progress_are_of_one_moment() {
    let bench = Bench::in_cuts(options());
    let inbox = bench.assign(0);
    deliver(&inbox, [event(0, "a", "wait"), event(1, "b", "done"), event(2, "b", "done")]);
    a_while().await;
    assert!(inbox.is_stirred());
    let first = cut(&inbox).await;
    assert_eq!((first.progress.offset, records(&first)), (0, vec!["1 done".to_owned(), "2 done".to_owned()]));
    let told = restore(0, first.progress.payload.as_bytes(), TOPIC);
    assert!(told.gap.ended.iter().eq([&(1..3)]), "{:?}", told.gap.ended);
    assert_eq!(told.note, RestoredNote::Ours);
    assert!(!inbox.is_stirred(), "all is told");
    bench.runner.gate.add_permits(1);
    bench.until_watermark(&inbox, 3).await;
    let second = cut(&inbox).await;
    assert_eq!(second.endings.len(), 3, "the first was not committed, as far as the owner knows");
    inbox.cut_committed(second.number);
    let third = cut(&inbox).await;
    assert_eq!((third.progress.offset, third.endings.len()), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_is_committed_in_its_place() {
    let bench = Bench::in_cuts(options());
    let inbox = bench.assign(0);
    deliver(&inbox, [event(0, "a", "done"), event(1, "a", "reject"), event(2, "a", "done")]);
    bench.until_watermark(&inbox, 3).await;
    assert_eq!(records(&cut(&inbox).await), ["0 done", "1 reject", "2 done"]);
    assert_eq!(bench.letters.kept.lock().unwrap().len(), 0, "nothing goes past the cut");
    assert_eq!(bench.engine.tally().totals().dead_lettered, 1);
}

#[tokio::test(start_paused = true)]
async fn what_the_broker_refused_has_failed_and_is_not_run() {
    let mut bench = Bench::in_cuts(options());
    bench.cuts = Some(BTreeMap::from([(1, "larger than its topic takes".to_owned())]));
    let inbox = bench.assign(0);
    deliver(&inbox, [event(0, "a", "done"), event(1, "a", "done"), event(2, "a", "done")]);
    bench.until_watermark(&inbox, 3).await;
    assert_eq!(bench.seen(), [(0, 1), (2, 1)]);
    assert_eq!(records(&cut(&inbox).await), ["0 done", "1 undeliverable", "2 done"]);
}

/// Where slots are few a run has several events of a lane, and the refused one need not be the first.
#[tokio::test(start_paused = true)]
async fn what_the_broker_refused_waits_for_those_before_it_in_its_run() {
    for lanes in [LaneRule::Key, LaneRule::Partition] {
        let mut bench = Bench::in_cuts(HandlerOptions { slots: 1, lanes, ..options() });
        let reason = "larger than its topic takes".to_owned();
        bench.cuts = Some(BTreeMap::from([1, 3, 6].map(|offset| (offset, reason.clone()))));
        let inbox = bench.assign(0);
        let keys = ["a", "a", "a", "b", "b", "c", "c", "c"];
        deliver(&inbox, (0..).zip(keys).map(|(offset, key)| event(offset, key, "done")));
        bench
            .until("all have ended, or nothing goes on", || {
                inbox.progress().offset == 8 || inbox.ownership() != Ownership::Running
            })
            .await;
        let runs = bench.runner.runs.lock().unwrap().clone();
        assert!(runs.iter().any(|(events, ..)| *events > 1), "{runs:?}");
        let mut seen = bench.seen();
        seen.sort_unstable();
        assert_eq!(seen, [0, 2, 4, 5, 7].map(|offset| (offset, 1)));
        let told = records(&cut(&inbox).await);
        let of_lane = |offsets: &[i64]| -> Vec<&str> {
            let is_of =
                |record: &&str| offsets.iter().any(|offset| record.starts_with(&format!("{offset} ")));
            told.iter().map(String::as_str).filter(is_of).collect()
        };
        assert_eq!(of_lane(&[0, 1, 2]), ["0 done", "1 undeliverable", "2 done"]);
        assert_eq!(of_lane(&[3, 4]), ["3 undeliverable", "4 done"]);
        assert_eq!(of_lane(&[5, 6, 7]), ["5 done", "6 undeliverable", "7 done"]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_broker_refused_follows_the_policy_and_an_operator_has_it_run() {
    let policy = Policy { then: Then::PauseLane, ..options().policy };
    let mut bench = Bench::in_cuts(HandlerOptions { policy, ..options() });
    bench.cuts = Some(BTreeMap::from([(0, "larger than its topic takes".to_owned())]));
    let inbox = bench.assign(0);
    deliver(&inbox, [event(0, "a", "done"), event(1, "a", "done")]);
    while status(&inbox).await.lanes.paused == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(bench.seen().is_empty());
    inbox.control().resume(Some(0)).await.unwrap();
    bench.until_watermark(&inbox, 2).await;
    assert_eq!(bench.seen(), [(0, 1), (1, 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_full_basket_begins_no_run_until_a_cut_is_committed() {
    let bench = Bench::in_cuts(HandlerOptions {
        inbox: keylane_engine::InboxLimits { records: 100_000, bytes: usize::MAX },
        ..options()
    });
    let inbox = bench.assign(0);
    let runs_max = 4 * options().policy.run_events_max;
    deliver(&inbox, (0..10_000).map(|offset| event(offset, &offset.to_string(), "done")));
    bench.until_watermark(&inbox, 10_000).await;
    deliver(&inbox, [event(10_000, "late", "done")]);
    a_while().await;
    assert!(bench.seen().len() <= 10_000 + runs_max && inbox.progress().offset == 10_000);
    let told = status(&inbox).await.why_not.unwrap();
    assert!(told.contains("10000 records") && told.contains("transaction"), "{told}");
    let snapshot = cut(&inbox).await;
    inbox.cut_committed(snapshot.number);
    bench.until_watermark(&inbox, 10_001).await;
}

/// A host whose budget is used up as soon as it holds anything: what waits for its cut keeps a floor.
fn in_a_full_host(slots: usize) -> Bench {
    let budget = HostBudget::with_floor(1, Floor { records: 1_000, bytes: 1_000 });
    let policy = Policy { run_events_max: 1, ..options().policy };
    Bench::in_cuts(HandlerOptions { slots, budget, policy, ..options() })
}

#[tokio::test(start_paused = true)]
async fn a_full_host_begins_no_run_beside_records_that_wait_until_they_are_committed() {
    let bench = in_a_full_host(1);
    let inbox = bench.assign(0);
    let events: Vec<Event> = (0..40).map(|offset| event(offset, &offset.to_string(), "done")).collect();
    let weight = |from: usize| events.iter().skip(from).map(Event::weight_bytes).sum::<usize>();
    deliver(&inbox, events.clone());
    a_while().await;
    let told: usize = (0..10).map(|offset| emitted(offset, "done").weight_bytes()).sum();
    assert_eq!((bench.seen().len(), bench.budget.held_bytes()), (10, weight(10) + told));
    let why = status(&inbox).await.why_not.unwrap();
    assert!(why.contains("10 records") && why.contains("the host holds"), "{why}");
    let mut snapshot = cut(&inbox).await;
    while snapshot.progress.offset < 40 {
        inbox.cut_committed(snapshot.number);
        a_while().await;
        snapshot = cut(&inbox).await;
        assert!(snapshot.endings.len() <= 10, "{}", snapshot.endings.len());
    }
    assert!(bench.budget.held_bytes() > 0);
    inbox.cut_committed(snapshot.number);
    bench.until("all bytes are back", || bench.budget.held_bytes() == 0).await;
    deliver(&inbox, [event(40, "a", "done")]);
    bench.until_watermark(&inbox, 41).await;
    assert!(bench.budget.held_bytes() > 0, "it waits for its cut");
    drop(inbox);
    bench.until("what was not committed is let go", || bench.budget.held_bytes() == 0).await;
}

/// What is condemned ends without a run: were it taken in all the same, its letters would have no bound.
#[tokio::test(start_paused = true)]
async fn a_full_basket_takes_in_nothing_more() {
    let bench = in_a_full_host(1);
    let inbox = bench.assign(0);
    let untyped = |first: i64| {
        (first..first + 10).map(|offset| Event { headers: Vec::new(), ..event(offset, "a", "b") })
    };
    deliver(&inbox, untyped(0));
    bench.until_watermark(&inbox, 10).await;
    deliver(&inbox, untyped(10));
    a_while().await;
    let snapshot = cut(&inbox).await;
    assert_eq!((inbox.progress().offset, snapshot.endings.len()), (10, 10));
    inbox.cut_committed(snapshot.number);
    bench.until_watermark(&inbox, 20).await;
}

#[tokio::test(start_paused = true)]
async fn records_that_the_progress_cannot_tell_of_wait() {
    let bench = Bench::in_cuts(HandlerOptions {
        policy: Policy { gap_max: 1_000_000, ..options().policy },
        inbox: keylane_engine::InboxLimits { records: 100_000, bytes: usize::MAX },
        slots: 100_000,
        ..options()
    });
    let inbox = bench.assign(0);
    // All at once, so that admission has no say: far more coin tosses than a payload can tell of.
    const LAST: i64 = 60_000;
    let toss = |offset: i64| if offset > 0 && coin(offset) { "done" } else { "wait" };
    deliver(&inbox, (0..LAST).map(|offset| event(offset, &offset.to_string(), toss(offset))));
    bench.until("all are seen", || bench.seen().len() as i64 == LAST || !inbox.is_stirred()).await;
    a_while().await;
    let snapshot = cut(&inbox).await;
    assert!(snapshot.progress.truncated);
    let told = restore(0, snapshot.progress.payload.as_bytes(), TOPIC).gap;
    let told: Vec<i64> = told.ended.into_iter().flatten().collect();
    let sent: Vec<i64> = snapshot.endings.iter().map(|ending| ending.offset).collect();
    let (count, all) = (sent.len(), sent.iter().all(|offset| told.contains(offset)));
    assert!(all && count == told.len() && count > 1_000, "{count} of {}", told.len());
    assert_eq!(snapshot.endings[0].records[0], emitted(sent[0], "done"));
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_has_drained_still_answers() {
    let bench = Bench::in_cuts(options());
    let inbox = bench.assign(0);
    deliver(&inbox, [event(0, "a", "done"), event(1, "b", "wait")]);
    a_while().await;
    inbox.drain();
    bench.runner.gate.add_permits(1);
    bench.until("drained", || inbox.ownership().is_final()).await;
    assert_eq!(cut(&inbox).await.progress.offset, 2);
    assert!(bench.wakes.load(Ordering::SeqCst) > 0);
    let mut question = inbox.ask_cut().unwrap();
    let parting = inbox.part();
    bench.until("gone", || parting.is_gone()).await;
    assert!(matches!(question.answer(), CutAnswer::Gone | CutAnswer::Made(_)));
}

#[tokio::test]
#[should_panic(expected = "an intake cuts for whom is in cuts")]
async fn a_handler_in_cuts_owns_nothing_of_an_intake_that_does_not_cut() {
    let mut bench = Bench::in_cuts(options());
    bench.cuts = None;
    bench.assign(0);
}
