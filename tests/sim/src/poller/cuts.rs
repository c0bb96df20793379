//! What is known of the cuts of one handler in one host. [`super::cutting`] has what the poller does with it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use keylane_engine::{CutQuestion, Ownership, Snapshot};
use tokio::time::Instant;

use super::closed::ClosedTopics;
use super::commits::Item;
use super::cutter::Cutter;
use super::feed::Feed;
use crate::database::Row;
use crate::trace::Place;

/// The longest wait for an owner's snapshot.
pub(super) const ANSWER_LIMIT: Duration = Duration::from_millis(100);
/// The wait after a cut that failed; it doubles.
const AGAIN_FIRST: Duration = Duration::from_millis(20);
const AGAIN_MOST: Duration = Duration::from_millis(500);
/// How often the most records of a cut are halved at most.
const HALVED_MAX: u32 = 4;

/// The poller's cuts.
pub struct Cuts {
    pub(super) cutter: Cutter,
    pub(super) next: Instant,
    pub(super) step: Step,
    /// None begins now: something else comes first.
    pub(super) held_off: bool,
    /// Assignments whose last snapshot was not committed.
    pub(super) owed: BTreeSet<u64>,
    pub(super) failures: u32,
    /// How often the most records of a cut are halved: once more by each that fails.
    pub(super) halved: u32,
    /// The latest cut that each assignment had a part in. Who had none for longest comes first.
    turns: BTreeMap<u64, u64>,
    turn: u64,
    pub(super) proof_failed: bool,
    pub(super) closed: ClosedTopics,
    /// By partition and offset: events whose records were refused for good.
    pub(super) refused: BTreeMap<i32, BTreeMap<i64, String>>,
    /// Partitions that are to be dropped and taken anew.
    pub(super) set_back: BTreeSet<i32>,
    /// What the mutation sends with a later cut.
    pub(super) left_out: Vec<Row>,
}

pub(super) enum Step {
    Resting,
    Asking(Asking),
    Sending(Sending),
}

pub(super) struct Asking {
    pub(super) who: (u64, u64),
    pub(super) begun: Instant,
    /// When the answers are looked at: the thread may have other things to do until then.
    pub(super) look: Instant,
    /// On the boot-time clock.
    pub(super) sent: Duration,
    pub(super) asked: Vec<(Place, u64, CutQuestion)>,
    pub(super) made: Vec<(Place, u64, Snapshot)>,
}

pub(super) struct Sending {
    pub(super) begun: Instant,
    pub(super) sent: Duration,
    pub(super) parts: Vec<Part>,
}

/// One partition's part of a cut.
pub(super) struct Part {
    pub(super) item: Item,
    pub(super) snapshot: u64,
    pub(super) endings: Vec<i64>,
    pub(super) rows: Vec<Row>,
}

impl Cuts {
    pub fn new(cutter: Cutter) -> Self {
        Self {
            cutter,
            next: Instant::now(),
            step: Step::Resting,
            held_off: false,
            owed: BTreeSet::new(),
            failures: 0,
            halved: 0,
            turns: BTreeMap::new(),
            turn: 0,
            proof_failed: false,
            closed: ClosedTopics::default(),
            refused: BTreeMap::new(),
            set_back: BTreeSet::new(),
            left_out: Vec::new(),
        }
    }

    pub(super) fn is_resting(&self) -> bool {
        matches!(self.step, Step::Resting)
    }

    /// Whether there may be something to cut of this partition now.
    pub(super) fn wants(&self, feed: &Feed) -> bool {
        let ownership = feed.inbox.ownership();
        let answers = !ownership.is_lost() && ownership != Ownership::Faulted;
        let has_any = feed.inbox.is_stirred() || self.owed.contains(&feed.number);
        let partition = feed.place.partition;
        answers && has_any && !self.set_back.contains(&partition) && !self.closed.keeps(partition)
    }

    pub(super) fn fail(&mut self, parts: &[Part]) {
        self.owed.extend(parts.iter().map(|part| part.item.number));
        self.step = Step::Resting;
        self.next = Instant::now() + pause_after(self.failures);
        self.failures += 1;
        self.halved = (self.halved + 1).min(HALVED_MAX);
    }

    /// The most records of the next one, of so many; the last partition's share may pass it.
    pub(super) fn records_max(&self, unhalved: usize) -> usize {
        (unhalved >> self.halved).max(1)
    }

    /// One of so many records is committed. A small one says nothing of larger ones.
    pub(super) fn grow(&mut self, records: usize, unhalved: usize) {
        if records >= self.records_max(unhalved) / 2 {
            self.halved = self.halved.saturating_sub(1);
        }
    }

    /// When this assignment had its latest part in a cut.
    pub(super) fn turn_of(&self, number: u64) -> u64 {
        self.turns.get(&number).copied().unwrap_or_default()
    }

    /// These have a part in a cut now.
    pub(super) fn take_turn(&mut self, numbers: impl Iterator<Item = u64>) {
        self.turn += 1;
        self.turns.extend(numbers.map(|number| (number, self.turn)));
    }

    /// Only these are assigned.
    pub(super) fn forget_all_but(&mut self, assigned: &BTreeSet<u64>) {
        self.owed.retain(|number| assigned.contains(number));
        self.turns.retain(|number, _| assigned.contains(number));
    }

    /// What was refused of this partition.
    pub fn refused(&self, partition: i32) -> BTreeMap<i64, String> {
        self.refused.get(&partition).cloned().unwrap_or_default()
    }

    /// The partition is another host's from now on.
    pub fn forget(&mut self, partition: i32) {
        self.refused.remove(&partition);
        self.set_back.remove(&partition);
        self.closed.end_wait(partition);
    }

    pub fn is_set_back(&self, partition: i32) -> bool {
        self.set_back.contains(&partition)
    }

    pub fn take_set_back(&mut self) -> BTreeSet<i32> {
        std::mem::take(&mut self.set_back)
    }
}

/// The pause after a try that followed so many others in vain.
pub(super) fn pause_after(failures: u32) -> Duration {
    (AGAIN_FIRST * (1 << failures.min(8))).min(AGAIN_MOST)
}
