//! The transactions of one partition: which are open, and which were aborted.
//!
//! A reader of committed records gets nothing from the first record of an open transaction on, and is told
//! of the aborted ones whose records lie in what it reads.

use std::collections::BTreeMap;

/// A transaction that was aborted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Aborted {
    pub(crate) producer_id: i64,
    /// Its first record in this partition.
    pub(crate) first_offset: i64,
    /// Its marker.
    last_offset: i64,
}

/// What readers of committed records must know of a partition. The aborted transactions are bounded by the
/// log's bytes: each of them has a marker in it.
#[derive(Debug, Default)]
pub(crate) struct Unstable {
    /// The open ones: producer, and the offset of its first record.
    open: BTreeMap<i64, i64>,
    /// In the order of their markers.
    aborted: Vec<Aborted>,
}

impl Unstable {
    /// A batch of a transaction was stored here.
    pub(crate) fn written(&mut self, producer_id: i64, offset: i64) {
        self.open.entry(producer_id).or_insert(offset);
    }

    /// A marker was stored here. One without records before it ends nothing.
    pub(crate) fn ended(&mut self, producer_id: i64, commit: bool, marker_offset: i64) {
        let first = self.open.remove(&producer_id);
        if let Some(first_offset) = first.filter(|_| !commit) {
            self.aborted.push(Aborted { producer_id, first_offset, last_offset: marker_offset });
        }
    }

    /// Whether this producer has records of an open transaction here.
    pub(crate) fn is_open(&self, producer_id: i64) -> bool {
        self.open.contains_key(&producer_id)
    }

    /// The producers with an open transaction.
    pub(crate) fn producers(&self) -> Vec<i64> {
        self.open.keys().copied().collect()
    }

    /// The first record of any open transaction.
    pub(crate) fn first(&self) -> Option<i64> {
        self.open.values().min().copied()
    }

    /// The aborted transactions with records or markers from `from` on and before `before`.
    pub(crate) fn aborted(&self, from: i64, before: i64) -> Vec<Aborted> {
        let ended_before = self.aborted.partition_point(|aborted| aborted.last_offset < from);
        let rest = self.aborted.get(ended_before..).unwrap_or_default();
        rest.iter().filter(|aborted| aborted.first_offset < before).copied().collect()
    }

    /// Records before this offset were deleted.
    pub(crate) fn deleted_before(&mut self, offset: i64) {
        self.aborted.retain(|aborted| aborted.last_offset >= offset);
    }
}
