//! What became of a handler's events in this host, counted since it started.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of one handler, shared by its partitions' owners; each only ever grows.
#[derive(Debug, Default)]
pub struct Tally {
    arrived: AtomicU64,
    skipped: AtomicU64,
    done: AtomicU64,
    retried: AtomicU64,
    dead_lettered: AtomicU64,
    before: AtomicU64,
    faulted: AtomicU64,
}

/// The counters at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Records that arrived.
    pub arrived: u64,
    /// Records that the handler does not want.
    pub skipped: u64,
    /// Events handled.
    pub done: u64,
    /// Attempts that failed and after which another one comes.
    pub retried: u64,
    /// Events in the dead letters, acknowledged.
    pub dead_lettered: u64,
    /// Events that had ended under an earlier assignment and were read again.
    pub before: u64,
    /// Partitions that stopped on a fault of the host itself.
    pub faulted: u64,
}

impl Totals {
    /// Records whose story has ended.
    #[must_use]
    pub fn ended(&self) -> u64 {
        self.skipped + self.done + self.dead_lettered + self.before
    }
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Count {
    Arrived,
    Skipped,
    Done,
    Retried,
    DeadLettered,
    Before,
    Faulted,
}

impl Tally {
    pub(crate) fn add(&self, count: Count, events: u64) {
        let counter = match count {
            Count::Arrived => &self.arrived,
            Count::Skipped => &self.skipped,
            Count::Done => &self.done,
            Count::Retried => &self.retried,
            Count::DeadLettered => &self.dead_lettered,
            Count::Before => &self.before,
            Count::Faulted => &self.faulted,
        };
        counter.fetch_add(events, Ordering::Relaxed);
    }

    /// The counters now. They are read one after another, so a total may be a few events ahead of another.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Totals {
            arrived: read(&self.arrived),
            skipped: read(&self.skipped),
            done: read(&self.done),
            retried: read(&self.retried),
            dead_lettered: read(&self.dead_lettered),
            before: read(&self.before),
            faulted: read(&self.faulted),
        }
    }
}
