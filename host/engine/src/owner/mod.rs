//! The owner task of one assigned partition: it alone holds the partition's lanes and events.
//!
//! Who owns: this task, everything of the partition. Who waits: the task, on deliveries, ended runs, other
//! endings, a slot, an operator's requests, questions for a cut, the next point in time and the wish to drain. Who wakes: the
//! poller (deliveries, drain), tasks of runs, endings and prunes (by ending), whoever gives back a slot, the timer. What
//! bounds: the inbox limits and the host's budget (records and bytes), the policy's gap and the payload's
//! length or the claims above the floor (ledger), the handler's slots (runs).

mod control;
mod cutting;
mod endings;
mod events;
mod pruning;
mod reporting;
mod runs;
mod stopped;

pub(crate) use self::pruning::CLAIMS_ABOVE_FLOOR_MAX;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use keylane_lanes::{Input, Partition};
use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use self::endings::Noted;
use self::pruning::Pruner;
use self::reporting::Reporter;
use self::runs::{EndedRun, RunsOut};
use crate::assignment::{Assignment, TopicId};
use crate::claiming::Fenced;
use crate::claims::ClaimsError;
use crate::control::{ControlError, Request};
use crate::cuts::{Basket, Snapshot};
use crate::ending::Ownership;
use crate::event::TopicPartition;
use crate::handler::Shared;
use crate::held::HeldEvents;
use crate::inbox::{Delivery, Intake};
use crate::lease::Lease;
use crate::meters::Meters;
use crate::ports::{DeadLetters, Runner};
use crate::progress::ProgressMaker;
use crate::slots::{Slot, Stand};

/// How long an idle owner may sleep without a look at its lease.
const LOOK_AT_LEASE: Duration = Duration::from_secs(3_600);

pub(crate) struct Owner<R, D> {
    shared: Arc<Shared<R, D>>,
    partition: TopicPartition,
    topic_id: TopicId,
    lease: Arc<Lease>,
    /// What it writes with in the handler's database, where it has one.
    fenced: Option<Fenced>,
    /// What waits for its cut, where the handler is in cuts.
    basket: Option<Basket>,
    intake: Intake,
    lanes: Partition,
    held: HeldEvents,
    runs: JoinSet<EndedRun>,
    out: RunsOut,
    endings: JoinSet<Noted>,
    /// Operators who wait until the event that they gave up has ended.
    skips: BTreeMap<i64, oneshot::Sender<Result<(), ControlError>>>,
    pruner: Pruner,
    /// Why the partition is to be given up at once: what is known of it may not hold any more.
    lost: Option<Arc<str>>,
    stand: Stand,
    draining: bool,
    begun: Instant,
    /// The offset after the last one taken in.
    next: i64,
    reporter: Reporter,
    meters: Meters,
}

/// What woke the owner.
enum Woken {
    Delivery(Option<Delivery>),
    Slot(Slot),
    RunEnded(Result<EndedRun, JoinError>),
    Noted(Result<Noted, JoinError>),
    Pruned(Result<(), ClaimsError>),
    Asked(Request),
    Cut(oneshot::Sender<Snapshot>),
    Committed,
    Time,
    Drain,
    Lost,
}

impl<R: Runner, D: DeadLetters> Owner<R, D> {
    pub(crate) fn new(
        shared: Arc<Shared<R, D>>,
        assignment: Assignment,
        intake: Intake,
        (maker, basket): (ProgressMaker, Option<Basket>),
    ) -> Self {
        let Assignment { partition, topic_id, restored, lease, fence, .. } = assignment;
        let claims = shared.claims.clone();
        let fenced = claims.zip(fence).map(|(claims, fence)| Fenced::new(claims, fence));
        Self {
            meters: Meters::new(&shared.options.name, &partition, fenced.is_some(), basket.is_some()),
            stand: shared.slots.stand(),
            partition,
            topic_id,
            lease,
            fenced,
            basket,
            intake,
            held: HeldEvents::default(),
            runs: JoinSet::new(),
            out: RunsOut::default(),
            endings: JoinSet::new(),
            skips: BTreeMap::new(),
            pruner: Pruner::new(&restored),
            lost: None,
            draining: false,
            begun: Instant::now(),
            next: restored.base,
            reporter: Reporter::new(maker, &restored),
            lanes: Partition::new(shared.options.policy, restored),
            shared,
        }
    }

    /// Lives as long as the assignment: until the poller drops its end of the inbox, the lease runs out or the
    /// handler's database gives the partition to another, and until the runs that were out then are broken off,
    /// which rolls their effects back.
    pub(crate) async fn run(mut self) {
        loop {
            if !self.lease.holds() {
                return self.expire().await;
            }
            if let Some(reason) = self.lost.take() {
                return self.give_up(reason).await;
            }
            self.keep_time();
            self.report();
            self.stand.want(self.lanes.wants_slot() && !self.draining && self.has_room_for_a_run());
            match self.woken().await {
                Woken::Delivery(Some(delivery)) => self.admit(delivery),
                Woken::Slot(slot) => self.start_run(slot),
                Woken::RunEnded(ended) => self.end_run(joined(ended)),
                Woken::Noted(noted) => self.noted(joined(noted)),
                Woken::Pruned(pruned) => self.pruned(pruned),
                Woken::Asked(request) => self.answer(request),
                Woken::Cut(answer) => self.answer_cut(answer),
                Woken::Committed => self.drop_committed(),
                Woken::Time => {}
                Woken::Drain => self.draining = true,
                Woken::Delivery(None) | Woken::Lost => return self.reap().await,
            }
        }
    }

    /// Others may own the partition by now: nothing more begins, and nothing more is said of its progress.
    async fn expire(self) {
        self.intake.ownership.send_replace(Ownership::Expired);
        self.meters.lease_expired.increment(1);
        tracing::error!(
            handler = self.shared.options.name,
            source = %self.partition,
            runs = self.runs.len(),
            term = ?self.lease.term(),
            "no commit was acknowledged for as long as a session lasts, so another host may own the \
             partition: its runs are broken off and it is given up"
        );
        self.reap().await;
    }

    /// The database says that another has the partition, or does not say how it stands. What is known here
    /// may not hold any more, so it is forgotten: whoever takes the partition reads it anew.
    async fn give_up(self, reason: Arc<str>) {
        self.intake.ownership.send_replace(Ownership::Overtaken { reason: reason.clone() });
        if let Some(meters) = &self.meters.claims {
            meters.overtaken.increment(1);
        }
        tracing::warn!(
            handler = self.shared.options.name,
            source = %self.partition,
            runs = self.runs.len(),
            %reason,
            "the partition is given up, and its runs are broken off, until the database grants it anew"
        );
        self.reap().await;
    }

    /// Breaks off what is out, all of it at once, and waits until it is gone: while a run is waited for that
    /// does not yield, no letter is sent.
    async fn reap(mut self) {
        self.intake.stop.store(true, Ordering::Release);
        self.meters.leave();
        tokio::join!(self.runs.shutdown(), self.endings.shutdown(), self.pruner.shutdown());
    }

    async fn woken(&mut self) -> Woken {
        let admits = self.admits();
        let time = self.next_time();
        // In this order: what ends comes before what begins, so that a lost partition begins nothing more.
        tokio::select! {
            biased;
            changed = self.intake.drain.changed() => changed.map_or(Woken::Lost, |()| Woken::Drain),
            Some(request) = self.intake.requests.recv() => Woken::Asked(request),
            Ok(()) = self.intake.cut.committed.changed() => Woken::Committed,
            Some(answer) = self.intake.cut.questions.recv() => Woken::Cut(answer),
            Some(ended) = self.runs.join_next() => Woken::RunEnded(ended),
            Some(noted) = self.endings.join_next() => Woken::Noted(noted),
            pruned = self.pruner.ended() => Woken::Pruned(pruned),
            slot = self.stand.granted() => Woken::Slot(slot),
            () = tokio::time::sleep_until(time) => Woken::Time,
            delivery = self.intake.deliveries.recv(), if admits => Woken::Delivery(delivery),
        }
    }

    /// Whether what was delivered is taken in. What it is that keeps more from being delivered is no reason
    /// here: a full inbox is full of what it holds back.
    fn admits(&self) -> bool {
        // What is condemned ends without a run, and its letter waits for a cut like any record.
        let has_room = self.claims_admit() && self.has_room_for_records();
        !self.draining && self.reporter.admits(self.next) && has_room && self.lanes.admits()
    }

    /// The next point in time at which there is something to do; the end of the lease at the latest.
    fn next_time(&self) -> Instant {
        let now = Instant::now();
        let parked = self.lanes.next_deadline_ms().filter(|_| !self.draining);
        let parked = parked.map(|at_ms| self.begun + Duration::from_millis(at_ms));
        let times = [parked, self.reporter.due_at(), self.out.look_at(), self.prune_at()];
        times.into_iter().flatten().fold(now + self.lease.left().min(LOOK_AT_LEASE), Instant::min)
    }

    /// Does what is due, whatever woke the owner.
    fn keep_time(&mut self) {
        let now_ms = self.now_ms();
        let due = self.lanes.next_deadline_ms().is_some_and(|at_ms| at_ms <= now_ms);
        if due && !self.draining {
            self.step(Input::Tick);
        }
        self.watch_runs();
        self.keep_floor();
    }

    /// The clock of the lanes: it begins with the assignment.
    fn now_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// A task of the owner that panicked broke a promise of the host: the owner goes down with it, and the
/// partition stops loudly. They are cancelled only by dropping the owner.
fn joined<T>(ended: Result<T, JoinError>) -> T {
    match ended {
        Ok(value) => value,
        Err(fault) if fault.is_panic() => std::panic::resume_unwind(fault.into_panic()),
        Err(fault) => unreachable!("a task of a living owner was cancelled: {fault}"),
    }
}
