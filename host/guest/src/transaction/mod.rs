//! Runs of a handler that writes to a database: each is one transaction there, and all that its events did
//! becomes real together with one claim for each of them, or nothing does.
//!
//! A run is made in passes ([`pass`]), by a plan ([`plan`]) that learns from each pass that was undone:
//!
//! - The first pass goes without savepoints. At the first event that fails all is rolled back, and the run is
//!   done once more with a savepoint for each event, so that failed ones are undone and charged alone. A run
//!   with an event that failed before begins with them.
//! - Where another transaction was in the way, the run is done once more, half as long, after a short random
//!   wait; nobody is charged, unless it happens to the same event alone again and again. Waiting for locks never
//!   counts: whoever alters a table for an hour is no fault of the events that wait.
//! - Events that turn out to be claimed have ended before; the others are done once more.
//! - A connection that is lost leaves the partition in doubt, and nobody is charged, unless it is the same
//!   event that loses it again and again, in its statements or alone at its run's end ([`losses`]). What the
//!   database says of itself, that it shuts down or its disk is full, never counts.
//! - A trap, a time-out or a memory limit in an instance that has served before is tried again in a fresh one
//!   before its event is charged.
//! - After any rollback the instance ends: its memory must not remember what the database forgot. Where the
//!   partition is lost or in doubt, a restore for one, all of the pool do, and so they do at the first run after
//!   it was taken anew.
//!
//! Who owns: a run owns its transaction and its instance. Who waits: a run, for a place, for a connection and
//! for locks, none of which is a guest's time, nor the run's slice: longer runs wait less for each event. What
//! bounds: [`PASSES_MAX`] and the constants beside it, and the engine's bound on that waiting.

mod losses;
mod meters;
mod pass;
mod plan;
mod steps;

use std::collections::HashSet;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use keylane_effects::{Database, DatabaseError};
use keylane_engine::{Attempt, Event, Fence, Outcome, RunControl, RunReport, RunStand};

use crate::failure::AttemptFailure;
use crate::pool::Pool;
pub(crate) use losses::Losses;
pub(crate) use meters::RunMeters;
use meters::Why;
pub(crate) use pass::OUTBOX_BYTES_MAX;
use pass::{Ended, Pass};
use plan::Plan;

/// The most passes over one run. What is left after them comes again in a later run.
const PASSES_MAX: u32 = 12;
/// The most times that one run gives way to other transactions.
const CONFLICTS_MAX: u32 = 4;
/// The longest wait after the first conflict; it doubles with each further one.
const CONFLICT_WAIT: Duration = Duration::from_millis(5);

/// Runs the attempts in one transaction under the control's fence, however many passes that takes.
pub(crate) async fn run(
    pool: &Arc<Pool>,
    database: &dyn Database,
    attempts: &[Attempt],
    control: RunControl,
) -> RunReport {
    let nothing = vec![Outcome::NotStarted; attempts.len()];
    let Some(fence) = control.fence() else {
        let reason = "the run was given no ownership of its partition in the handler's database".to_owned();
        return RunReport { stand: RunStand::InDoubt(reason), ..nothing.into() };
    };
    if let Some(first) = attempts.first() {
        pool.follow(&first.event.source, fence);
    }
    let mut plan = Plan::new(attempts);
    if attempts.iter().any(|attempt| pool.losses.is_suspect(&attempt.event)) {
        plan.go_singly();
    }
    let (lost, spent) = (HashSet::new(), Duration::ZERO);
    let mut run = Run { pool, database, fence, attempts, plan, lost, conflicts: 0, spent };
    let (outcomes, stand) = match run.passes(control).await {
        Ok(outcomes) => {
            run.forget_losses(&outcomes);
            (in_order(attempts, outcomes), RunStand::Kept)
        }
        Err(stand) => {
            pool.end_all();
            (nothing, stand)
        }
    };
    RunReport { stand, conflicts: run.conflicts, spent: Some(run.spent), ..outcomes.into() }
}

/// One run.
struct Run<'run> {
    pool: &'run Arc<Pool>,
    database: &'run dyn Database,
    fence: Fence,
    attempts: &'run [Attempt],
    plan: Plan,
    /// Who was charged for losing the connection.
    lost: HashSet<usize>,
    conflicts: u32,
    /// What its passes count for in the length of further runs: the database's time left out.
    spent: Duration,
}

impl Run<'_> {
    /// Passes until one is committed, or nothing more is to be done, or none may begin.
    async fn passes(&mut self, mut control: RunControl) -> Result<Vec<Outcome>, RunStand> {
        for _ in 0..PASSES_MAX {
            let mut pass = Pass::new(self.pool, self.attempts, &self.plan, &control);
            let ended = pass.carry_out(self.database, self.fence).await;
            let begun = pass.begun;
            self.spent = self.spent.saturating_add(pass.spent);
            match ended {
                Ended::Committed(outcomes) => return Ok(outcomes),
                Ended::Overtaken => return Err(RunStand::Overtaken),
                Ended::InDoubt(reason) => self.in_doubt(&begun, reason).await?,
                Ended::Gone(error) => self.gone(&begun, &error).await?,
                Ended::Lost { index, error } => self.gone(&[index], &error).await?,
                Ended::Failed { index, failure, served } => {
                    self.undone(Why::Failed);
                    self.plan.failed(index, failure, served);
                }
                Ended::Refused { done, reason } => {
                    self.undone(Why::Refused);
                    self.plan.refused(&done, &reason);
                }
                Ended::Claimed => {
                    self.undone(Why::Claimed);
                    if !self.learn_claims().await? {
                        let reason = "an event of the run is claimed, and no claim can be read";
                        return Err(RunStand::InDoubt(reason.to_owned()));
                    }
                }
                Ended::Conflict { said, locks } => {
                    self.undone(if locks { Why::Locked } else { Why::Conflict });
                    let in_conflict: &[usize] = if locks { &[] } else { &begun };
                    if !self.give_way(in_conflict, &said).await {
                        break;
                    }
                }
            }
            control = control.again();
            if !control.may_begin_next() {
                break;
            }
        }
        Ok(self.plan.outcomes())
    }

    fn undone(&self, why: Why) {
        self.pool.run_meters.undone(why);
    }

    fn event(&self, index: usize) -> Option<&Event> {
        self.attempts.get(index).map(|attempt| &*attempt.event)
    }

    /// The database is gone, by its own word or by one of these events.
    async fn gone(&mut self, by: &[usize], error: &DatabaseError) -> Result<(), RunStand> {
        match error {
            DatabaseError::Unable { .. } => Err(RunStand::InDoubt(error.to_string())),
            _ => self.in_doubt(by, error.to_string()).await,
        }
    }

    /// The connection was lost by one of these events, as far as anybody knows. Goes on only if it was one, and
    /// once too often.
    async fn in_doubt(&mut self, by: &[usize], reason: String) -> Result<(), RunStand> {
        if let [index] = *by {
            if !self.event(index).is_some_and(|event| self.pool.losses.lost(event)) {
                return Err(RunStand::InDoubt(reason));
            }
            self.undone(Why::Failed);
            // It may have been the answer to a commit that was lost.
            self.learn_claims().await?;
            if self.plan.settled(index).is_none() {
                self.plan.charge(index, AttemptFailure::connection_lost(&reason));
                self.lost.insert(index);
            }
            return Ok(());
        }
        self.pool.losses.suspect(by.iter().filter_map(|index| self.event(*index)));
        Err(RunStand::InDoubt(reason))
    }

    /// What was counted against events that have ended, or failed otherwise than by losing the connection.
    fn forget_losses(&self, outcomes: &[Outcome]) {
        for (index, (attempt, outcome)) in self.attempts.iter().zip(outcomes).enumerate() {
            if *outcome != Outcome::NotStarted && !self.lost.contains(&index) {
                self.pool.losses.ended(&attempt.event);
            }
        }
    }

    /// Another transaction was in the way, of these events if that may be by themselves: waits, and answers whether
    /// to try again. That nobody may be charged is said aloud.
    async fn give_way(&mut self, begun: &[usize], reason: &str) -> bool {
        self.conflicts += 1;
        tracing::debug!(reason, conflicts = self.conflicts, "a run gives way to another transaction");
        if self.conflicts > CONFLICTS_MAX {
            if let ([], [first, ..]) = (begun, self.attempts) {
                self.pool.run_meters.locked_out(&first.event.source, reason);
            }
            if let [alone] = *begun
                && self.event(alone).is_some_and(|event| self.pool.losses.in_conflict(event))
            {
                self.plan.charge(alone, AttemptFailure::in_conflict(reason));
            }
            return false;
        }
        self.plan.shorten();
        tokio::time::sleep(jittered(CONFLICT_WAIT.saturating_mul(1 << self.conflicts.min(8)))).await;
        true
    }

    /// Which events have ended before. Answers whether that is news.
    async fn learn_claims(&mut self) -> Result<bool, RunStand> {
        let offsets: Vec<i64> = self.attempts.iter().map(|attempt| attempt.event.offset).collect();
        let ended = self.database.ended(&self.fence, &offsets).await;
        let ended = ended.map_err(|error| RunStand::InDoubt(error.to_string()))?;
        let mut new = false;
        for (index, offset) in offsets.iter().enumerate() {
            new |= ended.contains(offset) && self.plan.ended_before(index);
        }
        Ok(new)
    }
}

/// An event that had ended before its lane came to it counts when the lane comes to it.
fn in_order(attempts: &[Attempt], mut outcomes: Vec<Outcome>) -> Vec<Outcome> {
    let mut stopped = HashSet::new();
    for (attempt, outcome) in attempts.iter().zip(&mut outcomes) {
        if stopped.contains(&attempt.lane) {
            *outcome = Outcome::NotStarted;
        } else if *outcome != Outcome::Done {
            stopped.insert(attempt.lane);
        }
    }
    outcomes
}

/// Between half of this and all of it.
fn jittered(most: Duration) -> Duration {
    let drawn = RandomState::new().build_hasher().finish() % 1_000;
    let part = u32::try_from(drawn).unwrap_or_default();
    most / 2 + most / 2 * part / 1_000
}

#[cfg(test)]
mod tests {
    use keylane_engine::{Event, FailureClass, TopicPartition};

    use super::*;

    fn attempt(offset: i64, lane: u64) -> Attempt {
        let event = Event {
            source: TopicPartition { topic: "facts".into(), partition: 0 },
            offset,
            timestamp: None,
            key: None,
            value: None,
            headers: Vec::new(),
        };
        Attempt { event: Arc::new(event), number: 1, lane }
    }

    #[test]
    fn what_had_ended_before_is_not_told_ahead_of_its_lane() {
        let failed = Outcome::Failed { class: FailureClass::Retry, reason: String::new(), after_ms: None };
        let attempts = [(0, 1), (1, 2), (2, 1), (3, 2), (4, 3)].map(|(offset, lane)| attempt(offset, lane));
        let (done, not) = (Outcome::Done, Outcome::NotStarted);
        let outcomes = vec![failed.clone(), not.clone(), done.clone(), done.clone(), done.clone()];
        assert_eq!(in_order(&attempts, outcomes), [failed, not.clone(), not.clone(), not, done]);
    }

    #[test]
    fn a_wait_is_drawn_within_its_bounds() {
        let most = Duration::from_millis(8);
        for _ in 0..1_000 {
            assert!((most / 2..=most).contains(&jittered(most)));
        }
    }
}
