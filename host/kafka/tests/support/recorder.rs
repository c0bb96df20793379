//! A handler for tests: notes the events it gets, and holds back partitions that are closed.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use keylane_engine::{
    Attempt, DeadLetter, DeadLetters, Event, Filter, HandlerEngine, HandlerOptions, Inbox, InboxLimits,
    LaneRule, Outcome, Owners, Policy, PublishError, Runner, TopicPartition, Untyped, Wake,
};
use tokio::runtime::Handle;
use tokio::sync::watch;

/// What was handled, in the order of its endings. Clones share it.
#[derive(Clone)]
pub struct Recorder {
    handled: Arc<Mutex<Vec<Arc<Event>>>>,
    closed: watch::Sender<BTreeSet<i32>>,
    assignments: Arc<AtomicUsize>,
    begun: Arc<AtomicUsize>,
}

/// Counts the owners that are made.
struct CountedOwners {
    handler: HandlerEngine<Recorder, NoDeadLetters>,
    assignments: Arc<AtomicUsize>,
}

impl Owners for CountedOwners {
    fn assign(&self, partition: TopicPartition, wake: Wake) -> Inbox {
        self.assignments.fetch_add(1, Ordering::Relaxed);
        self.handler.assign(partition, wake)
    }
}

impl Recorder {
    pub fn new() -> Self {
        Self {
            handled: Arc::default(),
            closed: watch::Sender::new(BTreeSet::new()),
            assignments: Arc::default(),
            begun: Arc::default(),
        }
    }

    /// A handler with a small inbox, so that a closed partition is full soon.
    pub fn owners(&self) -> Arc<dyn Owners> {
        let options = HandlerOptions {
            name: "recorder".to_owned(),
            filter: Filter {
                types: BTreeSet::new(),
                type_header: "ce_type".to_owned(),
                untyped: Untyped::Handle,
            },
            lanes: LaneRule::Key,
            policy: Policy::default(),
            // More than a closed partition can hold up.
            slots: 1_000,
            inbox: InboxLimits { records: 100, bytes: 1024 * 1024 },
        };
        let (runner, dead_letters) = (Arc::new(self.clone()), Arc::new(NoDeadLetters));
        let handler = HandlerEngine::new(options, runner, dead_letters, Handle::current());
        Arc::new(CountedOwners { handler, assignments: self.assignments.clone() })
    }

    /// How many times an owner was made.
    pub fn assignments(&self) -> usize {
        self.assignments.load(Ordering::Relaxed)
    }

    /// How many events were begun, handled or not.
    pub fn begun(&self) -> usize {
        self.begun.load(Ordering::Relaxed)
    }

    /// From now on events of this partition wait.
    pub fn close(&self, partition: i32) {
        self.closed.send_if_modified(|closed| closed.insert(partition));
    }

    pub fn open(&self, partition: i32) {
        self.closed.send_if_modified(|closed| closed.remove(&partition));
    }

    pub fn events(&self) -> Vec<Arc<Event>> {
        self.handled.lock().unwrap().clone()
    }

    pub fn count(&self) -> usize {
        self.handled.lock().unwrap().len()
    }

    pub fn count_of(&self, partition: i32) -> usize {
        self.offsets(partition).len()
    }

    /// The offsets handled of one partition, sorted, repeats included.
    pub fn offsets(&self, partition: i32) -> Vec<i64> {
        let events = self.handled.lock().unwrap();
        let mut offsets: Vec<i64> =
            events.iter().filter(|one| one.source.partition == partition).map(|one| one.offset).collect();
        offsets.sort_unstable();
        offsets
    }
}

impl Runner for Recorder {
    async fn run(&self, attempts: Vec<Attempt>) -> Vec<Outcome> {
        let mut closed = self.closed.subscribe();
        let mut outcomes = Vec::with_capacity(attempts.len());
        for attempt in attempts {
            let partition = attempt.event.source.partition;
            self.begun.fetch_add(1, Ordering::Relaxed);
            closed.wait_for(|closed| !closed.contains(&partition)).await.unwrap();
            self.handled.lock().unwrap().push(attempt.event);
            outcomes.push(Outcome::Done);
        }
        outcomes
    }
}

struct NoDeadLetters;

impl DeadLetters for NoDeadLetters {
    async fn bury(&self, letter: DeadLetter) -> Result<(), PublishError> {
        panic!("nothing is to die here: {letter:?}")
    }
}
