//! A handler for tests: notes the events it gets, and holds back partitions that are closed.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use keylane_engine::{
    Assignment, Attempt, Claims, ClaimsError, DeadLetter, DeadLetters, Event, FailureClass, Fence, Filter,
    GapSet, HandlerEngine, HandlerOptions, HostBudget, Inbox, InboxLimits, LaneRule, Outcome, Owners, Policy,
    PublishError, RunControl, RunReport, RunStand, Runner, Token, TopicId, TopicPartition, Untyped,
};
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::database::{Connection, Database};

/// The longest that a run is deaf: one that a failed test has left behind is to end, or the test would not.
const DEAF_LIMIT: Duration = Duration::from_secs(90);

/// What waits until it is let go.
#[derive(Debug, Default)]
struct Gates {
    partitions: BTreeSet<i32>,
    /// Here a run blocks its thread, so that nothing breaks it off.
    deaf: BTreeSet<i32>,
    events: BTreeSet<(i32, i64)>,
}

/// What an owner was started with.
#[derive(Debug, Clone)]
pub struct Begun {
    pub partition: TopicPartition,
    pub token: Token,
    pub restored: GapSet,
    pub topic_id: TopicId,
    pub fence: Option<Fence>,
    /// The session time-out that its lease counts by.
    pub term: Duration,
}

/// What was handled, in the order of its endings. Clones share it.
#[derive(Clone)]
pub struct Recorder {
    handled: Arc<Mutex<Vec<Arc<Event>>>>,
    gates: watch::Sender<Gates>,
    rejected: Arc<Mutex<BTreeSet<i64>>>,
    assignments: Arc<Mutex<Vec<Begun>>>,
    begun: Arc<AtomicUsize>,
    /// Where it writes, if it does.
    database: Option<(Database, Connection)>,
}

/// Notes the owners that are made.
struct NotedOwners {
    handler: HandlerEngine<Recorder, NoDeadLetters>,
    assignments: Arc<Mutex<Vec<Begun>>>,
}

impl Owners for NotedOwners {
    fn assign(&self, assignment: Assignment) -> Inbox {
        assert!(assignment.lease.holds(), "no owner begins before the membership is proven");
        self.assignments.lock().unwrap().push(Begun {
            partition: assignment.partition.clone(),
            token: assignment.token,
            restored: assignment.restored.clone(),
            topic_id: assignment.topic_id,
            fence: assignment.fence,
            term: assignment.lease.term(),
        });
        self.handler.assign(assignment)
    }
}

impl Recorder {
    pub fn new() -> Self {
        Self {
            handled: Arc::default(),
            gates: watch::Sender::new(Gates::default()),
            rejected: Arc::default(),
            assignments: Arc::default(),
            begun: Arc::default(),
            database: None,
        }
    }

    /// A handler that writes to this database.
    pub fn beside(database: &Database) -> Self {
        Self { database: Some((database.clone(), database.connect())), ..Self::new() }
    }

    /// Its way to its database, which it must have.
    pub fn connection(&self) -> &Connection {
        &self.database.as_ref().unwrap().1
    }

    pub fn claims(&self) -> Option<Arc<dyn Claims>> {
        let (_, connection) = self.database.as_ref()?;
        Some(Arc::new(connection.clone()))
    }

    /// A handler with a small inbox, so that a closed partition is full soon.
    pub fn owners(&self) -> Arc<dyn Owners> {
        self.owners_with(Policy::default())
    }

    pub fn owners_with(&self, policy: Policy) -> Arc<dyn Owners> {
        let options = HandlerOptions {
            name: "recorder".to_owned(),
            filter: Filter {
                types: BTreeSet::new(),
                type_header: "ce_type".to_owned(),
                untyped: Untyped::Handle,
            },
            lanes: LaneRule::Key,
            policy,
            // More than a closed partition can hold up.
            slots: 1_000,
            inbox: InboxLimits { records: 100, bytes: 1024 * 1024 },
            budget: HostBudget::new(64 * 1024 * 1024),
            stuck_after: Duration::from_secs(60),
        };
        let (runner, dead_letters) = (Arc::new(self.clone()), Arc::new(NoDeadLetters));
        let handler = HandlerEngine::new(options, runner, dead_letters, self.claims(), Handle::current());
        Arc::new(NotedOwners { handler, assignments: self.assignments.clone() })
    }

    /// How many times an owner was made.
    pub fn assignments(&self) -> usize {
        self.assignments.lock().unwrap().len()
    }

    /// What the owners were started with, in the order they were.
    pub fn all_begun(&self) -> Vec<Begun> {
        self.assignments.lock().unwrap().clone()
    }

    /// How many events were begun, handled or not.
    pub fn begun(&self) -> usize {
        self.begun.load(Ordering::Relaxed)
    }

    /// From now on events of this partition wait.
    pub fn close(&self, partition: i32) {
        self.gates.send_if_modified(|gates| gates.partitions.insert(partition));
    }

    pub fn open(&self, partition: i32) {
        self.gates.send_if_modified(|gates| gates.partitions.remove(&partition));
    }

    /// From now on events of this partition wait, and heed no interruption.
    pub fn deafen(&self, partition: i32) {
        self.gates.send_if_modified(|gates| gates.deaf.insert(partition));
    }

    /// They go on, and end as if nothing had been.
    pub fn wake_up(&self, partition: i32) {
        self.gates.send_if_modified(|gates| gates.deaf.remove(&partition));
    }

    /// Waits while the partition is deaf. Answers whether it was.
    fn be_deaf(&self, partition: i32) -> bool {
        let is_deaf = || self.gates.borrow().deaf.contains(&partition);
        let was_deaf = is_deaf();
        if was_deaf {
            let give_up = Instant::now() + DEAF_LIMIT;
            tokio::task::block_in_place(|| {
                while is_deaf() {
                    assert!(Instant::now() < give_up, "a deaf run was forgotten");
                    std::thread::sleep(Duration::from_millis(2));
                }
            });
        }
        was_deaf
    }

    /// From now on this event waits.
    pub fn hold(&self, partition: i32, offset: i64) {
        self.gates.send_if_modified(|gates| gates.events.insert((partition, offset)));
    }

    pub fn release(&self, partition: i32, offset: i64) {
        self.gates.send_if_modified(|gates| gates.events.remove(&(partition, offset)));
    }

    /// From now on the events at this offset are rejected.
    pub fn reject(&self, offset: i64) {
        self.rejected.lock().unwrap().insert(offset);
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

impl Recorder {
    /// Commits what a run has done, if it writes.
    fn write(&self, control: &RunControl, events: Vec<Arc<Event>>) -> RunStand {
        let Some((database, _)) = &self.database else { return RunStand::Kept };
        match database.commit(control.fence().unwrap(), &events) {
            Ok(()) => {
                self.handled.lock().unwrap().extend(events);
                RunStand::Kept
            }
            Err(ClaimsError::NotOwner) => RunStand::Overtaken,
            Err(error) => RunStand::InDoubt(error.to_string()),
        }
    }
}

impl Runner for Recorder {
    async fn run(&self, attempts: Vec<Attempt>, control: RunControl) -> RunReport {
        let mut gates = self.gates.subscribe();
        let (mut outcomes, mut written) = (Vec::with_capacity(attempts.len()), Vec::new());
        for attempt in attempts {
            if !outcomes.is_empty() && !control.may_begin_next() {
                outcomes.push(Outcome::NotStarted);
                continue;
            }
            let (partition, offset) = (attempt.event.source.partition, attempt.event.offset);
            self.begun.fetch_add(1, Ordering::Relaxed);
            let is_open = |gates: &Gates| {
                !gates.partitions.contains(&partition) && !gates.events.contains(&(partition, offset))
            };
            if !self.be_deaf(partition) {
                gates.wait_for(is_open).await.unwrap();
            }
            if self.rejected.lock().unwrap().contains(&offset) {
                let reason = "not wanted".to_owned();
                outcomes.push(Outcome::Failed { class: FailureClass::Reject, reason, after_ms: None });
                continue;
            }
            outcomes.push(Outcome::Done);
            if self.database.is_some() {
                written.push(attempt.event);
            } else {
                self.handled.lock().unwrap().push(attempt.event);
            }
        }
        RunReport { stand: self.write(&control, written), ..outcomes.into() }
    }
}

struct NoDeadLetters;

impl DeadLetters for NoDeadLetters {
    async fn bury(&self, letter: DeadLetter) -> Result<(), PublishError> {
        panic!("nothing is to die here: {letter:?}")
    }
}
