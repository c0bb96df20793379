//! What the tests share: letters, a clock, and an engine.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use keylane_engine::{
    Assignment, BootClock, Claims, DeadLetter, DeadLetters, Delivery, Event, Filter, GapSet, HandlerEngine,
    HandlerOptions, Header, HostBudget, Inbox, InboxLimits, LaneRule, Lease, OutgoingRecord, Owners,
    PartitionStatus, Policy, PublishError, Token, TopicId, TopicPartition, Untyped,
};
use tokio::time::Instant;

use crate::database::{Database, FENCE};
use crate::scripted::{Block, Scripted};

pub const TOPIC: TopicId = TopicId::new([9; 16]);

/// The longest that anything takes by the clock on the wall.
pub const PATIENCE: Duration = Duration::from_secs(60);

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
    /// The handler's write database, where it has one.
    pub database: Option<Arc<Database>>,
    pub clock: Arc<Clock>,
    pub lease: Arc<Lease>,
    pub wakes: Arc<AtomicUsize>,
    /// Whether the handler is in cuts, and which events were refused before.
    pub cuts: Option<BTreeMap<i64, String>>,
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
        Self::make(options, term, None)
    }

    /// A handler with a write database.
    pub fn beside(options: HandlerOptions, database: Arc<Database>) -> Self {
        Self::make(options, Duration::from_secs(86_400), Some(database))
    }

    /// A handler whose records are committed with its progress, each event's and each letter's.
    pub fn in_cuts(options: HandlerOptions) -> Self {
        let bench = Self::new(options.clone());
        let (runner, letters) = (bench.runner.clone(), bench.letters.clone());
        runner.emits.store(true, Ordering::SeqCst);
        let form = Arc::new(|letter: &DeadLetter| emitted(letter.event.offset, letter.class.name()));
        let handle = tokio::runtime::Handle::current();
        let engine = HandlerEngine::in_cuts(options, runner, letters, form, handle);
        Self { engine, cuts: Some(BTreeMap::new()), ..bench }
    }

    fn make(options: HandlerOptions, term: Duration, database: Option<Arc<Database>>) -> Self {
        let runner = Arc::new(Scripted::default());
        let letters = Arc::new(Letters::default());
        let budget = options.budget.clone();
        let clock = Arc::new(Clock { begun: Instant::now(), slept_ms: AtomicU64::new(0) });
        let lease = Arc::new(Lease::new(term, clock.clone()));
        lease.renew(lease.now());
        let handle = tokio::runtime::Handle::current();
        let claims = database.clone().map(|database| database as Arc<dyn Claims>);
        let engine = HandlerEngine::new(options, runner.clone(), letters.clone(), claims, handle);
        let wakes = Arc::default();
        Self { engine, runner, letters, budget, database, clock, lease, wakes, cuts: None }
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
            fence: self.database.as_ref().map(|_| FENCE),
            refused: self.cuts.clone(),
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

/// The record that an event gives out, or its letter.
pub fn emitted(offset: i64, what: &str) -> OutgoingRecord {
    let value = Some(format!("{offset} {what}").into());
    OutgoingRecord { topic: "out".to_owned(), key: None, value, headers: Vec::new() }
}

/// What had ended before: all below `base`, and one range above it.
pub fn ended_above(base: i64, ended: std::ops::Range<i64>) -> GapSet {
    GapSet { base, ended: vec![ended] }
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
