//! The faults as they strike the world.

use super::{Berth, World};
use crate::database::DatabaseFault;
use crate::draw::Draw;
use crate::faults::Fault;
use crate::operator::{Wish, operate};
use crate::trace::{Note, WORLD};

impl World {
    /// Lets the faults come that are due.
    pub(super) fn befall(&mut self) {
        for at in 0..self.due.len() {
            let (fault, mean_ms, due_ms) = self.due[at];
            if self.now_ms >= due_ms {
                self.due[at].2 = self.now_ms + 1 + self.draw.below(2 * mean_ms);
                self.strike(fault);
            }
        }
        for (handler, fault) in self.databases.due(self.now_ms) {
            self.strike_database(handler, fault);
        }
    }

    fn strike_database(&mut self, handler: usize, fault: DatabaseFault) {
        self.databases.strike(self.now_ms, handler, fault, &self.trace);
        // Before anything is settled a tool that moves the offset says where the handler is to start.
        if !self.databases.is_settled(handler) {
            return;
        }
        let group = &mut self.network.coordinators[handler];
        let seen = match fault {
            DatabaseFault::OffsetRewound if group.move_offset(&mut self.draw, false) => "offset rewound",
            DatabaseFault::OffsetAhead if group.move_offset(&mut self.draw, true) => "offset put ahead",
            DatabaseFault::OffsetsDeleted => {
                group.offsets.clear();
                "offsets deleted"
            }
            _ => return,
        };
        self.trace.saw(seen);
        self.trace.note(self.now_ms, WORLD, Note::Fault(seen));
    }

    fn strike(&mut self, fault: Fault) {
        let session_ms = self.plan.group.session_ms;
        match fault {
            Fault::Rebalance => {
                self.trace.saw("rebalance");
                for group in &mut self.network.coordinators {
                    group.shuffle(&mut self.draw);
                }
            }
            Fault::Crash => self.crash(),
            Fault::ShortStop => {
                let for_ms = self.draw.between(20, session_ms * 2 / 3);
                let _stopped = self.stop_one(for_ms, false, "short stop");
            }
            Fault::Zombie => {
                let for_ms = session_ms + self.draw.between(1, session_ms * 2);
                if let Some(life) = self.stop_one(for_ms, false, "zombie") {
                    self.databases.stopped(life);
                }
            }
            Fault::Sleep => {
                let for_ms = self.draw.between(session_ms / 2, session_ms * 3);
                let _stopped = self.stop_one(for_ms, true, "sleep");
            }
            Fault::HostJoins => {
                let vacant =
                    self.berths.iter().position(|one| one.host.is_none() && one.starts_at_ms.is_none());
                if let Some(berth) = vacant {
                    self.trace.saw("host joins");
                    self.berths[berth].starts_at_ms = Some(self.now_ms);
                }
            }
            Fault::HostLeaves => {
                if let Some(berth) = self.any_host() {
                    self.trace.saw("host leaves");
                    self.berths[berth].starts_at_ms = Some(self.now_ms + self.draw.between(100, 3_000));
                    self.berths[berth].host.as_ref().unwrap().ask_to_leave();
                }
            }
            Fault::CoordinatorAway => {
                self.trace.saw("coordinator away");
                self.trace.note(self.now_ms, WORLD, Note::Fault("coordinator away"));
                self.network.away_until_ms = self.now_ms + self.draw.between(100, session_ms * 2);
            }
            Fault::CutOff => {
                if let Some(berth) = self.any_host() {
                    self.trace.saw("host cut off");
                    self.trace.note(self.now_ms, berth as u8, Note::Fault("cut off"));
                    let until_ms = self.now_ms + self.draw.between(100, session_ms * 2);
                    self.network.cut_off_until_ms.insert(berth as u8, until_ms);
                }
            }
            Fault::Compaction => {
                if self.topic.compact(&mut self.draw) {
                    self.trace.saw("compaction");
                }
            }
            Fault::OperatorResumes => self.operator(Wish::Resume),
            Fault::OperatorSkips => self.operator(Wish::Skip),
            Fault::ForeignMetadata => self.network.spoil(self.now_ms),
        }
    }

    /// A berth with a host that runs.
    fn any_host(&mut self) -> Option<usize> {
        let runs = |berth: &Berth| berth.host.as_ref().is_some_and(|host| !host.is_stopped());
        let running: Vec<usize> =
            self.berths.iter().enumerate().filter(|(_, berth)| runs(berth)).map(|(at, _)| at).collect();
        self.draw.pick(&running)
    }

    fn crash(&mut self) {
        let Some(berth) = self.any_host() else { return };
        self.trace.saw("crash");
        if let Some(host) = self.berths[berth].host.take() {
            self.databases.crashed(self.now_ms, host.process.life);
            host.kill();
        }
        self.berths[berth].starts_at_ms = Some(self.now_ms + self.draw.between(10, 3_000));
    }

    /// Answers which process it was, if there is one that runs.
    fn stop_one(&mut self, for_ms: u64, asleep: bool, seen: &'static str) -> Option<u64> {
        let berth = self.any_host()?;
        self.trace.saw(seen);
        self.trace.note(self.now_ms, berth as u8, Note::Fault(seen));
        let host = self.berths[berth].host.as_mut().unwrap();
        host.stop(self.now_ms + for_ms, asleep);
        Some(host.process.life)
    }

    pub(super) fn operator(&mut self, wish: Wish) {
        for berth in &self.berths {
            if let Some(host) = berth.host.as_ref().filter(|host| !host.is_stopped()) {
                let draw = Draw::of(&[self.draw.next()]);
                host.runtime().spawn(operate(host.process.clone(), draw, wish));
            }
        }
    }
}
