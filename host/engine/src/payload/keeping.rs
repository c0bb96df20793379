//! The payload of a cut that cannot tell of all that has ended: it tells of what was told before, at least.
//!
//! With the events that a cut tells of, their records are committed. One that the next cut did not tell of any
//! more would be done again by whoever takes the partition then, and its records would be there twice. The first
//! ranges alone do that: what ends further down pushes out what lies above.

use std::ops::Range;
use std::sync::Arc;

use keylane_lanes::GapSet;

use super::{CODED_BYTES_MAX, PAYLOAD_UNITS_ENOUGH, ROOM_UNITS, assemble, runs, shortest};
use crate::assignment::TopicId;

/// The payload of what was `told`, with as many of the first ranges of `gap` as fit, and what it tells of. None
/// where not even what was told fits: beside another base the same may take a little more.
pub(crate) fn payload_keeping(gap: &GapSet, told: &GapSet, topic_id: TopicId) -> Option<(Arc<str>, GapSet)> {
    let of_first = |count: usize| {
        let ended = union(gap.base, gap.ended.get(..count).unwrap_or_default(), &told.ended);
        if runs::count_within(gap.base, &ended, CODED_BYTES_MAX) < ended.len() {
            return None;
        }
        let (codec, text) = shortest(gap.base, &ended);
        (text.len() <= ROOM_UNITS).then_some((codec, text, ended))
    };
    let (mut count, mut too_many) = (0, gap.ended.len() + 1);
    let mut fits = of_first(count)?;
    while too_many - count > 1 && fits.1.len() < PAYLOAD_UNITS_ENOUGH {
        let middle = count + (too_many - count) / 2;
        match of_first(middle) {
            Some(more) => (count, fits) = (middle, more),
            None => too_many = middle,
        }
    }
    let (codec, text, ended) = fits;
    let gap = GapSet { base: gap.base, ended };
    Some((assemble(codec, topic_id, gap.base, &text).into(), gap))
}

/// What is in either, above the base.
fn union(base: i64, one: &[Range<i64>], other: &[Range<i64>]) -> Vec<Range<i64>> {
    let mut all: Vec<Range<i64>> =
        one.iter().chain(other).filter(|range| range.start > base).cloned().collect();
    all.sort_unstable_by_key(|range| range.start);
    let mut union: Vec<Range<i64>> = Vec::with_capacity(all.len());
    for range in all {
        match union.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => union.push(range),
        }
    }
    union
}
