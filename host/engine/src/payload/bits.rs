//! Bits: one for each offset above the base, set where it has ended, the lowest of a byte first. Shorter
//! than runs where what has ended lies scattered.

use std::ops::Range;

/// None where it would take more than `bytes_max`.
pub(super) fn encode(base: i64, ended: &[Range<i64>], bytes_max: usize) -> Option<Vec<u8>> {
    // The base itself is unfinished and has no bit.
    let first = base.checked_add(1)?;
    let span = usize::try_from(ended.last()?.end.checked_sub(first)?).ok()?;
    let length = span.div_ceil(8);
    if length > bytes_max {
        return None;
    }
    let mut bytes = vec![0_u8; length];
    for offset in ended.iter().flat_map(Clone::clone) {
        let bit = usize::try_from(offset - first).ok()?;
        *bytes.get_mut(bit / 8)? |= 1 << (bit % 8);
    }
    Some(bytes)
}

/// None where the offsets overflow.
pub(super) fn decode(base: i64, bytes: &[u8]) -> Option<Vec<Range<i64>>> {
    let first = base.checked_add(1)?;
    first.checked_add_unsigned(u64::try_from(bytes.len()).ok()?.checked_mul(8)?)?;
    let mut ended: Vec<Range<i64>> = Vec::new();
    let set = (first..).zip(bits(bytes)).filter_map(|(offset, set)| set.then_some(offset));
    for offset in set {
        match ended.last_mut().filter(|last| last.end == offset) {
            Some(last) => last.end = offset + 1,
            None => ended.push(offset..offset + 1),
        }
    }
    Some(ended)
}

fn bits(bytes: &[u8]) -> impl Iterator<Item = bool> {
    bytes.iter().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1))
}
