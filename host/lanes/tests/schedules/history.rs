//! What is known over all lives of a partition: what the log holds and what has really ended. It checks
//! the promises without knowing how they are kept.

use std::collections::{BTreeMap, BTreeSet};

use keylane_lanes::{Ending, GapSet, LaneId};

/// What a record of the log is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Wanted(LaneId),
    Unwanted,
    Condemned,
}

#[derive(Default)]
pub struct History {
    /// What the log holds now; compaction takes records away.
    pub log: BTreeMap<i64, Kind>,
    /// One past the newest record.
    pub log_end: i64,
    /// Offsets whose story has ended, in this life or an earlier one.
    ended: BTreeSet<i64>,
    /// Offsets that no later life may run: they had ended when its progress was written down.
    settled: BTreeSet<i64>,
    /// The newest event handled in each lane, in this life.
    handled: BTreeMap<LaneId, i64>,
}

impl History {
    pub fn begun(&self, offset: i64) {
        assert!(!self.settled.contains(&offset), "{offset} had ended, which was restored, and runs again");
    }

    pub fn handled(&mut self, lane: LaneId, offset: i64) {
        let before = self.handled.insert(lane, offset);
        assert!(before < Some(offset), "{lane:?} went back from {before:?} to {offset}");
    }

    pub fn ended(&mut self, offset: i64, ending: Ending) {
        if ending == Ending::Before {
            assert!(self.ended.contains(&offset), "{offset} never ended before");
        } else {
            self.ended.insert(offset);
        }
    }

    /// Whether progress may be written down like this: nothing unfinished is in it.
    pub fn check(&self, progress: &GapSet) {
        for offset in self.log.keys() {
            assert!(
                !holds(progress, *offset) || self.ended.contains(offset),
                "{offset} has not ended and would be lost: {progress:?}"
            );
        }
    }

    /// A new life begins with what was written down.
    pub fn restart(&mut self, progress: &GapSet) {
        self.handled.clear();
        self.settled = self.ended.iter().copied().filter(|offset| holds(progress, *offset)).collect();
    }

    pub fn all_ended(&self) -> bool {
        self.log.keys().all(|offset| self.ended.contains(offset))
    }
}

/// Whether progress says that `offset` has ended.
pub fn holds(progress: &GapSet, offset: i64) -> bool {
    offset < progress.base || progress.ended.iter().any(|range| range.contains(&offset))
}
