//! The model of the network between hosts and brokers: latency, loss, and what brokers answer.
//!
//! What one host sends arrives in the order of its sending, as on one connection, unless the connection
//! broke. A crashed host's requests still arrive; its answers find nobody.

use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::coordinator::{CommitAnswer, Coordinator, Position};
use crate::draw::Draw;
use crate::plan::Plan;
use crate::trace::{Note, Place, Trace, WORLD};
use crate::wire::{Answer, Call, Request, Wire};

/// What travels.
#[derive(Debug)]
enum Parcel {
    Request(Call),
    Answer(oneshot::Sender<Answer>, Answer),
}

/// Ordered by arrival, then by sending.
#[derive(Debug)]
struct Travelling {
    at_ms: u64,
    number: u64,
    /// Which host it goes to or comes from.
    host: u8,
    parcel: Parcel,
}

impl PartialEq for Travelling {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}
impl Eq for Travelling {}
impl PartialOrd for Travelling {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
/// The greatest is the one that arrives first, as the heap wants it.
impl Ord for Travelling {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (other.at_ms, other.number).cmp(&(self.at_ms, self.number))
    }
}

/// All connections, and the brokers behind them.
pub struct Network {
    plan: Arc<Plan>,
    draw: Draw,
    trace: Trace,
    travelling: BinaryHeap<Travelling>,
    sent: u64,
    /// When the last request of each host arrives.
    last_arrival_ms: BTreeMap<u8, u64>,
    pub coordinators: Vec<Coordinator>,
    /// Until when the coordinators answer nobody.
    pub away_until_ms: u64,
    /// Until when a host is cut off.
    pub cut_off_until_ms: BTreeMap<u8, u64>,
    pub calm: bool,
}

impl Network {
    pub fn new(plan: Arc<Plan>, trace: Trace) -> Self {
        let coordinator = || Coordinator::new(plan.group.clone(), plan.log.partitions);
        Self {
            coordinators: (0..plan.handlers).map(|_| coordinator()).collect(),
            draw: Draw::of(&[plan.seed, 1]),
            plan,
            trace,
            travelling: BinaryHeap::new(),
            sent: 0,
            last_arrival_ms: BTreeMap::new(),
            away_until_ms: 0,
            cut_off_until_ms: BTreeMap::new(),
            calm: false,
        }
    }

    fn latency_ms(&mut self) -> u64 {
        let (low, high) = self.plan.group.latency_ms;
        self.draw.between(low, high)
    }

    fn dispatch(&mut self, at_ms: u64, host: u8, parcel: Parcel) {
        self.sent += 1;
        self.travelling.push(Travelling { at_ms, number: self.sent, host, parcel });
    }

    /// Takes what a host has sent by now.
    pub fn take(&mut self, now_ms: u64, wire: &Wire) {
        for call in wire.take_sent() {
            let host = call.host;
            let mut at_ms = now_ms + self.latency_ms();
            if let Request::Commit { .. } = &call.request
                && !self.calm
            {
                let faults = self.plan.faults.requests;
                if self.draw.permille(faults.commit_dropped) {
                    self.trace.saw("commit dropped");
                    continue;
                }
                if self.draw.permille(faults.commit_strays) {
                    self.trace.saw("commit astray");
                    let at_ms = at_ms + self.draw.between(100, 2_000);
                    self.dispatch(at_ms, host, Parcel::Request(call));
                    continue;
                }
                if self.draw.permille(faults.commit_delayed) {
                    self.trace.saw("commit delayed");
                    at_ms += self.draw.between(50, self.plan.group.session_ms);
                }
            }
            let last_ms = self.last_arrival_ms.entry(host).or_default();
            *last_ms = at_ms.max(*last_ms);
            let at_ms = *last_ms;
            self.dispatch(at_ms, host, Parcel::Request(call));
        }
    }

    /// Delivers what has arrived by now.
    pub fn deliver(&mut self, now_ms: u64) {
        while self.travelling.peek().is_some_and(|first| first.at_ms <= now_ms) {
            let Some(Travelling { host, parcel, .. }) = self.travelling.pop() else { break };
            if self.cut_off_until_ms.get(&host).is_some_and(|until_ms| now_ms < *until_ms) {
                continue;
            }
            match parcel {
                // Whoever asked may be gone, or have lost patience.
                Parcel::Answer(reply, answer) => drop(reply.send(answer)),
                Parcel::Request(call) => self.serve(now_ms, call),
            }
        }
        for (handler, coordinator) in self.coordinators.iter_mut().enumerate() {
            if now_ms < self.away_until_ms {
                continue;
            }
            for (member, host) in coordinator.tick(now_ms) {
                self.trace.saw("member evicted");
                self.trace.note(now_ms, host, Note::Evicted { handler: handler as u8, member });
            }
        }
    }

    fn serve(&mut self, now_ms: u64, call: Call) {
        let Call { host, handler, request, reply } = call;
        if now_ms < self.away_until_ms {
            return;
        }
        let lost = matches!(request, Request::Commit { .. })
            && !self.calm
            && self.draw.permille(self.plan.faults.requests.answer_lost);
        let answer = self.answer(now_ms, host, handler, request);
        if lost {
            self.trace.saw("commit answer lost");
            return;
        }
        let at_ms = now_ms + self.latency_ms();
        self.dispatch(at_ms, host, Parcel::Answer(reply, answer));
    }

    fn answer(&mut self, now_ms: u64, host: u8, handler: u8, request: Request) -> Answer {
        let faults = self.plan.faults.requests;
        let coordinator = &mut self.coordinators[usize::from(handler)];
        match request {
            Request::Heartbeat { member, owned } => {
                match coordinator.heartbeat(now_ms, host, member, owned) {
                    Some(welcome) => Answer::Welcome(welcome),
                    None => Answer::UnknownMember,
                }
            }
            Request::Leave { member } => {
                coordinator.leave(member);
                Answer::Left
            }
            Request::Fetch { partitions } => Answer::Fetched(coordinator.fetch(&partitions)),
            Request::Commit { .. } if !self.calm && self.draw.permille(faults.commit_refused) => {
                self.trace.saw("commit refused");
                Answer::Refused
            }
            Request::Commit { member, epoch, positions } => {
                match coordinator.commit(now_ms, member, epoch, &positions) {
                    Ok(parts) => self.committed(now_ms, host, handler, &positions, parts),
                    Err(_) => {
                        self.trace.saw("commit of a stranger refused");
                        Answer::Refused
                    }
                }
            }
            Request::Bury if !self.calm && self.draw.permille(faults.letter_refused) => {
                self.trace.saw("dead letter refused");
                Answer::LetterRefused
            }
            Request::Bury => Answer::Buried,
        }
    }

    fn committed(
        &mut self,
        now_ms: u64,
        host: u8,
        handler: u8,
        positions: &[Position],
        parts: CommitAnswer,
    ) -> Answer {
        for (position, (partition, applied)) in positions.iter().zip(&parts) {
            let Ok(rewound) = *applied else { continue };
            let place = Place { handler, partition: *partition };
            let (number, offset) = (position.number, position.offset);
            self.trace.note(now_ms, host, Note::Applied { place, number, offset, rewound });
            if rewound {
                self.trace.saw("commit went back");
            }
        }
        Answer::Committed(
            parts.into_iter().map(|(partition, applied)| (partition, applied.map(drop))).collect(),
        )
    }

    /// Another product writes its metadata over a group's.
    pub fn spoil(&mut self, now_ms: u64) {
        let beside = self.plan.databases.iter().map(Option::is_some);
        // Beside a database the commit is a report: tools that move it are faults of their own.
        for ((handler, coordinator), _) in
            self.coordinators.iter_mut().enumerate().zip(beside).filter(|(_, beside)| !beside)
        {
            if let Some(partition) = coordinator.spoil(&mut self.draw) {
                self.trace.saw("foreign metadata");
                let place = Place { handler: handler as u8, partition };
                self.trace.note(now_ms, WORLD, Note::Spoiled { place });
            }
        }
    }

    /// Whether every group has committed the end of every partition.
    pub fn all_committed(&self, ends: &[i64]) -> bool {
        self.coordinators.iter().all(|group| {
            ends.iter().zip(0..).all(|(end, partition)| {
                *end == 0 || group.offsets.get(&partition).is_some_and(|committed| committed.offset == *end)
            })
        })
    }
}
