//! A run of a handler with a write database: one transaction, as `host/guest` does it.
//!
//! Without savepoints first. When an event fails, all is undone and done once more with a savepoint for
//! each event, so that the failed ones alone are undone and charged. A conflict undoes all and is nobody's
//! fault. What has ended is known when the commit is acknowledged, and not before.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use keylane_engine::{Attempt, Fence, Outcome, RunControl, RunReport, RunStand};

use super::{ModelRunner, RunOut, Told};
use crate::database::{Answer, EndedAs, Line, Request, Transaction};
use crate::draw::Draw;
use crate::mutation::Mutation;
use crate::trace::{How, Note};

/// How often a run is done once more after a conflict.
const CONFLICTS_MAX: u32 = 3;

/// A run, over all that is undone and done once more.
pub(super) struct Written<'a> {
    pub runner: &'a ModelRunner,
    pub line: &'a Arc<Line>,
    pub fence: Fence,
    pub attempts: &'a [Attempt],
    /// Counts the passes.
    pub pass: u64,
    pub savepoints: bool,
    pub conflicts: u32,
    /// Events that had begun in an earlier pass.
    pub begun: BTreeSet<i64>,
    /// Events that turned out to have ended before.
    pub ended: BTreeSet<i64>,
    /// The event for which the run was undone first.
    pub failed_first: Option<i64>,
}

/// Why a pass is over.
enum Over {
    Reported(Vec<Outcome>),
    FirstFailure,
    Undone(Answer),
}

impl Written<'_> {
    pub(super) async fn run(mut self, out: &mut RunOut<'_>, control: &RunControl) -> RunReport {
        let process = self.runner.process.clone();
        let mut control = control.clone();
        loop {
            let over = self.pass(out, &control).await;
            out.handling = None;
            let answer = match over {
                Over::Reported(outcomes) => return self.report(outcomes, RunStand::Kept),
                Over::FirstFailure => {
                    process.saw("run redone with savepoints");
                    self.savepoints = true;
                    Answer::Done
                }
                Over::Undone(answer) => answer,
            };
            let (place, number, run) = (out.place, out.number, out.run);
            process.note(Note::Undone { place, number, run });
            match answer {
                Answer::NotOwner => return self.none(RunStand::Overtaken),
                Answer::Conflict => self.conflicts += 1,
                Answer::ClaimExists if self.ask_what_ended().await => {}
                Answer::Done => {}
                answer => return self.none(RunStand::InDoubt(format!("the model says {answer:?}"))),
            }
            control = control.again();
            if self.conflicts > CONFLICTS_MAX || !control.may_begin_next() {
                process.saw("run given back undone");
                return self.none(RunStand::Kept);
            }
            if answer == Answer::Conflict {
                process.saw("run redone after a conflict");
                let wait_ms = self.draw(out).between(1, 30);
                tokio::time::sleep(Duration::from_millis(wait_ms)).await;
            }
        }
    }

    fn draw(&self, out: &RunOut<'_>) -> Draw {
        Draw::of(&[self.runner.process.plan.seed, 13, out.run, self.pass])
    }

    fn report(&self, outcomes: Vec<Outcome>, stand: RunStand) -> RunReport {
        RunReport { stand, conflicts: self.conflicts, ..outcomes.into() }
    }

    fn none(&self, stand: RunStand) -> RunReport {
        self.report(vec![Outcome::NotStarted; self.attempts.len()], stand)
    }

    async fn ask_what_ended(&mut self) -> bool {
        let offsets = self.attempts.iter().map(|attempt| attempt.event.offset).collect();
        match self.line.ask(Request::Ended { fence: self.fence, offsets }).await {
            Answer::Ended(offsets) => {
                self.ended.extend(offsets);
                true
            }
            _ => false,
        }
    }

    /// One transaction, from its beginning to its commit.
    async fn pass(&mut self, out: &mut RunOut<'_>, control: &RunControl) -> Over {
        self.pass += 1;
        let pool_ms = self.runner.database().map_or(0, |plan| plan.pool_ms);
        let wait_ms = self.draw(out).below(pool_ms + 1);
        if wait_ms > 0 {
            tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        }
        let mut transaction = match Transaction::begin(self.line, self.fence).await {
            Ok(transaction) => transaction,
            Err(answer) => return Over::Undone(answer),
        };
        let mut told: Vec<Told> = Vec::with_capacity(self.attempts.len());
        let mut stopped: Vec<u64> = Vec::new();
        let mut stopped_all = false;
        let mut any = false;
        for attempt in self.attempts {
            if let Some(known) = self.known(attempt.event.offset) {
                told.push(known);
                continue;
            }
            if any && !stopped_all && !control.may_begin_next() {
                self.runner.process.saw("run gave events back");
                stopped_all = true;
            }
            if stopped_all || stopped.contains(&attempt.lane) {
                told.push(Told::NotStarted);
                continue;
            }
            any = true;
            let one = match self.event(out, &mut transaction, attempt).await {
                Ok(one) => one,
                Err(answer) => return Over::Undone(answer),
            };
            if matches!(one, Told::Ended(How::Failed(_), _)) {
                if !self.savepoints {
                    self.failed_first = Some(attempt.event.offset);
                    return Over::FirstFailure;
                }
                stopped.push(attempt.lane);
                stopped_all |= self.runner.process.plan.runner.stops_at_failure;
            }
            told.push(one);
        }
        self.commit(out, transaction, told).await
    }

    /// What is told of an event that is not handled at all.
    fn known(&self, offset: i64) -> Option<Told> {
        if self.ended.contains(&offset) {
            return Some(Told::Before);
        }
        let leaves_out = self.runner.process.mutated(Mutation::LeavesOutTheFailed);
        (leaves_out && self.failed_first == Some(offset)).then_some(Told::NotStarted)
    }

    /// One event with its statement. The row is there before the event fails: it is to be undone.
    async fn event(
        &mut self,
        out: &mut RunOut<'_>,
        transaction: &mut Transaction,
        attempt: &Attempt,
    ) -> Result<Told, Answer> {
        let number = transaction.number;
        if self.savepoints {
            transaction.ask(Request::Savepoint { transaction: number }).await?;
        }
        let offset = attempt.event.offset;
        let is_first = self.begun.insert(offset);
        let (how, after_ms) = self.runner.call(out, attempt, self.pass, is_first).await;
        let outputs = self.runner.outputs(out.place, offset);
        transaction.ask(Request::Write { transaction: number, offset, outputs }).await?;
        out.handling = None;
        if how != How::Done && self.savepoints {
            transaction.ask(Request::RollbackTo { transaction: number }).await?;
        }
        Ok(Told::Ended(how, after_ms))
    }

    /// What ended is told when the commit is known.
    async fn commit(&self, out: &mut RunOut<'_>, mut transaction: Transaction, told: Vec<Told>) -> Over {
        let by_offset = || self.attempts.iter().map(|attempt| attempt.event.offset).zip(&told);
        let done = by_offset().filter(|(_, told)| matches!(told, Told::Ended(How::Done, _)));
        let endings: Vec<(i64, EndedAs)> = done.map(|(offset, _)| (offset, EndedAs::Done)).collect();
        if !endings.is_empty() {
            let number = transaction.number;
            if let Err(answer) = transaction.ask(Request::Finish { transaction: number, endings }).await {
                return Over::Undone(answer);
            }
            transaction.has_ended();
        }
        for (offset, told) in by_offset() {
            if let Told::Ended(how, after_ms) = told {
                out.tell(offset, *how, *after_ms);
            }
        }
        let charges_all = self.runner.process.mutated(Mutation::ChargesNeighbours);
        let bad = told.iter().any(|one| matches!(one, Told::Ended(How::Failed(_), _)));
        Over::Reported(told.into_iter().map(|one| one.outcome(charges_all && bad)).collect())
    }
}
