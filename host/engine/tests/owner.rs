//! An owner and its inbox, driven as the intake drives them, with doubles for the other ports.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use keylane_engine::{
    Attempt, DeadLetter, DeadLetters, Event, FailureClass, Filter, HandlerEngine, HandlerOptions, Inbox,
    InboxLimits, LaneRule, Outcome, Owners, Ownership, Policy, PublishError, Runner, TopicPartition, Untyped,
};
use tokio::sync::Semaphore;

/// Answers by the event's value: `done`, `retry`, `reject`, `panic`, `wait` (for a permit of the gate).
struct Scripted {
    seen: Mutex<Vec<(i64, u32)>>,
    running: Mutex<BTreeMap<u64, i64>>,
    gate: Semaphore,
}

impl Scripted {
    async fn one(&self, attempt: &Attempt) -> Outcome {
        let overlapping = self.running.lock().unwrap().insert(attempt.lane, attempt.event.offset);
        assert_eq!(overlapping, None, "two events of a lane at once");
        self.seen.lock().unwrap().push((attempt.event.offset, attempt.number));
        let outcome = match attempt.event.value.as_deref() {
            Some(b"retry") => failed(FailureClass::Retry),
            Some(b"undeliverable") => failed(FailureClass::Undeliverable),
            Some(b"reject") => failed(FailureClass::Reject),
            Some(b"panic") => panic!("a fault of the host, on purpose"),
            Some(b"wait") => {
                self.gate.acquire().await.unwrap().forget();
                Outcome::Done
            }
            _ => Outcome::Done,
        };
        self.running.lock().unwrap().remove(&attempt.lane);
        outcome
    }
}

fn failed(class: FailureClass) -> Outcome {
    Outcome::Failed { class, reason: "on purpose".to_owned(), after_ms: None }
}

impl Runner for Scripted {
    async fn run(&self, attempts: Vec<Attempt>) -> Vec<Outcome> {
        let mut outcomes: Vec<Outcome> = Vec::new();
        let mut stopped = Vec::new();
        for attempt in &attempts {
            let outcome =
                if stopped.contains(&attempt.lane) { Outcome::NotStarted } else { self.one(attempt).await };
            if outcome != Outcome::Done {
                stopped.push(attempt.lane);
            }
            outcomes.push(outcome);
        }
        outcomes
    }
}

/// Refuses the first letters, then keeps them.
#[derive(Default)]
struct Letters {
    refuse: AtomicUsize,
    kept: Mutex<Vec<DeadLetter>>,
}

impl DeadLetters for Letters {
    async fn bury(&self, letter: DeadLetter) -> Result<(), PublishError> {
        let refusals = self.refuse.load(Ordering::SeqCst);
        if refusals > 0 {
            self.refuse.store(refusals - 1, Ordering::SeqCst);
            return Err(PublishError { topic: "dlq".into(), reason: "on purpose".into(), can_retry: true });
        }
        self.kept.lock().unwrap().push(letter);
        Ok(())
    }
}

struct Bench {
    engine: HandlerEngine<Scripted, Letters>,
    runner: Arc<Scripted>,
    letters: Arc<Letters>,
    inbox: Inbox,
    wakes: Arc<AtomicUsize>,
}

fn bench(slots: usize, limits: InboxLimits) -> Bench {
    let runner =
        Arc::new(Scripted { seen: Mutex::default(), running: Mutex::default(), gate: Semaphore::new(0) });
    let letters = Arc::new(Letters::default());
    let types = ["wanted".to_owned()].into();
    let options = HandlerOptions {
        name: "bench".to_owned(),
        filter: Filter { types, type_header: "ce_type".to_owned(), untyped: Untyped::DeadLetter },
        lanes: LaneRule::Key,
        policy: Policy { attempts_max: 3, backoff_ms: 5, ..Policy::default() },
        slots,
        inbox: limits,
    };
    let engine =
        HandlerEngine::new(options, runner.clone(), letters.clone(), tokio::runtime::Handle::current());
    let wakes = Arc::new(AtomicUsize::new(0));
    let counted = wakes.clone();
    let source = TopicPartition { topic: "tasks".into(), partition: 3 };
    let inbox = engine.assign(source, Arc::new(move || _ = counted.fetch_add(1, Ordering::SeqCst)));
    Bench { engine, runner, letters, inbox, wakes }
}

fn event(offset: i64, key: &str, value: &str) -> Event {
    let header =
        keylane_engine::Header { name: "ce_type".to_owned(), value: Some(Bytes::from_static(b"wanted")) };
    Event {
        source: TopicPartition { topic: "tasks".into(), partition: 3 },
        offset,
        timestamp: None,
        key: Some(Bytes::copy_from_slice(key.as_bytes())),
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        headers: vec![header],
    }
}

impl Bench {
    fn seen(&self) -> Vec<(i64, u32)> {
        self.runner.seen.lock().unwrap().clone()
    }

    async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !holds(self) {
            assert!(begun.elapsed() < Duration::from_secs(20), "never: {what}; seen {:?}", self.seen());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn until_watermark(&self, offset: i64) {
        self.until("watermark", |bench| bench.inbox.position().watermark == Some(offset)).await;
    }
}

#[tokio::test]
async fn events_of_a_key_run_in_order_and_the_watermark_follows() {
    let bench = bench(4, InboxLimits::default());
    bench.inbox.deliver((0..100).map(|offset| event(offset, "one", "done")).collect()).unwrap();
    bench.until_watermark(100).await;
    assert_eq!(bench.seen(), (0..100).map(|offset| (offset, 1)).collect::<Vec<_>>());
    assert_eq!(bench.engine.tally().totals().done, 100);
}

#[tokio::test]
async fn a_failing_key_waits_and_others_go_on() {
    let bench = bench(4, InboxLimits::default());
    let batch = vec![event(0, "bad", "retry"), event(1, "bad", "done"), event(2, "good", "done")];
    bench.inbox.deliver(batch).unwrap();
    bench.until_watermark(3).await;
    let bad: Vec<_> = bench.seen().into_iter().filter(|(offset, _)| *offset != 2).collect();
    assert_eq!(bad, [(0, 1), (0, 2), (0, 3), (1, 1)], "three attempts, then its follower");
    let letters = bench.letters.kept.lock().unwrap();
    let letter = letters.first().unwrap();
    assert_eq!((letters.len(), letter.attempts, letter.class), (1, 3, FailureClass::Retry));
    assert_eq!(bench.engine.tally().totals().retried, 2, "after the third no other comes");
    assert!(letter.first_failure_ms > 1_700_000_000_000, "{}", letter.first_failure_ms);
}

#[tokio::test]
async fn a_refused_dead_letter_is_sent_again_and_nothing_ends_before() {
    let bench = bench(1, InboxLimits::default());
    bench.letters.refuse.store(1, Ordering::SeqCst);
    bench.inbox.deliver(vec![event(0, "a", "reject")]).unwrap();
    bench.until("first refusal", |bench| bench.letters.refuse.load(Ordering::SeqCst) == 0).await;
    assert_eq!(bench.inbox.position().watermark, Some(0));
    bench.until_watermark(1).await;
    assert_eq!(bench.seen(), [(0, 1)], "a rejected event is not tried again");
}

#[tokio::test]
async fn an_undeliverable_effect_is_buried_at_once() {
    let bench = bench(1, InboxLimits::default());
    bench.inbox.deliver(vec![event(0, "a", "undeliverable")]).unwrap();
    bench.until_watermark(1).await;
    assert_eq!(bench.seen(), [(0, 1)]);
    assert_eq!(bench.engine.tally().totals().dead_lettered, 1);
}

#[tokio::test]
async fn what_has_no_type_is_buried_unseen_and_other_types_are_skipped() {
    let bench = bench(1, InboxLimits::default());
    let untyped = Event { headers: vec![], ..event(0, "a", "done") };
    let mut other = event(1, "a", "done");
    other.headers.first_mut().unwrap().value = Some(Bytes::from_static(b"other"));
    bench.inbox.deliver(vec![untyped, other]).unwrap();
    bench.until_watermark(2).await;
    assert_eq!(bench.seen(), []);
    let totals = bench.engine.tally().totals();
    assert_eq!((totals.skipped, totals.dead_lettered, totals.ended()), (1, 1, 2));
}

#[tokio::test]
async fn a_full_inbox_says_so_and_wakes_the_poller_when_it_has_room() {
    let bench = bench(1, InboxLimits { records: 2, bytes: usize::MAX });
    bench.inbox.deliver(vec![event(0, "a", "wait"), event(1, "b", "wait")]).unwrap();
    assert!(!bench.inbox.has_room());
    bench.until("a run", |bench| !bench.seen().is_empty()).await;
    assert_eq!(bench.wakes.load(Ordering::SeqCst), 0);
    bench.runner.gate.add_permits(2);
    bench.until_watermark(2).await;
    assert!(bench.inbox.has_room());
    assert!(bench.wakes.load(Ordering::SeqCst) >= 1, "the poller was not woken");
}

#[tokio::test]
async fn draining_finishes_what_runs_and_begins_nothing() {
    let bench = bench(1, InboxLimits::default());
    bench.inbox.deliver(vec![event(0, "a", "wait")]).unwrap();
    bench.until("a run", |bench| bench.seen().len() == 1).await;
    bench.inbox.deliver(vec![event(1, "b", "done")]).unwrap();
    bench.inbox.drain();
    bench.until("draining", |bench| bench.inbox.ownership() == Ownership::Draining).await;
    bench.runner.gate.add_permits(1);
    bench.until("drained", |bench| bench.inbox.ownership() == Ownership::Drained).await;
    assert_eq!(bench.seen(), [(0, 1)]);
    assert_eq!(bench.inbox.position().watermark, Some(1));
}

#[tokio::test]
async fn a_lost_partition_drops_its_runs() {
    let bench = bench(1, InboxLimits::default());
    bench.inbox.deliver(vec![event(0, "a", "wait")]).unwrap();
    bench.until("a run", |bench| bench.seen().len() == 1).await;
    let Bench { inbox, runner, .. } = bench;
    drop(inbox);
    let begun = Instant::now();
    while Arc::strong_count(&runner) > 2 {
        assert!(begun.elapsed() < Duration::from_secs(20), "the run outlived its assignment");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_panic_stops_the_partition_and_is_told() {
    let bench = bench(1, InboxLimits::default());
    bench.inbox.deliver(vec![event(0, "a", "panic")]).unwrap();
    bench.until("faulted", |bench| bench.inbox.ownership() == Ownership::Faulted).await;
    assert_eq!(bench.engine.tally().totals().faulted, 1);
    assert!(!bench.inbox.has_room(), "a faulted partition takes nothing more");
    assert_eq!(bench.inbox.position().watermark, Some(0));
}

#[tokio::test]
async fn slots_bound_the_runs_of_all_partitions() {
    let bench = bench(2, InboxLimits::default());
    let batch = (0..6).map(|offset| event(offset, &offset.to_string(), "wait")).collect();
    bench.inbox.deliver(batch).unwrap();
    bench.until("two runs", |bench| bench.runner.running.lock().unwrap().len() == 2).await;
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert_eq!(bench.runner.running.lock().unwrap().len(), 2);
    bench.runner.gate.add_permits(6);
    bench.until_watermark(6).await;
}
