//! A handler in cuts: each event gives out one record that says where it came from.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use keylane_engine::{
    Attempt, DeadLetter, DeadLetters, FailureClass, Filter, HandlerEngine, HandlerOptions, HostBudget,
    InboxLimits, LaneRule, Outcome, OutgoingRecord, Owners, Policy, PublishError, RunControl, RunReport,
    Runner, Untyped,
};
use keylane_kafka::{DeadLetterOptions, Intake, letter_record};
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::Cluster;
use super::letters::noise;

/// An event with this value gives out a record that no topic takes.
pub const LARGE: &str = "large";
const LARGE_BYTES: usize = 4 * 1024 * 1024;

/// An event with this value gives out a record for a topic that is not there.
pub const ASTRAY: &str = "astray";

/// Clones share what they note.
#[derive(Clone)]
pub struct Copier {
    pub to: String,
    /// Where events were begun, repeats included: partition and offset.
    begun: Arc<Mutex<Vec<(i32, i64)>>>,
    held: watch::Sender<BTreeSet<(i32, i64)>>,
    rejected: Arc<Mutex<BTreeSet<(i32, i64)>>>,
    owners: Arc<AtomicUsize>,
    pub policy: Policy,
    pub slots: usize,
    pub lanes: LaneRule,
}

impl Copier {
    pub fn new(to: &str) -> Self {
        Self {
            to: to.to_owned(),
            begun: Arc::default(),
            held: watch::Sender::new(BTreeSet::new()),
            rejected: Arc::default(),
            owners: Arc::default(),
            policy: Policy { flood: None, ..Policy::default() },
            slots: 64,
            lanes: LaneRule::Key,
        }
    }

    pub fn begun(&self) -> Vec<(i32, i64)> {
        self.begun.lock().unwrap().clone()
    }

    /// From now on this event waits.
    pub fn hold(&self, partition: i32, offset: i64) {
        self.held.send_if_modified(|held| held.insert((partition, offset)));
    }

    pub fn release(&self, partition: i32, offset: i64) {
        self.held.send_if_modified(|held| held.remove(&(partition, offset)));
    }

    pub fn reject(&self, partition: i32, offset: i64) {
        self.rejected.lock().unwrap().insert((partition, offset));
    }

    /// How many owners were made.
    pub fn assignments(&self) -> usize {
        self.owners.load(Ordering::SeqCst)
    }

    fn engine(&self, group: &str) -> HandlerEngine<Self, Nowhere> {
        let options = HandlerOptions {
            name: "copier".to_owned(),
            filter: Filter {
                types: BTreeSet::new(),
                type_header: "ce_type".to_owned(),
                untyped: Untyped::Handle,
            },
            lanes: self.lanes,
            policy: self.policy,
            slots: self.slots,
            inbox: InboxLimits { records: 1_000, bytes: 4 * 1024 * 1024 },
            budget: HostBudget::new(64 * 1024 * 1024),
            stuck_after: std::time::Duration::from_secs(60),
        };
        let letters = DeadLetterOptions {
            topic: Some(dead_letters_of(&self.to)),
            ..DeadLetterOptions::new("copier", group, "1")
        };
        let form = Arc::new(move |letter: &DeadLetter| letter_record(letter, &letters));
        let (runner, nowhere) = (Arc::new(self.clone()), Arc::new(Nowhere));
        HandlerEngine::in_cuts(options, runner, nowhere, form, Handle::current())
    }

    /// A member of the group that copies.
    pub fn intake(&self, cluster: &Cluster, config: keylane_kafka::ConsumerConfig) -> Intake {
        let owners = Counted { engine: self.engine(&config.group), made: self.owners.clone() };
        Intake::start(&cluster.config(), config, Arc::new(owners), None, Handle::current()).unwrap()
    }
}

/// The topic of the dead letters of a copier that writes to this one.
pub fn dead_letters_of(to: &str) -> String {
    format!("{to}.letters")
}

struct Counted {
    engine: HandlerEngine<Copier, Nowhere>,
    made: Arc<AtomicUsize>,
}

impl Owners for Counted {
    fn assign(&self, assignment: keylane_engine::Assignment) -> keylane_engine::Inbox {
        self.made.fetch_add(1, Ordering::SeqCst);
        self.engine.assign(assignment)
    }
}

impl Runner for Copier {
    async fn run(&self, attempts: Vec<Attempt>, control: RunControl) -> RunReport {
        let mut held = self.held.subscribe();
        let mut outcomes = Vec::with_capacity(attempts.len());
        let mut outputs = vec![Vec::new(); attempts.len()];
        let mut stopped = BTreeSet::new();
        for (attempt, output) in attempts.iter().zip(&mut outputs) {
            let begins = outcomes.is_empty() || control.may_begin_next();
            if !begins || stopped.contains(&attempt.lane) {
                outcomes.push(Outcome::NotStarted);
                continue;
            }
            let event = &attempt.event;
            let place = (event.source.partition, event.offset);
            self.begun.lock().unwrap().push(place);
            held.wait_for(|held| !held.contains(&place)).await.unwrap();
            if self.rejected.lock().unwrap().contains(&place) {
                let reason = "not wanted".to_owned();
                outcomes.push(Outcome::Failed { class: FailureClass::Reject, reason, after_ms: None });
                stopped.insert(attempt.lane);
                continue;
            }
            let value = match event.value.as_deref() == Some(LARGE.as_bytes()) {
                true => noise(LARGE_BYTES),
                false => format!("{}/{}", place.0, place.1).into(),
            };
            let is_astray = event.value.as_deref() == Some(ASTRAY.as_bytes());
            let topic = if is_astray { format!("{}.nowhere", self.to) } else { self.to.clone() };
            let key = event.key.clone();
            output.push(OutgoingRecord { topic, key, value: Some(value), headers: Vec::new() });
            outcomes.push(Outcome::Done);
        }
        RunReport { outputs, ..outcomes.into() }
    }
}

/// Nothing goes to the dead letters but by a cut.
struct Nowhere;

impl DeadLetters for Nowhere {
    async fn bury(&self, letter: DeadLetter) -> Result<(), PublishError> {
        panic!("a letter past the cut: {letter:?}")
    }
}
