//! What the tests share: a runner that answers by an event's value, letters, a clock, and an engine.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use keylane_engine::{
    Assignment, Attempt, BootClock, DeadLetter, DeadLetters, Delivery, Event, FailureClass, Filter, GapSet,
    HandlerEngine, HandlerOptions, Header, HostBudget, Inbox, InboxLimits, LaneRule, Lease, Outcome, Owners,
    PartitionStatus, Policy, PublishError, RunControl, RunReport, Runner, Token, TopicId, TopicPartition,
    Untyped,
};
use tokio::sync::Semaphore;
use tokio::time::Instant;

pub const TOPIC: TopicId = TopicId::new([9; 16]);

/// The longest that anything takes by the clock on the wall.
const PATIENCE: Duration = Duration::from_secs(60);

/// Answers by the event's value: `retry`, `retry-once` (its first attempt), `reject`, `undeliverable`,
/// `effects`, `panic`, `panic-beside` (a `block`), `wait` (for a permit of the gate), `slow` (10 ms), `block`
/// (the thread, as a component does that does not yield), else done.
#[derive(Default)]
pub struct Scripted {
    pub seen: Mutex<Vec<(i64, u32)>>,
    pub running: Mutex<BTreeMap<(i32, u64), i64>>,
    pub gate: Gate,
    pub blocks: Gate,
    pub unblock: Block,
}

/// Passed by whoever finds a permit; there is none at first.
pub struct Gate(Semaphore);

impl Default for Gate {
    fn default() -> Self {
        Self(Semaphore::new(0))
    }
}

impl Gate {
    pub fn add_permits(&self, permits: usize) {
        self.0.add_permits(permits);
    }

    async fn pass(&self) {
        self.0.acquire().await.unwrap().forget();
    }
}

/// Where a thread waits for the test; not for ever, or a test that failed would not end.
#[derive(Default)]
pub struct Block(AtomicBool);

impl Block {
    pub fn open(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    fn wait(&self) {
        let begun = std::time::Instant::now();
        while !self.0.load(Ordering::SeqCst) && begun.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Takes a lane off the running ones, also when the run is broken off.
struct Running<'a>(&'a Scripted, (i32, u64));

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.lock().unwrap().remove(&self.1);
    }
}

impl Scripted {
    async fn one(&self, attempt: &Attempt) -> Outcome {
        let lane = (attempt.event.source.partition, attempt.lane);
        let overlapping = self.running.lock().unwrap().insert(lane, attempt.event.offset);
        assert_eq!(overlapping, None, "two events of a lane at once");
        let _running = Running(self, lane);
        self.seen.lock().unwrap().push((attempt.event.offset, attempt.number));
        match attempt.event.value.as_deref() {
            Some(b"retry") => failed(FailureClass::Retry),
            Some(b"retry-once") if attempt.number == 1 => failed(FailureClass::Retry),
            Some(b"undeliverable") => failed(FailureClass::Undeliverable),
            Some(b"effects") => failed(FailureClass::Effects),
            Some(b"reject") => failed(FailureClass::Reject),
            Some(b"panic") => panic!("a fault of the host, on purpose"),
            Some(b"panic-beside") => {
                self.blocks.pass().await;
                panic!("a fault of the host, on purpose")
            }
            Some(b"wait") => {
                self.gate.pass().await;
                Outcome::Done
            }
            Some(b"block") => {
                self.blocks.add_permits(1);
                // The tasks behind this one go to another thread.
                tokio::task::block_in_place(|| self.unblock.wait());
                Outcome::Done
            }
            Some(b"slow") => {
                tokio::time::sleep(Duration::from_millis(10)).await;
                Outcome::Done
            }
            _ => Outcome::Done,
        }
    }
}

fn failed(class: FailureClass) -> Outcome {
    Outcome::Failed { class, reason: "on purpose".to_owned(), after_ms: None }
}

impl Runner for Scripted {
    async fn run(&self, attempts: Vec<Attempt>, control: RunControl) -> RunReport {
        let mut outcomes: Vec<Outcome> = Vec::new();
        let mut stopped = Vec::new();
        for (index, attempt) in attempts.iter().enumerate() {
            let begins = !stopped.contains(&attempt.lane) && (index == 0 || control.may_begin_next());
            let outcome = if begins { self.one(attempt).await } else { Outcome::NotStarted };
            if outcome != Outcome::Done {
                stopped.push(attempt.lane);
            }
            outcomes.push(outcome);
        }
        outcomes.into()
    }
}

/// Refuses the first letters, then keeps them; the one with the key `blocking` blocks its thread.
#[derive(Default)]
pub struct Letters {
    pub refuse: AtomicUsize,
    pub kept: Mutex<Vec<DeadLetter>>,
    pub blocked: AtomicBool,
    pub unblock: Block,
}

impl DeadLetters for Letters {
    async fn bury(&self, letter: DeadLetter) -> Result<(), PublishError> {
        let refusals = self.refuse.load(Ordering::SeqCst);
        if refusals > 0 {
            self.refuse.store(refusals - 1, Ordering::SeqCst);
            return Err(PublishError { topic: "dlq".into(), reason: "on purpose".into(), can_retry: true });
        }
        if letter.event.key.as_deref() == Some(b"blocking") {
            self.blocked.store(true, Ordering::SeqCst);
            tokio::task::block_in_place(|| self.unblock.wait());
        }
        self.kept.lock().unwrap().push(letter);
        Ok(())
    }
}

/// The runtime's own virtual time, and what the machine slept beside it.
pub struct Clock {
    begun: Instant,
    slept_ms: AtomicU64,
}

impl Clock {
    pub fn sleep(&self, time: Duration) {
        self.slept_ms.fetch_add(time.as_millis() as u64, Ordering::SeqCst);
    }
}

impl BootClock for Clock {
    fn now(&self) -> Duration {
        self.begun.elapsed() + Duration::from_millis(self.slept_ms.load(Ordering::SeqCst))
    }
}

/// One handler in a host, with a lease that holds for a day.
pub struct Bench {
    pub engine: HandlerEngine<Scripted, Letters>,
    pub runner: Arc<Scripted>,
    pub letters: Arc<Letters>,
    pub budget: Arc<HostBudget>,
    pub clock: Arc<Clock>,
    pub lease: Arc<Lease>,
    pub wakes: Arc<AtomicUsize>,
}

pub fn options() -> HandlerOptions {
    HandlerOptions {
        name: "bench".to_owned(),
        filter: Filter {
            types: ["wanted".to_owned()].into(),
            type_header: "ce_type".to_owned(),
            untyped: Untyped::DeadLetter,
        },
        lanes: LaneRule::Key,
        policy: Policy { attempts_max: 3, backoff_ms: 5, flood: None, ..Policy::default() },
        slots: 4,
        inbox: InboxLimits::default(),
        budget: HostBudget::new(usize::MAX),
        stuck_after: Duration::from_secs(60),
    }
}

impl Bench {
    pub fn new(options: HandlerOptions) -> Self {
        Self::with_term(options, Duration::from_secs(86_400))
    }

    pub fn with_term(options: HandlerOptions, term: Duration) -> Self {
        let runner = Arc::new(Scripted::default());
        let letters = Arc::new(Letters::default());
        let budget = options.budget.clone();
        let clock = Arc::new(Clock { begun: Instant::now(), slept_ms: AtomicU64::new(0) });
        let lease = Arc::new(Lease::new(term, clock.clone()));
        lease.renew(lease.now());
        let handle = tokio::runtime::Handle::current();
        let engine = HandlerEngine::new(options, runner.clone(), letters.clone(), None, handle);
        Self { engine, runner, letters, budget, clock, lease, wakes: Arc::default() }
    }

    /// The inbox of a partition that is read from its start.
    pub fn assign(&self, partition: i32) -> Inbox {
        self.assign_at(partition, GapSet::at(0))
    }

    pub fn assign_at(&self, partition: i32, restored: GapSet) -> Inbox {
        let counted = self.wakes.clone();
        self.engine.assign(Assignment {
            partition: source(partition),
            token: Token::fresh(),
            restored,
            fence: None,
            topic_id: TOPIC,
            lease: self.lease.clone(),
            wake: Arc::new(move || _ = counted.fetch_add(1, Ordering::SeqCst)),
        })
    }

    pub fn seen(&self) -> Vec<(i64, u32)> {
        self.runner.seen.lock().unwrap().clone()
    }

    pub fn running(&self) -> usize {
        self.runner.running.lock().unwrap().len()
    }

    pub async fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let (begun, really) = (Instant::now(), std::time::Instant::now());
        while !holds() {
            let is_over = begun.elapsed() >= Duration::from_secs(7_200) || really.elapsed() >= PATIENCE;
            assert!(!is_over, "never: {what}; seen {:?}", self.seen());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    pub async fn until_watermark(&self, inbox: &Inbox, offset: i64) {
        self.until("watermark", || inbox.progress().offset == offset).await;
    }
}

pub fn source(partition: i32) -> TopicPartition {
    TopicPartition { topic: "tasks".into(), partition }
}

/// An event of partition 0.
pub fn event(offset: i64, key: &str, value: &str) -> Event {
    Event {
        source: source(0),
        offset,
        timestamp: None,
        key: Some(Bytes::copy_from_slice(key.as_bytes())),
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        headers: vec![Header { name: "ce_type".to_owned(), value: Some(Bytes::from_static(b"wanted")) }],
    }
}

/// The same event, read from another partition.
pub fn in_partition(partition: i32, event: Event) -> Event {
    Event { source: source(partition), ..event }
}

pub fn deliver(inbox: &Inbox, events: impl IntoIterator<Item = Event>) {
    let events: Vec<Event> = events.into_iter().collect();
    let next = events.last().map_or(0, |event| event.offset + 1);
    inbox.deliver(Delivery { events, next }).unwrap();
}

pub async fn status(inbox: &Inbox) -> PartitionStatus {
    inbox.control().status().await.unwrap()
}

/// Virtual time in which whatever could begin has begun.
pub async fn a_while() {
    tokio::time::sleep(Duration::from_millis(500)).await;
}

/// A coin toss for each number, always the same: splitmix64, so that nothing compresses.
pub fn coin(number: i64) -> bool {
    let z = (number as u64).wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (z ^ (z >> 31)) & 1 == 1
}
