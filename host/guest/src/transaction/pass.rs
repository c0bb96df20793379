//! One pass over a run: its events in one transaction, from its beginning to its commit, or to the first thing
//! that undoes it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use keylane_capability::{RunFault, RunSlot};
use keylane_effects::{Database, DatabaseError, EndedAs, FinishError, OutboxRow};
use keylane_engine::{Attempt, Fence, Outcome, RunControl};

use crate::attempt::carry_out_in;
use crate::failure::AttemptFailure;
use crate::pool::{Lease, Pool};
use crate::transaction::meters::Why;
use crate::transaction::plan::Plan;
use crate::transaction::steps::{begin, roll_back, step};

/// How long outbox rows, claims and the commit may take.
const FINISH_MAX: Duration = Duration::from_secs(30);
/// What the outputs of one run may weigh, in bytes; past it the run is cut.
pub(crate) const OUTBOX_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How a pass ended. In all cases but the first its transaction is undone and its instance has ended.
pub(super) enum Ended {
    /// What the outcomes say is committed.
    Committed(Vec<Outcome>),
    /// This event failed, on an instance that had `served` others before or not.
    Failed { index: usize, failure: AttemptFailure, served: bool },
    /// The connection was lost in this event's statement.
    Lost { index: usize, error: DatabaseError },
    /// The database refused the commit of what these events did.
    Refused { done: Vec<usize>, reason: String },
    /// One of the events had ended before.
    Claimed,
    /// Another transaction was in the way: `locks` where it kept one for too long, which is never an event's fault.
    Conflict { said: String, locks: bool },
    /// Another host has taken the partition.
    Overtaken,
    /// Whether it is committed is not known, or a step of the host's own was not answered.
    InDoubt(String),
    /// The database is gone. Nothing is committed, as far as it has told: a pooler between may say so of a commit that
    /// its server has carried out.
    Gone(DatabaseError),
}

/// An event's end within a pass: its rows, or its own failure, which is undone.
type EventEnd = Result<Vec<OutboxRow>, AttemptFailure>;

/// A pass.
pub(super) struct Pass<'run> {
    pool: &'run Arc<Pool>,
    attempts: &'run [Attempt],
    plan: &'run Plan,
    control: RunControl,
    /// What it counts for in the length of further runs.
    pub(super) spent: Duration,
    outcomes: Vec<Outcome>,
    /// Lanes of which nothing more begins.
    stopped: HashSet<u64>,
    /// Events that have begun in it.
    pub(super) begun: Vec<usize>,
    done: Vec<usize>,
    outbox: Vec<OutboxRow>,
    outbox_bytes: usize,
}

/// Where a pass works.
struct Place {
    lease: Lease,
    slot: Arc<RunSlot>,
    /// Whether what the steps take is waiting.
    is_elsewhere: bool,
}

impl Place {
    /// How long the database was waited for.
    fn waited(&self) -> Duration {
        if self.is_elsewhere { self.slot.stepped() } else { Duration::ZERO }
    }
}

impl<'run> Pass<'run> {
    pub(super) fn new(
        pool: &'run Arc<Pool>,
        attempts: &'run [Attempt],
        plan: &'run Plan,
        control: &RunControl,
    ) -> Self {
        Self {
            pool,
            attempts,
            plan,
            control: control.clone(),
            spent: Duration::ZERO,
            outcomes: plan.outcomes(),
            stopped: HashSet::new(),
            begun: Vec::new(),
            done: Vec::new(),
            outbox: Vec::new(),
            outbox_bytes: 0,
        }
    }

    /// Makes the pass.
    pub(super) async fn carry_out(&mut self, database: &dyn Database, fence: Fence) -> Ended {
        if (0..self.attempts.len()).all(|index| self.plan.settled(index).is_some()) {
            return Ended::Committed(std::mem::take(&mut self.outcomes));
        }
        let mut lease = self.pool.take().await;
        lease.begin();
        let transaction = match begin(database, fence).await {
            Ok(transaction) => transaction,
            Err(ended) => {
                // It has served nobody in this run.
                lease.succeed();
                return ended;
            }
        };
        // What was waited for until here says nothing of the events, nor does the commit.
        self.control = self.control.again();
        let is_elsewhere = database.is_elsewhere();
        let mut place = Place { lease, slot: RunSlot::new(transaction, fence.replay), is_elsewhere };
        let events = self.events(&mut place).await;
        self.spent = self.control.spent(place.waited());
        let ended = match events {
            Ok(()) => self.finish(&mut place).await,
            Err(ended) => Err(ended),
        };
        match ended {
            Ok(()) => {
                place.lease.succeed();
                Ended::Committed(std::mem::take(&mut self.outcomes))
            }
            Err(ended) => {
                place.lease.undo();
                roll_back(&place.slot).await;
                place.lease.succeed();
                ended
            }
        }
    }

    async fn events(&mut self, place: &mut Place) -> Result<(), Ended> {
        if self.plan.savepoints {
            let marked = step(&place.slot, |run| run.savepoint()).await?;
            marked.map_err(|error| Ended::InDoubt(error.to_string()))?;
        }
        for (index, attempt) in self.attempts.iter().enumerate() {
            if let Some(outcome) = self.plan.settled(index) {
                if *outcome != Outcome::Done {
                    self.stopped.insert(attempt.lane);
                }
                continue;
            }
            if self.stopped.contains(&attempt.lane) {
                continue;
            }
            // The first event always begins, so that a run gets somewhere.
            if !self.begun.is_empty() && !self.may_begin_next(place.waited()) {
                break;
            }
            self.begun.push(index);
            match self.event(place, index, attempt).await? {
                Ok(rows) => self.keep(index, rows),
                Err(failure) => {
                    self.stopped.insert(attempt.lane);
                    self.set(index, failure.into());
                }
            }
        }
        Ok(())
    }

    fn may_begin_next(&self, waited: Duration) -> bool {
        let room = self.outbox_bytes < OUTBOX_BYTES_MAX;
        if !room {
            self.pool.run_meters.outbox_full();
        }
        room && self.begun.len() < self.plan.most && self.control.may_begin_next_after(waited)
    }

    fn keep(&mut self, index: usize, rows: Vec<OutboxRow>) {
        self.outbox_bytes = rows.iter().map(weight_bytes).fold(self.outbox_bytes, usize::saturating_add);
        self.outbox.extend(rows);
        self.done.push(index);
        self.set(index, Outcome::Done);
    }

    fn set(&mut self, index: usize, outcome: Outcome) {
        if let Some(place) = self.outcomes.get_mut(index) {
            *place = outcome;
        }
    }

    /// One event, tried again in a fresh instance where the first one may be at fault and the transaction
    /// stands as it stood before.
    async fn event(&mut self, place: &mut Place, index: usize, attempt: &Attempt) -> Result<EventEnd, Ended> {
        if self.plan.is_fresh(index) {
            place.lease.replace();
        }
        let failure = match self.tried(place, index, attempt).await? {
            Ok(rows) => return Ok(Ok(rows)),
            Err((failure, true)) if failure.may_be_the_instances() => {
                self.pool.run_meters.undone(Why::Instance);
                match self.tried(place, index, attempt).await? {
                    Ok(rows) => return Ok(Ok(rows)),
                    Err((failure, _)) => failure,
                }
            }
            Err((failure, _)) => failure,
        };
        Ok(Err(failure))
    }

    /// One try. After a failure that is answered the transaction stands as it stood before, and the instance
    /// has ended; whether it had served before is told.
    async fn tried(
        &mut self,
        place: &mut Place,
        index: usize,
        attempt: &Attempt,
    ) -> Result<Result<Vec<OutboxRow>, (AttemptFailure, bool)>, Ended> {
        let served = place.lease.events() > 0;
        let answer = match place.lease.instance().await {
            Ok(instance) => {
                let (limits, topic_id) = (&self.pool.blueprint.limits, self.control.topic_id());
                carry_out_in(instance, attempt, limits, topic_id, &place.slot).await
            }
            Err(failure) => Err(failure),
        };
        // Whatever the guest's call came to, it is not what decides.
        match place.slot.fault() {
            Some(RunFault::Conflict(said)) => return Err(Ended::Conflict { said, locks: false }),
            Some(RunFault::Waited(said)) => return Err(Ended::Conflict { said, locks: true }),
            Some(RunFault::Lost(error)) => return Err(Ended::Lost { index, error }),
            None => {}
        }
        let failure = match answer {
            Ok(rows) => match self.seal(&place.slot).await? {
                Ok(()) => {
                    place.lease.replace_worn();
                    return Ok(Ok(rows));
                }
                Err(failure) => failure,
            },
            Err(failure) => failure,
        };
        place.lease.fail();
        let back =
            self.plan.savepoints && step(&place.slot, |run| run.rollback_to_savepoint()).await?.is_ok();
        if back { Ok(Err((failure, served))) } else { Err(Ended::Failed { index, failure, served }) }
    }

    /// Ends a successful event. With savepoints, what it left to be checked later is checked now.
    async fn seal(&self, slot: &RunSlot) -> Result<Result<(), AttemptFailure>, Ended> {
        if !self.plan.savepoints {
            return Ok(Ok(()));
        }
        let sealed = step(slot, |run| run.savepoint()).await?;
        Ok(sealed.map_err(|error| AttemptFailure::not_taken(&error.to_string())))
    }

    /// Writes outbox rows and claims, and commits.
    async fn finish(&mut self, place: &mut Place) -> Result<(), Ended> {
        if self.done.is_empty() {
            roll_back(&place.slot).await;
            return Ok(());
        }
        let done = std::mem::take(&mut self.done);
        let Some(run) = place.slot.take() else {
            return Err(Ended::Refused { done, reason: "a statement ended the transaction".to_owned() });
        };
        let offset = |index: &usize| self.attempts.get(*index).map(|attempt| attempt.event.offset);
        let endings: Vec<_> = done.iter().filter_map(offset).map(|offset| (offset, EndedAs::Done)).collect();
        match run.finish(&self.outbox, &endings, FINISH_MAX).await {
            Ok(()) => Ok(()),
            Err(FinishError::NotOwner) => Err(Ended::Overtaken),
            Err(FinishError::ClaimExists) => Err(Ended::Claimed),
            Err(FinishError::Conflict(said)) => Err(Ended::Conflict { said, locks: false }),
            Err(FinishError::Waited(said)) => Err(Ended::Conflict { said, locks: true }),
            Err(FinishError::Refused(reason) | FinishError::Void(reason)) => {
                Err(Ended::Refused { done, reason })
            }
            Err(FinishError::Unknown(said)) => {
                Err(Ended::InDoubt(format!("the outcome of a commit is unknown: {said}")))
            }
            Err(FinishError::Database(error)) => Err(Ended::Gone(error)),
        }
    }
}

fn weight_bytes(row: &OutboxRow) -> usize {
    let length = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
    row.topic.len() + length(&row.key) + length(&row.value) + row.headers.len()
}
