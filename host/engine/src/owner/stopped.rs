//! Why a partition takes in nothing more, and which key it waits for: said in the log, by a gauge and in the
//! status.

use std::cmp::Reverse;

use keylane_lanes::LaneView;

use super::Owner;
use super::pruning::CLAIMS_ABOVE_FLOOR_MAX;
use crate::payload::{PAYLOAD_UNITS_HIGH, PAYLOAD_UNITS_MAX};
use crate::ports::{DeadLetters, Runner};

/// An inbox that is full of events that wait no longer than this for their next attempt is not cried out
/// about: a handler that is slower than its topic has a full inbox all day, and a retry now and then.
const ORDINARY_WAIT_MS: u64 = 1_000;

/// A partition that takes in nothing more until one key gets on.
struct Stopped {
    reason: String,
    /// The head of that key's lane.
    offset: Option<i64>,
    /// Whether it is worth a line in the log.
    lasting: bool,
}

impl<R: Runner, D: DeadLetters> Owner<R, D> {
    /// Says loudly, once for each event that is the cause, that nothing more is taken in, and which key it
    /// waits for.
    pub(super) fn tell_if_stopped(&mut self) {
        let stopped = self.stopped();
        self.meters.admission_stopped.set(if stopped.is_some() { 1.0 } else { 0.0 });
        let Some(Stopped { reason, offset, .. }) = stopped.filter(|stopped| stopped.lasting) else { return };
        if self.reporter.told == offset {
            return;
        }
        self.reporter.told = offset;
        self.meters.admission_stops.increment(1);
        tracing::error!(
            handler = self.shared.options.name,
            source = %self.partition,
            offset,
            key = offset.and_then(|offset| self.held.key(offset)),
            reason,
            "the partition takes in nothing more until the key that blocks it gets on"
        );
    }

    fn stopped(&self) -> Option<Stopped> {
        if let Some(reason) = self.why_commit_is_full() {
            return Some(Stopped { reason, offset: self.lanes.blocking(), lasting: true });
        }
        if let Some(reason) = self.why_claims_are_full() {
            let lasting = self.lanes.claims_above() >= CLAIMS_ABOVE_FLOOR_MAX;
            return Some(Stopped { reason, offset: self.lanes.blocking(), lasting });
        }
        // Asked first: a full inbox is ordinary, and its words are made at each turn of the owner.
        let reason = if self.is_stalled() { self.intake.why_full()? } else { return None };
        let next_attempt_ms = self.lanes.next_deadline_ms();
        let soon_ms = self.now_ms().saturating_add(ORDINARY_WAIT_MS);
        Some(Stopped {
            reason,
            offset: self.longest_waiting().map(|lane| lane.offset),
            lasting: next_attempt_ms.is_none_or(|at_ms| at_ms > soon_ms),
        })
    }

    /// Whether all that was delivered waits for a later attempt or an operator, and nothing is to do before.
    /// A halted partition and one that is given up say so themselves.
    fn is_stalled(&self) -> bool {
        let nothing_else = !self.draining && self.lanes.halted().is_none() && self.lanes.is_quiet();
        nothing_else && self.lanes.counts().ready == 0 && self.held.len() == self.intake.held().0
    }

    /// The lane that holds most of what waits; the oldest of equals.
    fn longest_waiting(&self) -> Option<LaneView> {
        let lanes = self.lanes.lane_views(usize::MAX);
        lanes.into_iter().max_by_key(|lane| (lane.queued, Reverse(lane.offset)))
    }

    /// Why nothing more is taken in, for the status: also what is ordinary and passes by itself.
    pub(super) fn why_not(&self) -> Option<String> {
        if self.draining {
            return Some("the partition is being given up".to_owned());
        }
        if let Some(reason) = self.why_commit_is_full().or_else(|| self.why_claims_are_full()) {
            return Some(reason);
        }
        if self.lanes.halted().is_some() {
            return Some("the partition is halted".to_owned());
        }
        if let Some(reason) = self.why_basket_is_full() {
            return Some(reason);
        }
        let reason = self.intake.why_full()?;
        let Some(LaneView { offset, queued, .. }) = self.longest_waiting() else { return Some(reason) };
        let key = self.held.key(offset).map_or("no key".to_owned(), |key| format!("key {key}"));
        Some(format!("{reason}; {queued} records are in the lane of offset {offset} ({key}), which waits"))
    }

    /// What a commit that was cut means, for the status.
    pub(super) fn why_cut(&self) -> Option<String> {
        self.reporter.truncated().then(|| {
            "the commit does not tell of all that has ended above the watermark: the rest would be done again \
             after a hand-over"
                .to_owned()
        })
    }

    /// Where the watermark has passed most claims, the next prune makes room, and no key is the cause.
    fn why_claims_are_full(&self) -> Option<String> {
        (!self.claims_admit()).then(|| {
            format!(
                "{} claims lie above the floor in the handler's database; the most are {CLAIMS_ABOVE_FLOOR_MAX}",
                self.pruner.claims()
            )
        })
    }

    fn why_commit_is_full(&self) -> Option<String> {
        let (gap, gap_max) = (self.lanes.gap(), self.shared.options.policy.gap_max);
        if gap >= gap_max {
            return Some(format!(
                "{gap} records lie between the watermark and the newest; the most are {gap_max}"
            ));
        }
        let units = self.reporter.units();
        (!self.reporter.admits(self.next)).then(|| {
            format!(
                "what has ended above the watermark takes {units} of {PAYLOAD_UNITS_MAX} characters of the \
                 commit; above {PAYLOAD_UNITS_HIGH}, or where not all of it fits, nothing new is taken in"
            )
        })
    }
}
