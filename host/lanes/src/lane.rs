//! A lane: the queue of one key inside one partition.

use std::collections::VecDeque;

/// A lane's name inside its partition: a hash of the key. Keys whose hashes collide share a lane,
/// which orders more than was asked for and never less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LaneId(pub u64);

/// An event that has arrived and not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pending {
    pub(crate) offset: i64,
    /// Attempts that failed so far.
    pub(crate) failures: u32,
}

/// Where a lane stands. A lane without events does not exist, so there is no idle state to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LaneState {
    /// Waits among the ready ones for a slot.
    Ready,
    /// Its first `taken` events are in a run.
    Running { taken: usize },
    /// Its head failed and waits for its next attempt.
    Parked { until_ms: u64 },
    /// Its head is on its way to the dead letters.
    Burying,
}

/// The queue of one key, in offset order.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) queue: VecDeque<Pending>,
    pub(crate) state: LaneState,
}

impl Lane {
    /// A lane that has just got its first event.
    pub(crate) fn with(first: Pending) -> Self {
        Self { queue: VecDeque::from([first]), state: LaneState::Ready }
    }

    /// Appends an event that arrived later than all others of this lane.
    pub(crate) fn push(&mut self, event: Pending) {
        let newest = self.queue.back().map(|last| last.offset);
        assert!(newest < Some(event.offset), "lane out of order: {} after {newest:?}", event.offset);
        self.queue.push_back(event);
    }

    /// How many events a run may take from this lane: one if the head has failed before, so that
    /// what follows it is not begun in vain.
    pub(crate) fn takeable(&self) -> usize {
        assert_eq!(self.state, LaneState::Ready, "only a ready lane gives events to a run");
        if self.queue.front().is_some_and(|head| head.failures > 0) { 1 } else { self.queue.len() }
    }
}
