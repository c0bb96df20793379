//! The model of the thread that carries out cuts: one transaction at a time, each of its calls made again for
//! as long as it may. A commit that was asked for and not answered is in doubt.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use crate::coordinator::Position;
use crate::cuts::Fault;
use crate::database::Row;
use crate::member::Membership;
use crate::mutation::Mutation;
use crate::process::Process;
use crate::transactions::Ticket;
use crate::wire::{Answer, Request};

/// The wait before the producer is opened again.
const OPEN_AGAIN: Duration = Duration::from_millis(100);

/// What is to be committed.
pub struct Cut {
    /// Who commits, as of before the progress was made.
    pub member: u64,
    pub epoch: u64,
    pub positions: Vec<Position>,
    /// In the order in which they are sent.
    pub rows: Vec<Row>,
}

/// What became of a cut.
pub enum CutEnd {
    Committed,
    /// Nothing of it is ever seen: these of its rows brokers do not take.
    Refused(Vec<(Row, Fault)>),
    /// Nothing of it is ever seen.
    Failed,
    /// Only the group's offsets tell.
    InDoubt,
}

/// The poller's end. Dropped, it lets the task end after what it is at.
pub struct Cutter {
    cuts: mpsc::Sender<Cut>,
    ends: mpsc::Receiver<CutEnd>,
    is_open: Arc<AtomicBool>,
}

impl Cutter {
    pub fn start(
        handler: u8,
        process: &Arc<Process>,
        membership: &Arc<Membership>,
        doorbell: &Arc<Notify>,
    ) -> Self {
        let (cuts, orders) = mpsc::channel(1);
        let (answers, ends) = mpsc::channel(1);
        let is_open = Arc::new(AtomicBool::new(false));
        let way = Way {
            handler,
            process: process.clone(),
            membership: membership.clone(),
            doorbell: doorbell.clone(),
            is_open: is_open.clone(),
            epoch: None,
        };
        tokio::spawn(way.live(orders, answers));
        Self { cuts, ends, is_open }
    }

    pub fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Relaxed)
    }

    /// The one before has been answered.
    pub fn hand_over(&self, cut: Cut) {
        assert!(self.cuts.try_send(cut).is_ok(), "one cut at a time");
    }

    /// What became of the cut, if that is known.
    pub fn ended(&mut self) -> Option<CutEnd> {
        self.ends.try_recv().ok()
    }
}

/// The task's own.
struct Way {
    handler: u8,
    process: Arc<Process>,
    membership: Arc<Membership>,
    doorbell: Arc<Notify>,
    is_open: Arc<AtomicBool>,
    /// The producer's, while it has one.
    epoch: Option<u64>,
}

/// Why a transaction was not filled.
enum Unfilled {
    Refused(Vec<(Row, Fault)>),
    Fenced,
    Failed,
}

impl Way {
    async fn live(mut self, mut cuts: mpsc::Receiver<Cut>, ends: mpsc::Sender<CutEnd>) {
        loop {
            let opened = self.opened().await.is_some();
            self.tell();
            let cut = if opened {
                cuts.recv().await
            } else {
                match tokio::time::timeout(OPEN_AGAIN, cuts.recv()).await {
                    Ok(cut) => cut,
                    Err(_) => continue,
                }
            };
            let Some(cut) = cut else { return };
            let end = self.carry_out(&cut).await;
            self.is_open.store(self.epoch.is_some(), Ordering::Relaxed);
            if ends.send(end).await.is_err() {
                return;
            }
            self.doorbell.notify_one();
        }
    }

    fn tell(&self) {
        self.is_open.store(self.epoch.is_some(), Ordering::Relaxed);
        self.doorbell.notify_one();
    }

    /// The producer's epoch, a new one where there is none.
    async fn opened(&mut self) -> Option<u64> {
        if self.epoch.is_none() {
            let producer = self.process.life;
            if let Some(Answer::Opened(epoch)) = self.insist(Request::Open { producer }).await {
                self.epoch = Some(epoch);
            }
        }
        self.epoch
    }

    /// Asks again for as long as half a transaction more than it may take.
    async fn insist(&self, request: Request) -> Option<Answer> {
        self.insist_on(|| request.clone()).await
    }

    async fn insist_on(&self, request: impl Fn() -> Request) -> Option<Answer> {
        let plan = &self.process.plan;
        let limit_ms = plan.cuts[usize::from(self.handler)].as_ref().map_or(0, |cuts| cuts.limit_ms) * 3 / 2;
        let until = Instant::now() + Duration::from_millis(limit_ms);
        let step = Duration::from_millis(plan.group.request_ms / 4);
        loop {
            let answer = self.process.wire.ask(self.handler, request(), step).await;
            if answer.is_some() || Instant::now() >= until {
                return answer;
            }
        }
    }

    async fn carry_out(&mut self, cut: &Cut) -> CutEnd {
        let Some(epoch) = self.opened().await else { return CutEnd::Failed };
        let ticket = Ticket { producer: self.process.life, epoch, transaction: self.process.next_number() };
        match self.fill(ticket, cut).await {
            Ok(()) => {}
            Err(Unfilled::Fenced) => {
                self.epoch = None;
                return CutEnd::Failed;
            }
            Err(Unfilled::Failed) => {
                self.give_up(ticket).await;
                return CutEnd::Failed;
            }
            Err(Unfilled::Refused(rows)) => {
                self.give_up(ticket).await;
                return CutEnd::Refused(rows);
            }
        }
        let ended = self.insist(Request::End { ticket, commits: true }).await;
        if !matches!(ended, Some(Answer::Ended)) {
            // The one that takes its place ends the transaction, so that its outcome is to be read at once.
            self.epoch = None;
            let _reopened = self.opened().await;
            return CutEnd::InDoubt;
        }
        if self.process.mutated(Mutation::OffsetsBesideTheCut) {
            self.process.wire.send(self.handler, commit(cut));
        }
        CutEnd::Committed
    }

    /// Writes the records and includes the offsets.
    async fn fill(&self, ticket: Ticket, cut: &Cut) -> Result<(), Unfilled> {
        if !cut.rows.is_empty() {
            let request = Request::Produce { ticket, rows: cut.rows.clone() };
            match self.insist(request).await {
                Some(Answer::Produced) => {}
                Some(Answer::RowsRefused(rows)) => return Err(Unfilled::Refused(rows)),
                Some(Answer::Fenced) => return Err(Unfilled::Fenced),
                _ => return Err(Unfilled::Failed),
            }
        }
        let mutated = |mutation| self.process.mutated(mutation);
        if mutated(Mutation::OffsetsBesideTheCut) {
            return Ok(());
        }
        let request = || {
            let fresh = self.membership.identity().filter(|_| mutated(Mutation::FreshMetadata));
            let (member, epoch) = fresh.unwrap_or((cut.member, cut.epoch));
            Request::Include { ticket, member, epoch, positions: cut.positions.clone() }
        };
        match self.insist_on(request).await {
            Some(Answer::Included) => Ok(()),
            Some(Answer::Fenced) => Err(Unfilled::Fenced),
            _ => Err(Unfilled::Failed),
        }
    }

    /// Throws a transaction away. One that is not ended here, the broker ends.
    async fn give_up(&mut self, ticket: Ticket) {
        let ended = self.insist(Request::End { ticket, commits: false }).await;
        if !matches!(ended, Some(Answer::Ended)) {
            self.epoch = None;
        }
    }
}

/// A plain commit of what a cut has to tell.
fn commit(cut: &Cut) -> Request {
    Request::Commit { member: cut.member, epoch: cut.epoch, positions: cut.positions.clone() }
}
