//! What is known of one transactional producer, and what it becomes.

use std::collections::BTreeSet;

use uuid::Uuid;

/// No epoch.
pub(super) const NONE: i16 = -1;

/// Where a transactional producer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It was let in and has begun nothing.
    Empty,
    /// A transaction is open.
    Open,
    /// Its transaction was committed.
    Committed,
    /// Its transaction was aborted.
    Aborted,
}

/// One transactional producer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) producer_id: i64,
    pub(crate) epoch: i16,
    /// The epoch before, if its owner may still come back with it; -1 if not.
    pub(crate) last_epoch: i16,
    pub(crate) timeout_ms: i32,
    pub(crate) phase: Phase,
    /// When the open transaction began, in milliseconds since 1970.
    pub(crate) started_ms: i64,
    /// The partitions of the open transaction; of an ended one, those without a marker.
    pub(crate) partitions: BTreeSet<(Uuid, i32)>,
    /// The groups whose offsets the open transaction may commit.
    pub(crate) groups: BTreeSet<String>,
}

impl Entry {
    /// A producer that comes for the first time, or has used up the epochs of its former number.
    pub(crate) fn new(producer_id: i64, timeout_ms: i32) -> Self {
        Self {
            producer_id,
            epoch: 0,
            last_epoch: NONE,
            timeout_ms,
            phase: Phase::Empty,
            started_ms: 0,
            partitions: BTreeSet::new(),
            groups: BTreeSet::new(),
        }
    }

    /// Whether markers of its last transaction are missing.
    pub(crate) fn is_ending(&self) -> bool {
        self.phase != Phase::Open && !self.partitions.is_empty()
    }

    /// The same with its transaction ended.
    pub(super) fn ended(&self, commit: bool) -> Self {
        let phase = if commit { Phase::Committed } else { Phase::Aborted };
        Self { phase, groups: BTreeSet::new(), ..self.clone() }
    }

    /// The same with its open transaction aborted under a new epoch: whoever holds the old one is fenced, but
    /// may ask for the new one if it knows what it had.
    pub(super) fn fenced(&self) -> Self {
        Self { epoch: self.epoch.saturating_add(1), last_epoch: self.epoch, ..self.ended(false) }
    }

    /// The same with a transaction open: its own, or a new one.
    pub(super) fn opened(&self, now_ms: i64) -> Self {
        if self.phase == Phase::Open {
            return self.clone();
        }
        let (partitions, groups) = (BTreeSet::new(), BTreeSet::new());
        Self { phase: Phase::Open, started_ms: now_ms, partitions, groups, ..self.clone() }
    }
}
