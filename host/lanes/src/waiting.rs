//! Heads that wait: for a later attempt, for an operator, or for their dead letter.

use std::collections::{BTreeMap, BTreeSet};

use crate::lane::LaneId;

/// What the head of a lane waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// For its next attempt.
    Parked {
        /// When that may begin, on the clock given to [`crate::Partition::step`].
        until_ms: u64,
    },
    /// For an operator.
    Paused,
    /// For the acknowledgement of its dead letter.
    Burying,
    /// For the note that an operator gave it up.
    Skipping,
}

/// The heads of all lanes that are neither ready nor running.
#[derive(Debug, Default)]
pub(crate) struct WaitingHeads {
    heads: BTreeMap<i64, (LaneId, Waiting)>,
    /// Deadline and offset of the parked ones.
    deadlines: BTreeSet<(u64, i64)>,
    /// Offsets of the paused ones.
    paused: BTreeSet<i64>,
    /// How many an operator gave up.
    skipping: usize,
}

impl WaitingHeads {
    pub(crate) fn insert(&mut self, offset: i64, lane: LaneId, waiting: Waiting) {
        match waiting {
            Waiting::Parked { until_ms } => drop(self.deadlines.insert((until_ms, offset))),
            Waiting::Paused => drop(self.paused.insert(offset)),
            Waiting::Skipping => self.skipping += 1,
            Waiting::Burying => {}
        }
        let before = self.heads.insert(offset, (lane, waiting));
        assert!(before.is_none(), "offset {offset} waits twice");
    }

    /// Takes off the head at `offset` if it waits in a way that `wanted` takes.
    pub(crate) fn remove_if(&mut self, offset: i64, wanted: impl Fn(Waiting) -> bool) -> Option<LaneId> {
        let (lane, waiting) = self.heads.get(&offset).copied().filter(|(_, waiting)| wanted(*waiting))?;
        self.heads.remove(&offset);
        match waiting {
            Waiting::Parked { until_ms } => drop(self.deadlines.remove(&(until_ms, offset))),
            Waiting::Paused => drop(self.paused.remove(&offset)),
            Waiting::Skipping => self.skipping -= 1,
            Waiting::Burying => {}
        }
        Some(lane)
    }

    /// The deadline and the offset of the head that is due first.
    pub(crate) fn first_due(&self) -> Option<(u64, i64)> {
        self.deadlines.first().copied()
    }

    /// The oldest head that waits for an operator.
    pub(crate) fn first_paused(&self) -> Option<i64> {
        self.paused.first().copied()
    }

    pub(crate) fn parked(&self) -> usize {
        self.deadlines.len()
    }

    pub(crate) fn paused(&self) -> usize {
        self.paused.len()
    }

    pub(crate) fn skipping(&self) -> usize {
        self.skipping
    }

    pub(crate) fn burying(&self) -> usize {
        self.heads.len() - self.parked() - self.paused() - self.skipping()
    }

    /// All of them, in offset order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (i64, LaneId, Waiting)> + '_ {
        self.heads.iter().map(|(offset, (lane, waiting))| (*offset, *lane, *waiting))
    }
}
