//! Which letters of a partition have been redriven: the gap set of its dead-letter topic.

use std::ops::Range;

/// Offsets that are done. Everything below `below` is; above it, the ranges are: sorted, apart from each
/// other and from `below`, none of them empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Done {
    below: i64,
    ranges: Vec<Range<i64>>,
}

impl Done {
    /// From parts that somebody wrote; none if they are not what they should be.
    pub(crate) fn from_parts(below: i64, ranges: Vec<Range<i64>>) -> Option<Self> {
        let mut free_from = below;
        let in_order = ranges.iter().all(|range| {
            let fits = range.start > free_from && range.end > range.start;
            free_from = range.end;
            fits
        });
        (below >= 0 && in_order).then_some(Self { below, ranges })
    }

    pub(crate) fn below(&self) -> i64 {
        self.below
    }

    pub(crate) fn ranges(&self) -> &[Range<i64>] {
        &self.ranges
    }

    pub(crate) fn contains(&self, offset: i64) -> bool {
        let next = self.ranges.partition_point(|range| range.end <= offset);
        offset < self.below || self.ranges.get(next).is_some_and(|range| range.contains(&offset))
    }

    /// These offsets are done.
    pub(crate) fn mark(&mut self, offsets: Range<i64>) {
        if offsets.is_empty() {
            return;
        }
        let first = self.ranges.partition_point(|range| range.end < offsets.start);
        let after = self.ranges.partition_point(|range| range.start <= offsets.end);
        let touched = self.ranges.get(first..after).unwrap_or_default();
        let start = touched.first().map_or(offsets.start, |range| range.start.min(offsets.start));
        let end = touched.last().map_or(offsets.end, |range| range.end.max(offsets.end));
        self.ranges.splice(first..after, std::iter::once(start..end));
        self.settle();
    }

    /// Everything below is done, because there is nothing any more.
    pub(crate) fn raise(&mut self, below: i64) {
        self.below = self.below.max(below);
        self.settle();
    }

    /// Takes what reaches down to `below` into it.
    fn settle(&mut self) {
        let taken = self.ranges.iter().take_while(|range| {
            let reaches = range.start <= self.below;
            if reaches {
                self.below = self.below.max(range.end);
            }
            reaches
        });
        let taken = taken.count();
        self.ranges.drain(..taken);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_touches_becomes_one() {
        let mut done = Done::default();
        done.mark(5..6);
        done.mark(7..9);
        assert_eq!((done.below(), done.ranges()), (0, &[5..6, 7..9][..]));
        done.mark(6..7);
        assert_eq!((done.below(), done.ranges().first()), (0, Some(&(5..9))));
        done.mark(0..5);
        assert_eq!((done.below(), done.ranges()), (9, &[][..]));
        done.mark(20..21);
        done.raise(20);
        assert_eq!((done.below(), done.ranges()), (21, &[][..]));
    }

    proptest! {
        #[test]
        fn it_is_the_set_of_what_was_marked(
            marks in proptest::collection::vec((0_i64..60, 0_i64..8), 0..30),
            floor in 0_i64..30,
        ) {
            let (mut done, mut set) = (Done::default(), BTreeSet::new());
            for (start, length) in marks {
                done.mark(start..start + length);
                set.extend(start..start + length);
                for offset in 0..70 {
                    prop_assert_eq!(done.contains(offset), set.contains(&offset), "{}", offset);
                }
                prop_assert!(Done::from_parts(done.below, done.ranges.clone()).is_some());
            }
            done.raise(floor);
            for offset in 0..70 {
                prop_assert_eq!(done.contains(offset), offset < floor || set.contains(&offset));
            }
            prop_assert!(Done::from_parts(done.below, done.ranges.clone()).is_some());
        }

        #[test]
        fn only_parts_in_order_are_taken(
            below in -2_i64..10,
            ranges in proptest::collection::vec((0_i64..20, 0_i64..20), 0..5),
        ) {
            let ranges: Vec<Range<i64>> = ranges.into_iter().map(|(start, end)| start..end).collect();
            let in_order = ranges.windows(2).all(|pair| pair[0].end < pair[1].start)
                && ranges.iter().all(|range| range.start < range.end && range.start > below);
            prop_assert_eq!(Done::from_parts(below, ranges).is_some(), below >= 0 && in_order);
        }
    }
}
