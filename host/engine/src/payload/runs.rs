//! Runs: the lengths of what is unfinished and of what has ended, in turn, from the base on, as variable
//! length numbers (LEB128). One stuck key costs two runs, so this is the usual codec.

use std::ops::Range;

/// A 64 bit number takes at most ten groups of seven bits.
const GROUPS_MAX: u32 = 10;

pub(super) fn encode(base: i64, ended: &[Range<i64>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for length in lengths(base, ended) {
        push(&mut bytes, length);
    }
    bytes
}

/// How many of the first ranges fit into so many bytes.
pub(super) fn count_within(base: i64, ended: &[Range<i64>], bytes_max: usize) -> usize {
    let mut bytes = Vec::new();
    let mut lengths = lengths(base, ended);
    for count in 0..ended.len() {
        for length in lengths.by_ref().take(2) {
            push(&mut bytes, length);
        }
        if bytes.len() > bytes_max {
            return count;
        }
    }
    ended.len()
}

/// None for what [`encode`] does not make: a cut number, one without its partner, one that overflows.
pub(super) fn decode(base: i64, bytes: &[u8]) -> Option<Vec<Range<i64>>> {
    let mut ended = Vec::new();
    let mut rest = bytes;
    let mut at = base;
    while !rest.is_empty() {
        let start = at.checked_add_unsigned(take(&mut rest)?)?;
        at = start.checked_add_unsigned(take(&mut rest)?)?;
        ended.push(start..at);
    }
    Some(ended)
}

/// Two lengths for each range: of the unfinished before it, and its own.
fn lengths(base: i64, ended: &[Range<i64>]) -> impl Iterator<Item = u64> {
    let before = std::iter::once(base).chain(ended.iter().map(|range| range.end));
    before
        .zip(ended)
        .flat_map(|(before, range)| [range.start.abs_diff(before), range.end.abs_diff(range.start)])
}

fn push(bytes: &mut Vec<u8>, mut number: u64) {
    loop {
        let [low, ..] = number.to_le_bytes();
        number >>= 7;
        if number == 0 {
            return bytes.push(low & 0x7f);
        }
        bytes.push(low | 0x80);
    }
}

fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for group in 0..GROUPS_MAX {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7f);
        number |= bits.checked_mul(1_u64.checked_shl(group * 7)?)?;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}
