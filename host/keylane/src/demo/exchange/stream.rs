//! The stream: an iterator over all that happens on the exchange, in the order of time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::calendar::WORK_S;
use super::fact::{Broken, Fact, Happening, Moved};
use super::random::{Random, Skew};

/// How many of a hundred tasks are ever completed.
const COMPLETED_PERCENT: u64 = 70;
/// How long a task takes on average, in seconds of work: two and a half hours.
const TASK_MEAN_S: f64 = 9_000.0;
/// After so many records comes one that is broken on purpose.
const BROKEN_EVERY: u64 = 2_000;

/// What is to be simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::demo) struct Plan {
    /// The same seed gives the same stream.
    pub(in crate::demo) seed: u64,
    /// How many tasks are assigned.
    pub(in crate::demo) tasks: u64,
    /// Among how many workers; a few get most of them.
    pub(in crate::demo) workers: u32,
}

impl Plan {
    /// A plan for about so many events.
    pub(in crate::demo) fn of_events(seed: u64, events: u64, workers: u32) -> Self {
        // Each task is assigned, and a part of them is completed in time: 165 events to 100 tasks.
        Self { seed, tasks: (events * 100 / 165).max(1), workers }
    }
}

/// A task that will be completed: when, which, by whom.
type Completion = (u64, u64, usize);

/// All that happens, in the order of time.
#[derive(Debug, Clone)]
pub(in crate::demo) struct Exchange {
    random: Random,
    skew: Skew,
    /// Workers by how busy they are, so that ids say nothing about it.
    workers: Vec<String>,
    tasks: u64,
    next_task: u64,
    next_assignment_s: u64,
    completions: BinaryHeap<Reverse<Completion>>,
    now_s: u64,
    /// Records since the last broken one.
    whole: u64,
    broken: u64,
}

impl Exchange {
    pub(in crate::demo) fn new(plan: Plan) -> Self {
        let mut random = Random::new(plan.seed);
        let mut workers: Vec<String> = (1..=plan.workers).map(|worker| format!("w-{worker:03}")).collect();
        random.shuffle(&mut workers);
        let mut exchange = Self {
            random,
            skew: Skew::new(workers.len()),
            workers,
            tasks: plan.tasks,
            next_task: 0,
            next_assignment_s: 0,
            completions: BinaryHeap::new(),
            now_s: 0,
            whole: 0,
            broken: 0,
        };
        exchange.plan_assignment();
        exchange
    }

    /// Assignments are spread over the whole time, each somewhere in its own slice of it.
    fn plan_assignment(&mut self) {
        let place = self.next_task as f64 + self.random.fraction();
        self.next_assignment_s = (place * WORK_S as f64 / self.tasks as f64) as u64;
    }

    fn assign(&mut self) -> Happening {
        self.now_s = self.next_assignment_s;
        let (task, worker) = (self.next_task, self.skew.rank(&mut self.random));
        if self.random.below(100) < COMPLETED_PERCENT {
            let done_s = self.now_s + 60 + self.random.wait_s(TASK_MEAN_S);
            if done_s < WORK_S {
                self.completions.push(Reverse((done_s, task, worker)));
            }
        }
        self.next_task += 1;
        self.plan_assignment();
        let moved = self.moved(task, worker);
        self.happening(Fact::Assigned(moved))
    }

    fn complete(&mut self, (done_s, task, worker): Completion) -> Happening {
        self.now_s = done_s;
        let moved = self.moved(task, worker);
        self.happening(Fact::Completed(moved))
    }

    fn break_one(&mut self) -> Option<Happening> {
        self.whole = 0;
        let broken = Broken::ALL.get(self.broken as usize % Broken::ALL.len())?;
        self.broken += 1;
        let worker = self.skew.rank(&mut self.random);
        let moved = Moved { task: format!("t-broken-{}", self.broken), ..self.moved(0, worker) };
        Some(self.happening(Fact::Broken(*broken, moved)))
    }

    fn moved(&self, task: u64, worker: usize) -> Moved {
        let worker = self.workers.get(worker).cloned().unwrap_or_default();
        Moved { task: format!("t-{task:06}"), worker }
    }

    fn happening(&self, fact: Fact) -> Happening {
        Happening { work_s: self.now_s, fact }
    }
}

impl Iterator for Exchange {
    type Item = Happening;

    fn next(&mut self) -> Option<Happening> {
        if self.whole == BROKEN_EVERY {
            return self.break_one();
        }
        self.whole += 1;
        let tasks_left = self.next_task < self.tasks;
        match self.completions.peek() {
            Some(Reverse((done_s, ..))) if !tasks_left || *done_s < self.next_assignment_s => {
                let Reverse(completion) = self.completions.pop()?;
                Some(self.complete(completion))
            }
            _ if tasks_left => Some(self.assign()),
            _ => None,
        }
    }
}
