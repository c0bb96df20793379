//! The ledger: which offsets of the partition have ended, and so where the watermark stands.

use std::collections::VecDeque;

/// Records between the watermark and the newest arrival, each with whether it has ended.
///
/// Only offsets that arrived are kept: an offset that never comes (compaction, a transaction's marker)
/// leaves no entry and so blocks nothing.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// In offset order. The front has not ended: ended ones are taken off at once.
    entries: VecDeque<Entry>,
    /// One past the newest arrival.
    next: Option<i64>,
}

#[derive(Debug)]
struct Entry {
    offset: i64,
    ended: bool,
}

impl Ledger {
    /// Notes a record that has arrived and not ended.
    pub(crate) fn arrive(&mut self, offset: i64) {
        assert!(offset >= 0, "offset {offset} is negative");
        assert!(self.next.is_none_or(|next| offset >= next), "offset {offset} arrived after {:?}", self.next);
        self.entries.push_back(Entry { offset, ended: false });
        self.next = Some(offset + 1);
    }

    /// Notes that the record at `offset` has ended.
    pub(crate) fn end(&mut self, offset: i64) {
        let at = self.entries.partition_point(|entry| entry.offset < offset);
        let entry = self.entries.get_mut(at).filter(|entry| entry.offset == offset);
        let fresh = entry.is_some_and(|entry| !std::mem::replace(&mut entry.ended, true));
        assert!(fresh, "offset {offset} ended without having arrived, or ended twice");
        while self.entries.front().is_some_and(|entry| entry.ended) {
            self.entries.pop_front();
        }
    }

    /// The offset below which every record has ended; none before the first arrival.
    pub(crate) fn watermark(&self) -> Option<i64> {
        self.entries.front().map(|entry| entry.offset).or(self.next)
    }

    /// Records from the watermark to the newest arrival.
    pub(crate) fn span(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watermark_stays_below_the_first_unfinished() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.watermark(), None);
        for offset in [5, 6, 9] {
            ledger.arrive(offset);
        }
        assert_eq!(ledger.watermark(), Some(5));
        ledger.end(6);
        assert_eq!(ledger.watermark(), Some(5));
        ledger.end(5);
        assert_eq!(ledger.watermark(), Some(9), "7 and 8 never arrived and block nothing");
        ledger.end(9);
        assert_eq!((ledger.watermark(), ledger.span()), (Some(10), 0));
    }

    #[test]
    #[should_panic(expected = "ended twice")]
    fn nothing_ends_twice() {
        let mut ledger = Ledger::default();
        ledger.arrive(1);
        ledger.arrive(2);
        ledger.end(2);
        ledger.end(2);
    }

    #[test]
    #[should_panic(expected = "arrived after")]
    fn arrivals_are_in_order() {
        let mut ledger = Ledger::default();
        ledger.arrive(2);
        ledger.arrive(1);
    }
}
