//! One seed from its plan to its verdict: gives writers, faults and hosts their turns.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use keylane_sim::Draw;

use crate::checks::{self, Story};
use crate::faults::Later;
use crate::host::Host;
use crate::mistake::Mistake;
use crate::plan::Plan;
use crate::shared::{Health, Shared};
use crate::table::Table;
use crate::writers::{Ledger, Mark, Writer, name_of_row};

/// Time between two backups.
const BACKUP_EVERY_MS: u64 = 500;
/// How long an operator takes to see that the relays have stopped.
const OPERATOR_MS: u64 = 2_000;
/// How long after a reset relays that run have heard of it: they look four times in a lease.
const HEARD_MS: u64 = 10_000;
/// How long after the last fault rows that Kafka refuses are dropped.
const DROP_AFTER_MS: u64 = 20_000;
/// How long after the last fault all must have left: the longest wait of a topic is five minutes.
const EMPTY_AFTER_MS: u64 = 600_000;

/// What became of one seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// What was reached how often.
    pub seen: BTreeMap<&'static str, u64>,
    /// What happened, line by line.
    pub trace: Vec<String>,
    /// The checks that found something, each with what.
    pub breaches: Vec<(&'static str, String)>,
}

/// The database at a moment.
struct Backup {
    at_ms: u64,
    table: Table,
    marks: Vec<Mark>,
    ledger: Ledger,
}

/// Everything.
pub struct World {
    pub now_ms: u64,
    pub hosts: Vec<Option<Host>>,
    /// How long hosts that were asked to end stay away.
    pub back_after_ms: Vec<u64>,
    plan: Plan,
    lives: Vec<u64>,
    shared: Arc<Mutex<Shared>>,
    writers: Vec<Writer>,
    ledger: Ledger,
    backups: Vec<Backup>,
    laters: Vec<(u64, Later)>,
    /// Since when relays say that they have stopped, and why.
    stopped: Option<(u64, String)>,
    /// What the last reset answered: a host that waits for a slow database says it for long.
    answered: Option<String>,
    /// When all have heard of the last reset.
    reset_heard_ms: u64,
    story: Story,
}

/// Lives through a seed and checks it.
#[must_use]
pub fn live(seed: u64, mistake: Option<Mistake>) -> Report {
    let mut world = World::new(Plan::of(seed), mistake);
    world.run();
    let World { shared, ledger, story, .. } = world;
    let mut shared = shared.lock().unwrap();
    let breaches = checks::check(&story, &ledger, &shared);
    Report {
        seed,
        seen: std::mem::take(&mut shared.seen),
        trace: std::mem::take(&mut shared.trace),
        breaches,
    }
}

impl World {
    fn new(plan: Plan, mistake: Option<Mistake>) -> Self {
        let mut world = Self {
            now_ms: 0,
            hosts: (0..plan.hosts).map(|_| None).collect(),
            back_after_ms: vec![0; plan.hosts],
            lives: vec![0; plan.hosts],
            shared: Arc::new(Mutex::new(Shared::new(plan.seed, mistake))),
            writers: (0..plan.writers).map(|number| Writer::new(number, plan.seed)).collect(),
            ledger: Ledger::new(),
            backups: Vec::new(),
            laters: Vec::new(),
            stopped: None,
            answered: None,
            reset_heard_ms: 0,
            story: Story::new(plan.faults.is_empty() && plan.stopped_early_permille == 0),
            plan,
        };
        (0..world.plan.hosts).for_each(|host| world.start(host));
        world
    }

    pub fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap()
    }

    pub fn saw(&self, what: &'static str) {
        self.shared().saw(what);
    }

    pub fn later(&mut self, after_ms: u64, later: Later) {
        self.laters.push((self.now_ms + after_ms, later));
    }

    pub fn start(&mut self, host: usize) {
        self.lives[host] += 1;
        let lives = Host::start(host, self.lives[host], self.now_ms, &self.plan, &self.shared);
        let mut draw = Draw::of(&[self.plan.seed, 6, host as u64, self.lives[host]]);
        if draw.permille(self.plan.stopped_early_permille) {
            lives.stop_at(draw.below(12), draw.between(1, 20_000));
        }
        self.hosts[host] = Some(lives);
    }

    fn run(&mut self) {
        let mut faults = std::mem::take(&mut self.plan.faults).into_iter().peekable();
        let mut quiet_since_ms = None;
        loop {
            self.now_ms += self.plan.step_ms;
            while let Some((_, fault)) = faults.next_if(|(at_ms, _)| *at_ms <= self.now_ms) {
                self.strike(fault);
            }
            let now_ms = self.now_ms;
            let (due, laters) = self.laters.drain(..).partition::<Vec<_>, _>(|(at_ms, _)| *at_ms <= now_ms);
            self.laters = laters;
            due.into_iter().for_each(|(_, later)| self.heal(later));
            self.turns();
            let is_over = now_ms >= self.plan.length_ms && self.laters.is_empty() && faults.peek().is_none();
            if !is_over || !self.writers.iter().all(Writer::is_idle) {
                continue;
            }
            let quiet_ms = now_ms - *quiet_since_ms.get_or_insert(now_ms);
            if self.is_done(quiet_ms) || quiet_ms > EMPTY_AFTER_MS {
                break;
            }
        }
        let left = self.shared().table.waiting().map(name_of_row).collect();
        self.story.left = left;
    }

    /// Gives everybody a turn.
    fn turns(&mut self) {
        let now_ms = self.now_ms;
        {
            let mut shared = self.shared.lock().unwrap();
            if shared.database != Health::Away {
                let is_over = now_ms >= self.plan.length_ms;
                for writer in &mut self.writers {
                    writer.turn(&self.plan, now_ms, is_over, &mut shared.table, &mut self.ledger);
                }
            }
        }
        for host in 0..self.hosts.len() {
            let Some(lives) = &mut self.hosts[host] else { continue };
            lives.run_to(now_ms);
            for (_, for_ms) in self.shared.lock().unwrap().stops.drain(..) {
                lives.stop(now_ms + for_ms);
            }
            if lives.has_left() {
                self.hosts[host] = None;
                self.later(self.back_after_ms[host], Later::Back { host });
            }
        }
        self.operate();
        if self.backups.last().is_none_or(|backup| backup.at_ms + BACKUP_EVERY_MS <= now_ms) {
            let (table, ledger) = (self.shared().table.clone(), self.ledger.clone());
            let marks = self.writers.iter().map(Writer::mark).collect();
            self.backups.push(Backup { at_ms: now_ms, table, marks, ledger });
        }
    }

    /// The operator resets an outbox whose relays have stopped.
    fn operate(&mut self) {
        // What a host says may still be from before the last reset.
        if self.hosts.iter().flatten().any(Host::is_relaying) || self.now_ms < self.reset_heard_ms {
            self.stopped = None;
            return;
        }
        // One that has stopped looks again and again, and says so each time.
        let is_new = |reason: &String| self.answered.as_ref() != Some(reason);
        let said = self.hosts.iter().flatten().filter_map(Host::stopped_because).find(is_new);
        self.stopped = self.stopped.take().or(said.map(|reason| (self.now_ms, reason)));
        let since = self.stopped.take_if(|(since_ms, _)| *since_ms + OPERATOR_MS <= self.now_ms);
        let Some((_, reason)) = since else { return };
        self.answered = Some(reason.clone());
        self.reset(Some(reason));
    }

    /// An operator resets the outbox, because relays have stopped or for no reason.
    pub fn reset(&mut self, stopped: Option<String>) {
        let now_ms = self.now_ms;
        let mut shared = self.shared.lock().unwrap();
        shared.note(now_ms, format!("an operator resets: {stopped:?}"));
        shared.saw(if stopped.is_some() { "outbox reset" } else { "outbox reset for no reason" });
        shared.table.reset(now_ms);
        shared.is_unsettled = true;
        self.story.reset_at(shared.broker.seen.len(), stopped);
        drop(shared);
        self.stopped = None;
        self.reset_heard_ms = now_ms + HEARD_MS;
    }

    /// The database is set back to what it was.
    pub fn restore(&mut self, from_ms_ago: u64) {
        let at_ms = self.now_ms.saturating_sub(from_ms_ago);
        self.backups.retain(|backup| backup.at_ms <= at_ms);
        let Some(backup) = self.backups.last() else { return };
        let mut shared = self.shared.lock().unwrap();
        shared.table = shared.table.restored(&backup.table);
        self.ledger = backup.ledger.clone();
        for (writer, mark) in self.writers.iter_mut().zip(&backup.marks) {
            writer.restore(*mark);
        }
        shared.saw("database restored");
        shared.is_unsettled = true;
        let waiting = shared.table.waiting().map(name_of_row).collect();
        self.story.restored_at(shared.broker.seen.len(), waiting);
        self.answered = None;
    }

    /// Whether all has left. In the end Kafka takes what it has refused, or an operator drops it.
    fn is_done(&mut self, quiet_ms: u64) -> bool {
        let mut shared = self.shared.lock().unwrap();
        shared.broker.takes_all = self.plan.is_mended;
        if quiet_ms > DROP_AFTER_MS && !self.plan.is_mended {
            let (dropped, rows) = shared.table.drop_refused();
            if dropped.dropped > 0 {
                shared.saw("refused rows dropped");
            }
            self.story.dropped.extend(rows.iter().map(name_of_row));
        }
        shared.table.is_empty()
    }
}
