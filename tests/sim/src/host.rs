//! The model of a host: a process with a runtime of its own, in which the real engine runs. It can be
//! stopped, put to sleep and killed at any moment at which it waits.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use keylane_engine::{Claims, Filter, HandlerEngine, HandlerOptions, LaneRule, LetterForm};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;

use crate::database::{ModelClaims, database_id};
use crate::letters::{ModelLetters, held_letter};
use crate::member::Membership;
use crate::mutation::Mutation;
use crate::poller::{Poller, TYPE_HEADER, WANTED};
use crate::process::Process;
use crate::runner::ModelRunner;
use crate::trace::Note;

/// The poller, and the membership.
const TASKS_PER_HANDLER: usize = 2;
/// The owner, and the one that looks whether it falls.
const TASKS_PER_OWNER: usize = 2;
/// The one that carries out cuts.
const TASKS_PER_CUTTER: usize = 1;

/// A process that runs.
pub struct Host {
    pub process: Arc<Process>,
    runtime: Runtime,
    /// How far it has got, in the world's time.
    reached_ms: u64,
    stopped: Option<Stopped>,
}

/// Why a host does not get on.
#[derive(Debug, Clone, Copy)]
struct Stopped {
    until_ms: u64,
    /// The whole machine: its clocks stand still, but for one.
    asleep: bool,
}

/// What a host leaves behind when it has left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remains {
    pub host: u8,
    pub tasks: usize,
    pub bytes: usize,
    pub hungry: usize,
    /// The most bytes it ever held.
    pub bytes_seen: usize,
}

impl Host {
    /// Starts the process: an engine, a membership and a poller for each handler.
    pub fn start(process: Process, now_ms: u64) -> Self {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let process = Arc::new(process);
        for handler in 0..process.plan.handlers {
            start_handler(&runtime, &process, handler);
        }
        // The first look at the clock sets where it begins.
        runtime.block_on(async { process.note(Note::Started) });
        Self { process, runtime, reached_ms: now_ms, stopped: None }
    }

    /// Lets the process get on until this time.
    pub fn run_to(&mut self, until_ms: u64) {
        if let Some(stopped) = self.stopped {
            if until_ms < stopped.until_ms {
                return;
            }
            self.wake(stopped, until_ms);
            return;
        }
        let clock = self.process.clock.clone();
        self.runtime.block_on(async move { tokio::time::sleep_until(clock.at(until_ms)).await });
        self.reached_ms = until_ms;
    }

    /// The process goes on. What was due meanwhile is late; after a sleep of the machine nothing was due.
    fn wake(&mut self, stopped: Stopped, now_ms: u64) {
        let stopped_ms = now_ms - self.reached_ms;
        self.stopped = None;
        self.reached_ms = now_ms;
        if stopped.asleep {
            self.process.clock.sleep(stopped_ms);
            self.process.note_at(now_ms, Note::Slept { slept_ms: stopped_ms });
        } else {
            self.process.note_at(now_ms, Note::Woke { stopped_ms });
            self.runtime.block_on(tokio::time::advance(Duration::from_millis(stopped_ms)));
        }
    }

    /// Stops the process, or the machine, until then.
    pub fn stop(&mut self, until_ms: u64, asleep: bool) {
        if self.stopped.is_none() {
            self.stopped = Some(Stopped { until_ms, asleep });
        }
    }

    pub fn is_stopped(&self) -> bool {
        self.stopped.is_some()
    }

    /// The process ends at this very moment: nothing is finished, nothing is said.
    pub fn kill(self) {
        self.process.note_at(self.reached_ms, Note::Crashed);
        self.process.kill();
    }

    /// Asks the process to put everything down and leave.
    pub fn ask_to_leave(&self) {
        self.process.leaving.store(true, Ordering::Relaxed);
    }

    /// Whether everything is put down.
    pub fn has_left(&self) -> bool {
        self.process.left.load(Ordering::Relaxed) == usize::from(self.process.plan.handlers)
    }

    /// Whether it holds no event, and no task but those that it needs for what it owns.
    pub fn is_at_rest(&self) -> bool {
        let handlers = usize::from(self.process.plan.handlers);
        let owners = self.process.controls.lock().unwrap().len();
        let cutters = self.process.plan.cuts.iter().flatten().count();
        let needed = handlers * TASKS_PER_HANDLER + owners * TASKS_PER_OWNER + cutters * TASKS_PER_CUTTER;
        let Remains { tasks, bytes, .. } = self.remains();
        tasks == needed && bytes == 0
    }

    pub fn remains(&self) -> Remains {
        let budget = &self.process.budget;
        Remains {
            host: self.process.host,
            tasks: self.runtime.metrics().num_alive_tasks(),
            bytes: budget.held_bytes(),
            hungry: budget.hungry(),
            bytes_seen: self.process.bytes_seen.load(Ordering::Relaxed),
        }
    }

    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }
}

fn start_handler(runtime: &Runtime, process: &Arc<Process>, handler: u8) {
    let plan = &process.plan;
    let options = HandlerOptions {
        name: format!("handler-{handler}"),
        filter: Filter {
            types: BTreeSet::from([WANTED.to_owned()]),
            type_header: TYPE_HEADER.to_owned(),
            untyped: plan.untyped,
        },
        lanes: if process.mutated(Mutation::IgnoresLanes) { LaneRule::None } else { plan.lanes },
        policy: plan.policy,
        slots: plan.slots,
        inbox: plan.limits,
        budget: process.budget.clone(),
        stuck_after: Duration::from_secs(3),
    };
    let line = process.lines[usize::from(handler)].clone();
    let runner = Arc::new(ModelRunner { handler, process: process.clone(), line: line.clone() });
    let id = database_id(handler);
    let claims = line
        .map(|line| Arc::new(ModelClaims { handler, id, process: process.clone(), line }) as Arc<dyn Claims>);
    let letters = Arc::new(ModelLetters { handler, process: process.clone() });
    let handle = runtime.handle().clone();
    let engine = if plan.cuts[usize::from(handler)].is_some() {
        let process = process.clone();
        let form: LetterForm = Arc::new(move |letter| held_letter(handler, &process, letter));
        HandlerEngine::in_cuts(options, runner, letters, form, handle)
    } else {
        HandlerEngine::new(options, runner, letters, claims.clone(), handle)
    };
    let doorbell = Arc::new(Notify::new());
    let membership = Membership::new(handler, doorbell.clone());
    runtime.spawn(membership.clone().keep(process.clone()));
    let (process, engine) = (process.clone(), Arc::new(engine));
    runtime.spawn(
        async move { Poller::new(handler, process, membership, engine, claims, doorbell).run().await },
    );
}
