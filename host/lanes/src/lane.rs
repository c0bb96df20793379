//! A lane: the queue of one key inside one partition.

use std::collections::VecDeque;

use crate::charges::Charges;

/// A lane's name inside its partition: a hash of the key. Keys whose hashes collide share a lane,
/// which orders more than was asked for and never less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LaneId(pub u64);

/// Where a lane stands. A lane without events does not exist, so there is no idle state to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LaneState {
    /// Waits among the ready ones for a slot.
    Ready,
    /// Its first `taken` events are in a run.
    Running { taken: usize },
    /// Its head waits, as [`crate::waiting::WaitingHeads`] says.
    Waiting,
}

/// The queue of one key, in offset order.
#[derive(Debug)]
pub(crate) struct Lane {
    queue: VecDeque<i64>,
    /// The charges of the head.
    pub(crate) charges: Charges,
    pub(crate) state: LaneState,
}

impl Lane {
    /// A lane that has just got its first event.
    pub(crate) fn with(first: i64) -> Self {
        Self { queue: VecDeque::from([first]), charges: Charges::default(), state: LaneState::Ready }
    }

    /// Appends an event that arrived later than all others of this lane.
    pub(crate) fn push(&mut self, offset: i64) {
        let newest = self.queue.back().copied();
        assert!(newest < Some(offset), "lane out of order: {offset} after {newest:?}");
        self.queue.push_back(offset);
    }

    pub(crate) fn head(&self) -> Option<i64> {
        self.queue.front().copied()
    }

    /// Takes the head off, and with it what it was charged.
    pub(crate) fn pop(&mut self) -> Option<i64> {
        self.charges = Charges::default();
        self.queue.pop_front()
    }

    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// How many events a run may take from this lane: one if the head has failed before, so that
    /// what follows it is not begun in vain.
    pub(crate) fn takeable(&self) -> usize {
        assert_eq!(self.state, LaneState::Ready, "only a ready lane gives events to a run");
        if self.charges.failures() > 0 { 1 } else { self.queue.len() }
    }

    /// The first `count` events, each with the number of its next attempt.
    pub(crate) fn next_attempts(&self, count: usize) -> impl Iterator<Item = (i64, u32)> + '_ {
        let numbers = std::iter::once(self.charges.failures() + 1).chain(std::iter::repeat(1));
        self.queue.iter().copied().zip(numbers).take(count)
    }
}
