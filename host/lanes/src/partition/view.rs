//! What can be seen of a partition from outside, without changing it.

use super::Partition;
use crate::gap::GapSet;
use crate::lane::LaneId;
use crate::step::Halt;
use crate::waiting::Waiting;

/// A lane whose head waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneView {
    /// The offset of its head.
    pub offset: i64,
    /// Its name.
    pub lane: LaneId,
    /// The head's failed attempts, of every class.
    pub failures: u32,
    /// What the head waits for.
    pub state: Waiting,
    /// Events in the lane, the head counted.
    pub queued: usize,
}

/// How many lanes are in each state, and how many runs are out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LaneCounts {
    /// Lanes that wait for a slot.
    pub ready: usize,
    /// Lanes with events in a run.
    pub running: usize,
    /// Lanes whose head waits for its next attempt.
    pub parked: usize,
    /// Lanes whose head waits for an operator.
    pub paused: usize,
    /// Lanes whose head is on its way to the dead letters.
    pub burying: usize,
    /// Lanes whose head an operator gave up, while that is being noted.
    pub skipping: usize,
    /// Runs that are out.
    pub runs: usize,
}

impl Partition {
    /// The offset below which every event has ended: the base of what was restored, until it moves. It
    /// may lie beyond the newest arrival, over what had ended before.
    #[must_use]
    pub fn watermark(&self) -> i64 {
        self.ledger.watermark()
    }

    /// What has ended above the watermark. Takes time in proportion to [`Self::gap`].
    #[must_use]
    pub fn gap_set(&self) -> GapSet {
        self.ledger.gap_set()
    }

    /// The unfinished event at the watermark.
    #[must_use]
    pub fn blocking(&self) -> Option<i64> {
        self.ledger.blocking()
    }

    /// Why nothing more begins, if so.
    #[must_use]
    pub fn halted(&self) -> Option<Halt> {
        self.halted
    }

    /// Whether a slot would be put to use now.
    #[must_use]
    pub fn wants_slot(&self) -> bool {
        self.halted.is_none() && !self.ready.is_empty()
    }

    /// Whether more records may arrive: not into a halted partition, nor into a gap that is full. A
    /// record that arrives all the same is taken.
    #[must_use]
    pub fn admits(&self) -> bool {
        self.halted.is_none() && self.ledger.span() < self.policy.gap_max
    }

    /// When the first parked lane becomes ready, on the clock given to [`Self::step`]; none while the
    /// partition is halted.
    #[must_use]
    pub fn next_deadline_ms(&self) -> Option<u64> {
        let (until_ms, _) = self.waiting.first_due().filter(|_| self.halted.is_none())?;
        Some(until_ms)
    }

    /// Whether nothing is out: no run, no dead letter and no note of a skip.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        let no_ending = self.waiting.burying() == 0 && self.waiting.skipping() == 0;
        self.runs.is_empty() && self.condemned.is_empty() && no_ending
    }

    /// Records between the watermark and the newest arrival, without those that had ended before.
    #[must_use]
    pub fn gap(&self) -> usize {
        self.ledger.span()
    }

    /// How many claims lie above the watermark where each event has one that ended in another way than by
    /// not being wanted. All that had ended before counts.
    #[must_use]
    pub fn claims_above(&self) -> usize {
        self.ledger.claims_above()
    }

    /// The first `limit` lanes whose head waits, by the offset of the head. How many there are is in
    /// [`Self::counts`].
    #[must_use]
    pub fn lane_views(&self, limit: usize) -> Vec<LaneView> {
        let waiting = self.waiting.iter().take(limit);
        waiting
            .filter_map(|(offset, id, state)| {
                let lane = self.lanes.get(&id)?;
                Some(LaneView {
                    offset,
                    lane: id,
                    failures: lane.charges.failures(),
                    state,
                    queued: lane.len(),
                })
            })
            .collect()
    }

    /// How many lanes are in each state.
    #[must_use]
    pub fn counts(&self) -> LaneCounts {
        let (ready, waiting) = (self.ready.len(), &self.waiting);
        let (parked, paused) = (waiting.parked(), waiting.paused());
        let (burying, skipping) = (waiting.burying(), waiting.skipping());
        LaneCounts {
            ready,
            running: self.lanes.len() - ready - parked - paused - burying - skipping,
            parked,
            paused,
            burying,
            skipping,
            runs: self.runs.len(),
        }
    }
}
