//! The ledger: which offsets of the partition have ended, and so where the watermark stands.

use std::collections::VecDeque;
use std::ops::Range;

use crate::gap::GapSet;

/// Records between the watermark and the newest arrival, each with whether it has ended, and what had
/// ended before this assignment began.
///
/// Only offsets that arrived and were not done before are kept: an offset that never comes (compaction,
/// a transaction's marker) leaves no entry and so blocks nothing.
#[derive(Debug)]
pub(crate) struct Ledger {
    /// In offset order. The front has not ended: ended ones are taken off at once.
    entries: VecDeque<Entry>,
    /// No offset below is still to come: one past the newest arrival, or what the client has passed.
    next: i64,
    /// How many of the entries have ended in another way than by not being wanted.
    claims: usize,
    /// What had ended before, as far as it is above the watermark. No entry lies inside.
    before: VecDeque<Range<i64>>,
    /// How many offsets those ranges hold.
    ended_before: i64,
}

#[derive(Debug)]
struct Entry {
    offset: i64,
    ended: bool,
    wanted: bool,
}

impl Ledger {
    /// A ledger whose reading starts at the base of what was done before.
    pub(crate) fn new(restored: GapSet) -> Self {
        assert!(restored.is_sound(), "a restored gap set is out of order: {restored:?}");
        let ended_before = restored.ended.iter().map(length).sum();
        let before = restored.ended.into();
        Self { entries: VecDeque::new(), next: restored.base, claims: 0, before, ended_before }
    }

    /// Notes a record that has arrived. Answers whether it is still to be done: one that had ended
    /// before has ended.
    pub(crate) fn arrive(&mut self, offset: i64) -> bool {
        assert!(offset >= self.next, "offset {offset} arrived, and nothing below {} was to come", self.next);
        self.next = offset + 1;
        let fresh = self.range_with(offset).is_none();
        if fresh {
            self.entries.push_back(Entry { offset, ended: false, wanted: true });
        }
        self.forget();
        fresh
    }

    /// Notes that no offset below `next` is still to come.
    pub(crate) fn reach(&mut self, next: i64) {
        self.next = self.next.max(next);
        self.forget();
    }

    /// Notes that the record at `offset` has ended.
    pub(crate) fn end(&mut self, offset: i64) {
        self.close(offset, true);
    }

    /// Notes that the record at `offset` has ended because nobody wants it.
    pub(crate) fn pass(&mut self, offset: i64) {
        self.close(offset, false);
    }

    fn close(&mut self, offset: i64, wanted: bool) {
        let at = self.entries.partition_point(|entry| entry.offset < offset);
        let entry = self.entries.get_mut(at).filter(|entry| entry.offset == offset && !entry.ended);
        assert!(entry.is_some(), "offset {offset} ended without having arrived, or ended twice");
        let Some(entry) = entry else { return };
        (entry.ended, entry.wanted) = (true, wanted);
        self.claims += usize::from(wanted);
        while let Some(entry) = self.entries.pop_front_if(|entry| entry.ended) {
            self.claims -= usize::from(entry.wanted);
        }
        self.forget();
    }

    /// The offset below which every record has ended. It may lie beyond what has arrived: what had ended
    /// before needs no second look.
    pub(crate) fn watermark(&self) -> i64 {
        let settled = || self.range_with(self.next).map_or(self.next, |range| range.end);
        self.blocking().unwrap_or_else(settled)
    }

    /// The unfinished record at the watermark.
    pub(crate) fn blocking(&self) -> Option<i64> {
        self.entries.front().map(|entry| entry.offset)
    }

    /// Records from the watermark to the newest arrival, without those that had ended before.
    pub(crate) fn span(&self) -> usize {
        self.entries.len()
    }

    /// How many records above the watermark have ended in another way than by not being wanted, those
    /// counted that had ended before.
    pub(crate) fn claims_above(&self) -> usize {
        // Of what is not forgotten, only the range that the client stands in can lie below the watermark.
        let passed =
            self.range_with(self.next).filter(|range| range.end <= self.watermark()).map_or(0, length);
        self.claims + usize::try_from(self.ended_before - passed).unwrap_or(usize::MAX)
    }

    /// What has ended above the watermark. Offsets that never came are counted in where they lie between
    /// two that have ended: it takes fewer ranges. Above the newest arrival nothing is known of the
    /// offsets between the ranges, so those stay apart.
    pub(crate) fn gap_set(&self) -> GapSet {
        let base = self.watermark();
        let mut ended: Vec<Range<i64>> = Vec::new();
        let mut joins = false;
        let mut before = self.before.iter().filter(|range| range.start > base).peekable();
        for entry in &self.entries {
            while let Some(range) = before.next_if(|range| range.start < entry.offset) {
                join(&mut ended, joins, range);
                joins = true;
            }
            if entry.ended {
                join(&mut ended, joins, &(entry.offset..entry.offset + 1));
            }
            joins = entry.ended;
        }
        for range in before {
            join(&mut ended, joins && range.start <= self.next, range);
            joins = true;
        }
        GapSet { base, ended }
    }

    /// The range of what had ended before that holds `offset`.
    fn range_with(&self, offset: i64) -> Option<&Range<i64>> {
        let at = self.before.partition_point(|range| range.end <= offset);
        self.before.get(at).filter(|range| range.contains(&offset))
    }

    /// Forgets what had ended before and lies below both the watermark and what is still to come.
    fn forget(&mut self) {
        let settled = self.watermark().min(self.next);
        while let Some(range) = self.before.pop_front_if(|range| range.end <= settled) {
            self.ended_before -= length(&range);
        }
    }
}

fn length(range: &Range<i64>) -> i64 {
    range.end - range.start
}

/// Appends a range, or lets the last one reach to its end.
fn join(ended: &mut Vec<Range<i64>>, joins: bool, range: &Range<i64>) {
    match ended.last_mut().filter(|_| joins) {
        Some(last) => last.end = range.end,
        None => ended.push(range.clone()),
    }
}

#[cfg(test)]
mod tests;
