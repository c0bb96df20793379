//! What the parts of one host's process share, and its end.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use keylane_engine::{Control, HostBudget};

use crate::clock::HostClock;
use crate::database::{DatabasePlan, Line};
use crate::log::Topic;
use crate::mutation::Mutation;
use crate::plan::Plan;
use crate::trace::{Note, Place, Trace};
use crate::wire::Wire;

/// Owned by the host; its tasks hold it too.
pub struct Process {
    pub host: u8,
    pub plan: Arc<Plan>,
    pub topic: Topic,
    pub wire: Wire,
    /// Which process, of all that ever were.
    pub life: u64,
    /// The ways to the write databases, by handler.
    pub lines: Vec<Option<Arc<Line>>>,
    pub clock: Arc<HostClock>,
    pub budget: Arc<HostBudget>,
    /// Counts assignments and runs over the whole world, so that a seed replays with the same numbers.
    pub numbers: Arc<AtomicU64>,
    /// Faults are over.
    pub calm: Arc<AtomicBool>,
    pub mutation: Option<Mutation>,
    /// The operator's ways to the owners, by place, with the assignment's number.
    pub controls: Mutex<BTreeMap<Place, (u64, Control)>>,
    /// Asked to put everything down and leave.
    pub leaving: AtomicBool,
    /// The most bytes of events that were ever held, as the poller saw it.
    pub bytes_seen: AtomicUsize,
    /// Pollers that have put everything down.
    pub left: AtomicUsize,
    /// The process was killed: nothing of it happens any more.
    dead: AtomicBool,
    trace: Trace,
}

impl Process {
    #[expect(clippy::too_many_arguments, reason = "made in one place, from a world's parts")]
    pub fn new(
        host: u8,
        life: u64,
        started_ms: u64,
        plan: Arc<Plan>,
        topic: Topic,
        trace: Trace,
        numbers: Arc<AtomicU64>,
        calm: Arc<AtomicBool>,
        mutation: Option<Mutation>,
    ) -> Self {
        let line = |database: &Option<DatabasePlan>| {
            let limit = Duration::from_millis(database.as_ref()?.ask_ms);
            Some(Line::new(life, host, limit))
        };
        Self {
            host,
            life,
            lines: plan.databases.iter().map(line).collect(),
            budget: HostBudget::with_floor(plan.host_bytes, plan.floor),
            plan,
            topic,
            wire: Wire::new(host),
            clock: Arc::new(HostClock::new(started_ms)),
            numbers,
            calm,
            mutation,
            controls: Mutex::default(),
            leaving: AtomicBool::new(false),
            bytes_seen: AtomicUsize::new(0),
            left: AtomicUsize::new(0),
            dead: AtomicBool::new(false),
            trace,
        }
    }

    /// Writes down what this process does, now. Inside its runtime only.
    pub fn note(&self, note: Note) {
        if !self.dead.load(Ordering::Relaxed) {
            self.trace.note(self.clock.now_ms(), self.host, note);
        }
    }

    /// Writes down what becomes of this process from outside, at this time of the world.
    pub fn note_at(&self, at_ms: u64, note: Note) {
        self.trace.note(at_ms, self.host, note);
    }

    pub fn saw(&self, what: &'static str) {
        if !self.dead.load(Ordering::Relaxed) {
            self.trace.saw(what);
        }
    }

    /// From here on nothing of this process happens any more.
    pub fn kill(&self) {
        self.dead.store(true, Ordering::Relaxed);
    }

    pub fn next_number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub fn is_calm(&self) -> bool {
        self.calm.load(Ordering::Relaxed)
    }

    pub fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed)
    }

    pub fn mutated(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    pub fn controls(&self) -> Vec<(Place, u64, Control)> {
        let controls = self.controls.lock().unwrap();
        controls.iter().map(|(place, (number, control))| (*place, *number, control.clone())).collect()
    }
}
