//! The owner's answers to an operator.

use keylane_lanes::{Action, Input, LaneView, Waiting};

use tokio::sync::oneshot;

use super::Owner;
use crate::control::{ControlError, Request};
use crate::ports::{DeadLetters, Runner};
use crate::status::{Blocking, ClaimsStatus, LaneStatus, Lanes, PartitionStatus, WAITING_TOLD_MAX};

impl<R: Runner, D: DeadLetters> Owner<R, D> {
    /// Whoever asked may have gone meanwhile: nobody is left to tell then.
    pub(super) fn answer(&mut self, request: Request) {
        match request {
            Request::Status(answer) => drop(answer.send(self.status())),
            Request::Resume { offset, done } => drop(done.send(self.resume(offset))),
            Request::Skip { offset, done } => self.skip(offset, done),
        }
    }

    fn resume(&mut self, offset: Option<i64>) -> Result<(), ControlError> {
        self.wish(Input::Resume { offset })?;
        tracing::warn!(
            handler = self.shared.options.name,
            source = %self.partition,
            offset,
            key = offset.and_then(|offset| self.held.key(offset)),
            "an operator resumed what waited"
        );
        Ok(())
    }

    /// Answered when the event has ended, by [`Self::skipped`], or by the end of the assignment.
    fn skip(&mut self, offset: i64, done: oneshot::Sender<Result<(), ControlError>>) {
        match self.wish(Input::SkipHead { offset }) {
            Ok(()) => drop(self.skips.insert(offset, done)),
            Err(refused) => drop(done.send(Err(refused))),
        }
    }

    /// It is written down that an operator gave the event up.
    pub(super) fn skipped(&mut self, offset: i64) {
        // The event is forgotten when it ends: what is to be said of it is read before.
        let key = self.held.key(offset);
        let (class, error) = self.held.failure(offset).unwrap_or_default();
        let (class, error) = (class.to_owned(), error.to_owned());
        self.step(Input::HeadSkipped { offset });
        self.pruner.note_claim();
        self.meters.skipped_by_operator.increment(1);
        tracing::warn!(
            handler = self.shared.options.name,
            source = %self.partition,
            offset,
            key,
            class,
            error,
            "an operator skipped an event: it counts as ended and is not handled again"
        );
        if let Some(done) = self.skips.remove(&offset) {
            drop(done.send(Ok(())));
        }
    }

    /// Granted only while what comes of it can still be committed: not once the final progress is told, and
    /// not where another host may own the partition by now.
    fn wish(&mut self, input: Input) -> Result<(), ControlError> {
        if self.is_drained() || !self.lease.holds() {
            return Err(ControlError::Gone);
        }
        let mut actions = Vec::new();
        self.lanes.step(self.now_ms(), input, &mut actions);
        let refused = actions.iter().find_map(|action| match action {
            Action::Refused { offset } => Some(*offset),
            _ => None,
        });
        self.carry_out(actions);
        refused.map_or(Ok(()), |offset| Err(ControlError::NotWaiting { offset }))
    }

    fn status(&self) -> PartitionStatus {
        let counts = self.lanes.counts();
        let views = self.lanes.lane_views(WAITING_TOLD_MAX);
        let heads = counts.parked + counts.paused + counts.burying + counts.skipping;
        let (buffered_records, buffered_bytes) = self.intake.held();
        let why_not = self.why_not();
        PartitionStatus {
            phase: self.phase().to_owned(),
            halted: self.reporter.halted().map(|reason| reason.to_string()),
            watermark: self.lanes.watermark(),
            next: self.next.max(self.lanes.watermark()),
            gap_records: self.lanes.gap(),
            gap_units: self.reporter.units(),
            claims: self.claims_status(),
            admits: why_not.is_none(),
            why_not: joined([why_not, self.why_cut()]),
            blocking: self.lanes.blocking().map(|offset| Blocking { offset, key: self.held.key(offset) }),
            buffered_records,
            buffered_bytes,
            lanes: Lanes {
                ready: counts.ready,
                running: counts.running,
                parked: counts.parked,
                paused: counts.paused,
                burying: counts.burying,
                skipping: counts.skipping,
                runs: counts.runs,
            },
            oldest_run_ms: self.out.oldest().map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
            waiting_more: heads.saturating_sub(views.len()),
            waiting: views.into_iter().map(|view| self.lane_status(view)).collect(),
        }
    }

    fn claims_status(&self) -> Option<ClaimsStatus> {
        let (floor, above_floor) = (self.pruner.floor(), self.pruner.claims());
        self.fenced.is_some().then_some(ClaimsStatus { floor, above_floor })
    }

    fn phase(&self) -> &'static str {
        match (self.draining, self.reporter.halted()) {
            (true, _) if self.is_drained() => "drained",
            (true, _) => "draining",
            (false, Some(_)) => "halted",
            (false, None) => "running",
        }
    }

    fn lane_status(&self, view: LaneView) -> LaneStatus {
        let now_ms = self.now_ms();
        let (state, next_try_in_ms) = match view.state {
            Waiting::Parked { until_ms } => ("parked", Some(until_ms.saturating_sub(now_ms))),
            Waiting::Paused => ("paused", None),
            Waiting::Burying => ("burying", None),
            Waiting::Skipping => ("skipping", None),
        };
        let failure = self.held.failure(view.offset);
        LaneStatus {
            offset: view.offset,
            key: self.held.key(view.offset),
            state: state.to_owned(),
            attempts: view.failures,
            next_try_in_ms,
            class: failure.map(|(class, _)| class.to_owned()),
            error: failure.map(|(_, error)| error.to_owned()),
            queued: view.queued,
        }
    }
}

/// All that is to be said, in one line; none if there is nothing.
fn joined(reasons: [Option<String>; 2]) -> Option<String> {
    reasons.into_iter().flatten().reduce(|before, more| format!("{before}; {more}"))
}
