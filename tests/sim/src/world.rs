//! The world of one seed: hosts, network, brokers and operators, turn by turn, and the faults between them.
//!
//! Everything happens on one thread. Each host gets on by itself for one turn at a time, in its own
//! runtime with its own clocks; what it sends arrives a turn later at the earliest. So hosts cannot see how
//! far the others are, and the seed alone decides what happens.

mod striking;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::database::{Databases, Row, State};
use crate::draw::Draw;
use crate::faults::Fault;
use crate::host::{Host, Remains};
use crate::log::Topic;
use crate::mutation::Mutation;
use crate::network::Network;
use crate::operator::Wish;
use crate::plan::Plan;
use crate::process::Process;
use crate::trace::{Note, Place, Trace, WORLD};
use crate::transactions::Transactions;

/// How long everything may take to end once the world is calm.
pub const CALM_LIMIT_MS: u64 = 90_000;
/// How long hosts may take to leave.
const LEAVE_LIMIT_MS: u64 = 20_000;
/// How long hosts may take to come to rest once everything is committed.
const REST_LIMIT_MS: u64 = 20_000;
/// Time between two rounds of the operator in the calm.
const HEAL_EVERY_MS: u64 = 500;

/// How the world ended.
pub struct Ending {
    /// Everything was committed before the limit.
    pub drained: bool,
    /// What was not, for people.
    pub stuck: String,
    /// What hosts still hold, long after everything was committed.
    pub restless: Vec<Remains>,
    /// What the hosts left behind.
    pub remains: Vec<Remains>,
    /// Hosts that did not leave in time.
    pub stayed: Vec<u8>,
}

/// A place for a host, which may be empty for a while.
#[derive(Default)]
struct Berth {
    host: Option<Host>,
    /// When a host starts here.
    starts_at_ms: Option<u64>,
}

pub struct World {
    plan: Arc<Plan>,
    mutation: Option<Mutation>,
    now_ms: u64,
    draw: Draw,
    trace: Trace,
    topic: Topic,
    network: Network,
    databases: Databases,
    /// Counts processes.
    lives: u64,
    berths: Vec<Berth>,
    numbers: Arc<AtomicU64>,
    calm: Arc<AtomicBool>,
    /// When each kind of timed fault comes next.
    due: Vec<(Fault, u64, u64)>,
    written: usize,
    remains: Vec<Remains>,
}

impl World {
    pub fn new(plan: Arc<Plan>, mutation: Option<Mutation>, trace: Trace) -> Self {
        let mut draw = Draw::of(&[plan.seed, 3]);
        let due =
            plan.faults.timed.iter().map(|(fault, mean_ms)| (*fault, *mean_ms, draw.below(2 * mean_ms)));
        let due = due.collect();
        let mut world = Self {
            network: Network::new(plan.clone(), trace.clone()),
            databases: Databases::new(&plan, mutation, &trace),
            lives: 0,
            topic: Topic::new(plan.log.partitions),
            mutation,
            now_ms: 0,
            draw,
            trace,
            berths: (0..plan.hosts_max).map(|_| Berth::default()).collect(),
            numbers: Arc::default(),
            calm: Arc::default(),
            due,
            written: 0,
            remains: Vec::new(),
            plan,
        };
        let early = world.plan.log.records as u64 * world.plan.log.early_permille / 1_000;
        world.write_up_to(early as usize);
        for berth in 0..usize::from(world.plan.hosts) {
            world.berths[berth].starts_at_ms = Some(world.draw.below(300));
        }
        world
    }

    /// The topic as it is now.
    pub fn topic(&self) -> &Topic {
        &self.topic
    }

    /// What stands in the databases now, by handler.
    pub fn databases(&self) -> Vec<Option<State>> {
        self.databases.states()
    }

    /// What a reader of committed transactions sees, by handler.
    pub fn seen(&self) -> Vec<Vec<Row>> {
        self.network.transactions.iter().map(Transactions::seen).collect()
    }

    /// Lives through the storm and the calm after it.
    pub fn run(&mut self) -> Ending {
        while self.now_ms < self.plan.storm_ms {
            self.befall();
            let share = self.now_ms as f64 / self.plan.storm_ms as f64;
            let early = self.plan.log.early_permille as f64 / 1_000.0;
            self.write_up_to((self.plan.log.records as f64 * (early + (1.0 - early) * share)) as usize);
            self.turn();
        }
        self.become_calm();
        let drained = self.settle();
        let stuck = if drained { String::new() } else { self.stuck() };
        let restless = if drained { self.rest() } else { Vec::new() };
        let stayed = self.leave();
        Ending { drained, stuck, restless, remains: std::mem::take(&mut self.remains), stayed }
    }

    fn write_up_to(&mut self, records: usize) {
        while self.written < records {
            self.topic.append(&mut self.draw, &self.plan.log);
            self.written += 1;
        }
    }

    /// One turn of everybody.
    fn turn(&mut self) {
        for berth in 0..self.berths.len() {
            self.start_if_due(berth);
        }
        self.network.deliver(self.now_ms);
        self.databases.deliver(self.now_ms);
        let until_ms = self.now_ms + self.plan.turn_ms;
        for berth in &mut self.berths {
            if let Some(host) = &mut berth.host {
                host.run_to(until_ms);
                self.network.take(until_ms, &host.process.wire);
                for (handler, line) in host.process.lines.iter().enumerate() {
                    line.iter().for_each(|line| self.databases.take(until_ms, handler, line));
                }
            }
        }
        self.now_ms = until_ms;
        for berth in &mut self.berths {
            if let Some(host) = berth.host.take_if(|host| host.has_left() && host.remains().tasks == 0) {
                self.remains.push(host.remains());
            }
        }
    }

    fn start_if_due(&mut self, berth: usize) {
        let vacant = self.berths[berth].host.is_none();
        if vacant && self.berths[berth].starts_at_ms.is_some_and(|at_ms| at_ms <= self.now_ms) {
            self.lives += 1;
            let process = Process::new(
                berth as u8,
                self.lives,
                self.now_ms,
                self.plan.clone(),
                self.topic.clone(),
                self.trace.clone(),
                self.numbers.clone(),
                self.calm.clone(),
                self.mutation,
            );
            self.berths[berth] = Berth { host: Some(Host::start(process, self.now_ms)), starts_at_ms: None };
        }
    }

    /// No fault comes any more, and at least one host runs.
    fn become_calm(&mut self) {
        self.write_up_to(self.plan.log.records);
        if self.plan.log.holes_permille > 0 {
            self.topic.mark_ends();
        }
        self.trace.note(self.now_ms, WORLD, Note::Calm);
        self.calm.store(true, Ordering::Relaxed);
        self.network.calm = true;
        self.databases.become_calm();
        self.network.away_until_ms = 0;
        self.network.cut_off_until_ms.clear();
        let any = self.berths.iter().any(|berth| berth.host.is_some() || berth.starts_at_ms.is_some());
        if !any {
            self.berths[0].starts_at_ms = Some(self.now_ms);
        }
    }

    /// Waits until everything is committed.
    fn settle(&mut self) -> bool {
        let ends = self.topic.ends();
        let until_ms = self.now_ms + CALM_LIMIT_MS;
        let mut next_heal_ms = self.now_ms;
        while self.now_ms < until_ms {
            if self.network.all_committed(&ends) && self.unclaimed().is_none() {
                return true;
            }
            if self.now_ms >= next_heal_ms {
                next_heal_ms = self.now_ms + HEAL_EVERY_MS;
                self.operator(Wish::Heal);
            }
            self.turn();
        }
        false
    }

    /// Waits until no host holds more than it must. Answers which ones do not come to rest.
    fn rest(&mut self) -> Vec<Remains> {
        let until_ms = self.now_ms + REST_LIMIT_MS;
        loop {
            self.turn();
            let restless = self.berths.iter().filter_map(|berth| berth.host.as_ref());
            let restless: Vec<Remains> =
                restless.filter(|host| !host.is_at_rest()).map(Host::remains).collect();
            if restless.is_empty() || self.now_ms >= until_ms {
                return restless;
            }
        }
    }

    fn stuck(&self) -> String {
        let ends = self.topic.ends();
        let offsets = self.network.coordinators.iter().map(|group| {
            let told = group.offsets.iter().map(|(partition, one)| format!("{partition}: {}", one.offset));
            told.collect::<Vec<_>>().join(", ")
        });
        let unclaimed = self.unclaimed();
        format!(
            "ends {ends:?}, committed {:?}, not in the database {unclaimed:?}",
            offsets.collect::<Vec<_>>()
        )
    }

    /// The first record that has not ended in a handler's database. A backup that stood again last may have
    /// taken back what the group was told.
    fn unclaimed(&self) -> Option<Place> {
        self.topic.with(|logs| {
            let partitions = (0..).zip(logs.iter());
            let mut lacking = partitions.filter_map(|(partition, log)| {
                let wanted = log.records.iter().filter(|record| !self.plan.is_skipped(record));
                let offsets: Vec<i64> = wanted.map(|record| record.offset).collect();
                self.databases.lacks(partition, &offsets)
            });
            lacking.next()
        })
    }

    /// Everybody puts everything down. Answers who does not.
    fn leave(&mut self) -> Vec<u8> {
        for berth in &mut self.berths {
            berth.starts_at_ms = None;
            if let Some(host) = &berth.host {
                host.ask_to_leave();
            }
        }
        let until_ms = self.now_ms + LEAVE_LIMIT_MS;
        while self.now_ms < until_ms && self.berths.iter().any(|berth| berth.host.is_some()) {
            self.turn();
        }
        let staying = self.berths.iter_mut().filter_map(|berth| berth.host.take());
        let mut stayed = Vec::new();
        for host in staying {
            stayed.push(host.process.host);
            self.remains.push(host.remains());
            host.process.kill();
        }
        stayed
    }
}
