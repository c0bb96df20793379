//! The model of the network between hosts and brokers: latency, loss, and what brokers answer.
//!
//! What one host sends arrives in the order of its sending, as on one connection, unless the connection
//! broke. A crashed host's requests still arrive; its answers find nobody.

use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::coordinator::{CommitAnswer, Coordinator, Position};
use crate::cuts::{self, Fault, topic_of};
use crate::draw::Draw;
use crate::plan::Plan;
use crate::trace::{Note, Place, Trace, WORLD};
use crate::transactions::{End, Ticket, Transactions};
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
    /// When the last request of each connection arrives: a host's, and its producers'.
    last_arrival_ms: BTreeMap<(u8, bool), u64>,
    /// When the last commit arrives that strayed, by host and handler.
    strays_until_ms: BTreeMap<(u8, u8), u64>,
    pub coordinators: Vec<Coordinator>,
    /// What producers write, by handler.
    pub transactions: Vec<Transactions>,
    /// Transactions of which nobody hears: those that have their end so, and those that do not get it.
    unheard: BTreeMap<u64, bool>,
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
            transactions: (0..plan.handlers).map(|_| Transactions::default()).collect(),
            draw: Draw::of(&[plan.seed, 1]),
            plan,
            trace,
            travelling: BinaryHeap::new(),
            sent: 0,
            unheard: BTreeMap::new(),
            last_arrival_ms: BTreeMap::new(),
            strays_until_ms: BTreeMap::new(),
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
            let in_cuts = self.is_in_cuts(call.handler);
            if call.request.is_commit() && !self.calm {
                let faults = self.plan.faults.requests;
                if self.draw.permille(faults.commit_dropped) {
                    self.trace.saw("commit dropped");
                    continue;
                }
                if self.draw.permille(faults.commit_strays) {
                    self.trace.saw("commit astray");
                    let session_ms = self.plan.group.session_ms;
                    let longest_ms = if in_cuts { session_ms * 3 / 2 } else { 2_000 };
                    let at_ms = at_ms + self.draw.between(100, longest_ms);
                    self.stray(at_ms, call);
                    continue;
                }
                if self.draw.permille(faults.commit_delayed) {
                    self.trace.saw("commit delayed");
                    at_ms += self.draw.between(50, self.plan.group.session_ms);
                }
            }
            if self.strays_until_ms.get(&(host, call.handler)).is_some_and(|until_ms| at_ms < *until_ms)
                && matches!(call.request, Request::Commit { .. })
            {
                self.stray(at_ms, call);
                continue;
            }
            at_ms += self.slowness_ms(call.handler, &call.request);
            let connection = (host, call.request.is_of_transaction());
            let last_ms = self.last_arrival_ms.entry(connection).or_default();
            *last_ms = at_ms.max(*last_ms);
            let at_ms = *last_ms;
            self.dispatch(at_ms, host, Parcel::Request(call));
        }
    }

    /// Sends what no other waits for. Plain commits of a handler in cuts stay in their order: what the coordinator
    /// has from a connection that broke it carries out before what comes on the next. Transactions have their own.
    fn stray(&mut self, at_ms: u64, call: Call) {
        let (host, handler) = (call.host, call.handler);
        let mut at_ms = at_ms;
        if self.is_in_cuts(handler) && matches!(call.request, Request::Commit { .. }) {
            let until_ms = self.strays_until_ms.entry((host, handler)).or_default();
            *until_ms = at_ms.max(*until_ms);
            at_ms = *until_ms;
        }
        self.dispatch(at_ms, host, Parcel::Request(call));
    }

    /// How much longer than others a producer's request takes.
    fn slowness_ms(&mut self, handler: u8, request: &Request) -> u64 {
        let Some(cuts) = &self.plan.cuts[usize::from(handler)] else { return 0 };
        if self.calm || !request.is_of_transaction() || !self.draw.permille(cuts.slow_permille) {
            return 0;
        }
        self.trace.saw("producer slow");
        self.draw.between(50, cuts.limit_ms * 3 / 2)
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
            let limit_ms = self.plan.cuts[handler].as_ref().map_or(u64::MAX / 2, |cuts| cuts.limit_ms);
            for _ in 0..self.transactions[handler].tick(now_ms, limit_ms) {
                self.trace.saw("transaction timed out");
            }
        }
    }

    fn is_in_cuts(&self, handler: u8) -> bool {
        self.plan.cuts[usize::from(handler)].is_some()
    }

    fn serve(&mut self, now_ms: u64, call: Call) {
        let Call { host, handler, request, reply } = call;
        if now_ms < self.away_until_ms {
            return;
        }
        let lost =
            request.is_commit() && !self.calm && self.draw.permille(self.plan.faults.requests.answer_lost);
        let unheard = self.is_unheard(handler, &request);
        if unheard == Some(false) {
            return;
        }
        let answer = self.answer(now_ms, host, handler, request);
        if unheard.is_some() {
            return;
        }
        if lost {
            self.trace.saw("commit answer lost");
            return;
        }
        let at_ms = now_ms + self.latency_ms();
        self.dispatch(at_ms, host, Parcel::Answer(reply, answer));
    }

    /// Whether nobody hears of this commit of a transaction, and then whether it is carried out.
    fn is_unheard(&mut self, handler: u8, request: &Request) -> Option<bool> {
        let Request::End { ticket, commits: true } = request else { return None };
        if let Some(known) = self.unheard.get(&ticket.transaction) {
            return Some(*known);
        }
        let permille = self.plan.cuts[usize::from(handler)].as_ref().map_or(0, |cuts| cuts.unheard_permille);
        if self.calm || !self.draw.permille(permille) {
            return None;
        }
        let happens = self.draw.permille(500);
        self.trace.saw(if happens { "commit of a cut unheard" } else { "commit of a cut lost" });
        self.unheard.insert(ticket.transaction, happens);
        Some(happens)
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
            Request::Fetch { partitions, stable } => {
                if stable && self.transactions[usize::from(handler)].is_pending(&partitions) {
                    self.trace.saw("offsets not stable");
                    return Answer::Refused;
                }
                Answer::Fetched(coordinator.fetch(&partitions))
            }
            Request::Commit { .. } if !self.calm && self.draw.permille(faults.commit_refused) => {
                self.trace.saw("commit refused");
                Answer::Refused
            }
            Request::Commit { member, epoch, positions } => {
                let strict = self.plan.cuts[usize::from(handler)].is_some();
                match coordinator.commit(now_ms, (member, epoch), &positions, strict) {
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
            request => self.of_transaction(now_ms, host, handler, request),
        }
    }

    /// What the brokers answer a producer.
    fn of_transaction(&mut self, now_ms: u64, host: u8, handler: u8, request: Request) -> Answer {
        let at = usize::from(handler);
        let taken = |taken: bool, answer| if taken { answer } else { Answer::Fenced };
        let answer = match request {
            Request::Open { producer } => Answer::Opened(self.transactions[at].open(producer)),
            Request::Produce { ticket, rows } => {
                let refused = cuts::refused(&self.plan, handler, &rows, now_ms, self.calm);
                for (row, _) in refused.iter().filter(|(_, fault)| *fault == Fault::Topic) {
                    let topic = topic_of(row);
                    self.trace.note(now_ms, host, Note::TopicGone { handler, topic });
                }
                if refused.is_empty() {
                    taken(self.transactions[at].write(now_ms, ticket, &rows), Answer::Produced)
                } else {
                    Answer::RowsRefused(refused)
                }
            }
            Request::Include { ticket, member, epoch, positions } => {
                if !self.coordinators[at].may_include(member, epoch, &positions) {
                    self.trace.saw("cut of a stranger refused");
                    return Answer::Refused;
                }
                taken(self.transactions[at].include(now_ms, ticket, &positions), Answer::Included)
            }
            Request::End { ticket, commits } => self.end(now_ms, host, handler, ticket, commits),
            request => unreachable!("{request:?} is not of a transaction"),
        };
        if matches!(answer, Answer::Fenced) {
            self.trace.saw("producer fenced");
        }
        answer
    }

    fn end(&mut self, now_ms: u64, host: u8, handler: u8, ticket: Ticket, commits: bool) -> Answer {
        let group = &mut self.coordinators[usize::from(handler)];
        let (mut parts, mut applied) = (Vec::new(), Vec::new());
        let end = self.transactions[usize::from(handler)].end(ticket, commits, |position| {
            let rewound = group.store(position).is_ok_and(|rewound| rewound);
            let Position { partition, offset, number, .. } = *position;
            parts.push((partition, offset, String::from_utf8_lossy(&position.metadata).into()));
            applied.push(Note::Applied { place: Place { handler, partition }, number, offset, rewound });
        });
        match end {
            End::Fenced => return Answer::Fenced,
            End::Aborted => self.trace.saw("transaction aborted"),
            End::Already => {}
            End::Committed(rows) => {
                self.trace.note(now_ms, host, Note::Cut { handler, parts, rows });
                applied.into_iter().for_each(|note| self.trace.note(now_ms, host, note));
            }
        }
        Answer::Ended
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
        let kept = |(database, cuts): (&Option<_>, &Option<_>)| database.is_some() || cuts.is_some();
        let beside = self.plan.databases.iter().zip(&self.plan.cuts).map(kept);
        // Beside a database the commit is a report: tools that move it are faults of their own. In cuts nothing is
        // promised where others write over it.
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
