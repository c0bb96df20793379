//! The gap set: what has ended above the watermark, so that a later assignment does not do it again.

use std::ops::Range;

/// What has ended above a watermark.
///
/// An offset that is in no range and not below `base` may be unfinished. One that never arrived may
/// stand in a range: there is nothing to do for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GapSet {
    /// The watermark: everything below has ended.
    pub base: i64,
    /// Half open ranges of offsets that have ended: none empty, in order, apart from each other by at
    /// least one offset, all above `base`.
    pub ended: Vec<Range<i64>>,
}

impl GapSet {
    /// Nothing has ended from `base` on.
    #[must_use]
    pub fn at(base: i64) -> Self {
        Self { base, ended: Vec::new() }
    }

    /// Whether the ranges are as they must be. Whoever makes a gap set from bytes asks this first.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let mut before = self.base;
        self.base >= 0
            && self.ended.iter().all(|range| {
                let apart = before < range.start && range.start < range.end;
                before = range.end;
                apart
            })
    }
}
