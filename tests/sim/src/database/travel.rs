//! What travels between hosts and databases, and how long that takes.

use std::collections::BTreeMap;

use super::line::Line;
use super::plan::{DatabaseFault, DatabasePlan};
use super::request::{Answer, Call};
use super::server::{Reply, Server};
use super::state::State;
use crate::draw::Draw;
use crate::mutation::Mutation;
use crate::plan::Plan;
use crate::trace::{Note, Place, Trace, WORLD};

/// What travels.
enum Parcel {
    Request(Call),
    Answer {
        reply: Reply,
        /// The process that it tells of a commit.
        committed: Option<u64>,
    },
    /// A process is gone, and its connections with it.
    Closed {
        life: u64,
    },
}

/// One database, with its connections.
struct One {
    server: Server,
    /// By arrival, then by sending.
    travelling: BTreeMap<(u64, u64), Parcel>,
    sent: u64,
    /// When the last request of each connection arrives: of a transaction, or of a process beside those.
    last_arrival_ms: BTreeMap<(u64, u64), u64>,
    /// When each kind of timed fault comes next.
    due: Vec<(DatabaseFault, u64, u64)>,
}

/// All databases, by handler.
pub struct Databases(Vec<Option<One>>);

impl Databases {
    pub fn new(plan: &Plan, mutation: Option<Mutation>, trace: &Trace) -> Self {
        let database = |(handler, database): (usize, &Option<DatabasePlan>)| {
            let database = database.clone()?;
            let mut draw = Draw::of(&[plan.seed, 11, handler as u64]);
            let timed = database.timed.iter();
            let due = timed.map(|(fault, mean_ms)| (*fault, *mean_ms, draw.below(2 * mean_ms))).collect();
            let server = Server::new(plan.seed, handler as u8, database, mutation, trace.clone());
            let (travelling, last_arrival_ms) = (BTreeMap::new(), BTreeMap::new());
            Some(One { server, travelling, sent: 0, last_arrival_ms, due })
        };
        Self(plan.databases.iter().enumerate().map(database).collect())
    }

    /// Takes what a process has sent by now to the database of a handler.
    pub fn take(&mut self, now_ms: u64, handler: usize, line: &Line) {
        let Some(one) = &mut self.0[handler] else { return };
        for call in line.take_sent() {
            let key = (call.life, call.request.transaction().unwrap_or(0));
            let mut at_ms = now_ms + one.latency_ms();
            if one.server.chance(one.server.plan.delayed) {
                at_ms += one.server.draw.between(50, one.server.plan.ask_ms);
            }
            let last_ms = one.last_arrival_ms.entry(key).or_default();
            *last_ms = at_ms.max(*last_ms);
            let at_ms = *last_ms;
            one.dispatch(at_ms, Parcel::Request(call));
        }
    }

    /// Delivers what has arrived by now.
    pub fn deliver(&mut self, now_ms: u64) {
        for one in self.0.iter_mut().flatten() {
            one.deliver(now_ms);
        }
    }

    /// A process has ended. Its connections are closed after what they carry; where the whole machine is
    /// gone, nobody closes them.
    pub fn crashed(&mut self, now_ms: u64, life: u64) {
        for one in self.0.iter_mut().flatten() {
            one.crashed(now_ms, life);
        }
    }

    /// A process stands still. Its connections stay, and what travels arrives.
    pub fn stopped(&self, life: u64) {
        self.0.iter().flatten().for_each(|one| one.stopped(life));
    }

    /// The timed faults that are due now.
    pub fn due(&mut self, now_ms: u64) -> Vec<(usize, DatabaseFault)> {
        let mut struck = Vec::new();
        for (handler, one) in self.0.iter_mut().enumerate() {
            let Some(one) = one else { continue };
            for (fault, mean_ms, due_ms) in &mut one.due {
                if now_ms >= *due_ms {
                    *due_ms = now_ms + 1 + one.server.draw.below(2 * *mean_ms);
                    struck.push((handler, *fault));
                }
            }
        }
        struck
    }

    /// A fault of the database itself.
    pub fn strike(&mut self, now_ms: u64, handler: usize, fault: DatabaseFault, trace: &Trace) {
        let Some(one) = &mut self.0[handler] else { return };
        let away_ms = one.server.draw.between(50, one.server.plan.ask_ms * 2);
        match fault {
            DatabaseFault::Down => {
                trace.saw("database down");
                trace.note(now_ms, WORLD, Note::Fault("database down"));
                one.go_down(now_ms, away_ms);
            }
            DatabaseFault::Backup => one.server.back_up(),
            DatabaseFault::Restore => {
                let Some(back_to) = one.server.restore() else { return };
                trace.saw("database restored");
                trace.note(now_ms, WORLD, Note::Restored { handler: handler as u8, back_to });
                // The shortest that a host can miss.
                one.go_down(now_ms, away_ms / 10);
            }
            DatabaseFault::OffsetRewound | DatabaseFault::OffsetAhead | DatabaseFault::OffsetsDeleted => {}
        }
    }

    pub fn become_calm(&mut self) {
        self.0.iter_mut().flatten().for_each(|one| one.server.become_calm());
    }

    /// Whether the starts of a handler's partitions are settled.
    pub fn is_settled(&self, handler: usize) -> bool {
        self.0[handler].as_ref().is_some_and(|one| one.server.state.is_settled())
    }

    /// The first database that lacks the end of one of these events of a partition.
    pub fn lacks(&self, partition: i32, offsets: &[i64]) -> Option<Place> {
        let lacks = |one: &One| {
            let stream = one.server.state.streams.get(&partition);
            offsets.iter().any(|offset| !stream.is_some_and(|stream| stream.ended.contains_key(offset)))
        };
        let at = self.0.iter().position(|one| one.as_ref().is_some_and(lacks))?;
        Some(Place { handler: at as u8, partition })
    }

    /// What stands in each in the end.
    pub fn states(&self) -> Vec<Option<State>> {
        self.0.iter().map(|one| Some(one.as_ref()?.server.state.clone())).collect()
    }
}

impl One {
    fn latency_ms(&mut self) -> u64 {
        let (low, high) = self.server.plan.latency_ms;
        self.server.draw.between(low, high)
    }

    fn dispatch(&mut self, at_ms: u64, parcel: Parcel) {
        self.sent += 1;
        self.travelling.insert((at_ms, self.sent), parcel);
    }

    fn answer(&mut self, now_ms: u64, reply: Reply, committed: Option<u64>) {
        let at_ms = now_ms + self.latency_ms();
        self.dispatch(at_ms, Parcel::Answer { reply, committed });
    }

    fn deliver(&mut self, now_ms: u64) {
        while let Some(first) = self.travelling.first_entry().filter(|first| first.key().0 <= now_ms) {
            match first.remove() {
                // Whoever asked may be gone, or have lost patience.
                Parcel::Answer { reply: (_, reply, answer, boot), .. } => drop(reply.send((answer, boot))),
                Parcel::Closed { life } => self.server.close(life),
                Parcel::Request(call) => {
                    let commits = call.is_commit().then_some(call.life);
                    if let Some(reply) = self.server.serve(now_ms, call) {
                        let committed = commits.filter(|_| reply.2 == Answer::Done);
                        self.answer(now_ms, reply, committed);
                    }
                    self.tick(now_ms);
                }
            }
        }
        self.tick(now_ms);
    }

    fn tick(&mut self, now_ms: u64) {
        for reply in self.server.tick(now_ms) {
            self.answer(now_ms, reply, None);
        }
    }

    fn go_down(&mut self, now_ms: u64, for_ms: u64) {
        for reply in self.server.go_down(now_ms + for_ms) {
            self.answer(now_ms, reply, None);
        }
    }

    /// Whether a commit of a process is on its way to the server.
    fn has_commit_under_way(&self, life: u64) -> bool {
        let commits = |parcel: &Parcel| matches!(parcel, Parcel::Request(call) if call.life == life && call.is_commit());
        self.travelling.values().any(commits)
    }

    /// A process may be in each of these at once, with other runs.
    fn stopped(&self, life: u64) {
        let answers =
            |parcel: &Parcel| matches!(parcel, Parcel::Answer { committed: Some(of), .. } if *of == life);
        if self.travelling.values().any(answers) {
            self.server.trace.saw("zombie: commit unanswered");
        }
        if self.has_commit_under_way(life) {
            self.server.trace.saw("zombie: commit under way");
        } else if self.server.has_open(life) {
            self.server.trace.saw("zombie: amid a transaction");
        }
    }

    fn crashed(&mut self, now_ms: u64, life: u64) {
        if self.has_commit_under_way(life) {
            self.server.trace.saw("crash: commit under way");
        } else if self.server.has_open(life) {
            self.server.trace.saw("crash: amid a transaction");
        }
        if !self.server.plan.single_writer && self.server.chance(300) {
            return;
        }
        let of_life = self.last_arrival_ms.range((life, 0)..=(life, u64::MAX)).map(|(_, at_ms)| *at_ms);
        let at_ms = of_life.fold(now_ms, u64::max) + self.latency_ms();
        self.dispatch(at_ms, Parcel::Closed { life });
    }
}
