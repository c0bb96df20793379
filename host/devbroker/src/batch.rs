//! A record batch as it lies on the wire: its header is read and checked, its records stay as they are.
//!
//! Batches are stored verbatim, so every compression passes through. Only the base offset and the
//! leader epoch are written, and both stand before the checksummed part.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Bytes before the records of a batch of format 2.
pub(crate) const HEADER_BYTES: usize = 61;
/// Bytes before the part that `batch_length` counts.
const LENGTH_END: usize = 12;
/// Bytes before the part that the checksum covers.
const CHECKSUM_START: usize = 21;
const COMPRESSION_MASK: i16 = 0b111;
const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;

/// What the header of a batch says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchHeader {
    pub(crate) base_offset: i64,
    pub(crate) attributes: i16,
    pub(crate) last_offset_delta: i32,
    pub(crate) base_timestamp: i64,
    pub(crate) max_timestamp: i64,
    pub(crate) producer_id: i64,
    pub(crate) producer_epoch: i16,
    pub(crate) base_sequence: i32,
}

impl BatchHeader {
    /// Whether it belongs to a transaction; a transaction's marker does.
    pub(crate) fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    /// Whether it is the marker that ends a transaction. Only brokers write those.
    pub(crate) fn is_marker(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    fn is_compressed(&self) -> bool {
        self.attributes & COMPRESSION_MASK != 0
    }
}

/// Why bytes are not a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BatchFault {
    /// They end before the batch does.
    Short,
    /// Not format 2, or a header that contradicts itself.
    Invalid,
    /// The checksum does not fit.
    Checksum,
}

/// Bytes of the batch that starts at the front of `data`, as its length field says.
pub(crate) fn length(data: &[u8]) -> Result<usize, BatchFault> {
    let mut field = data.get(8..LENGTH_END).ok_or(BatchFault::Short)?;
    let rest = usize::try_from(field.get_i32()).map_err(|_negative| BatchFault::Invalid)?;
    let whole = rest.saturating_add(LENGTH_END);
    if whole < HEADER_BYTES { Err(BatchFault::Invalid) } else { Ok(whole) }
}

/// Reads and checks exactly one batch: format, length, checksum, record count.
pub(crate) fn check(batch: &[u8]) -> Result<BatchHeader, BatchFault> {
    if batch.len() < HEADER_BYTES {
        return Err(BatchFault::Short);
    }
    if length(batch)? != batch.len() {
        return Err(BatchFault::Invalid);
    }
    let mut at = batch;
    let base_offset = at.get_i64();
    at.advance(8); // length, leader epoch
    let magic = at.get_i8();
    if magic != 2 {
        return Err(BatchFault::Invalid);
    }
    let checksum = at.get_u32();
    if crc32c::crc32c(batch.get(CHECKSUM_START..).unwrap_or_default()) != checksum {
        return Err(BatchFault::Checksum);
    }
    let header = BatchHeader {
        base_offset,
        attributes: at.get_i16(),
        last_offset_delta: at.get_i32(),
        base_timestamp: at.get_i64(),
        max_timestamp: at.get_i64(),
        producer_id: at.get_i64(),
        producer_epoch: at.get_i16(),
        base_sequence: at.get_i32(),
    };
    let records = at.get_i32();
    if records < 1 || header.last_offset_delta != records - 1 {
        return Err(BatchFault::Invalid);
    }
    Ok(header)
}

/// The batch with its offset in the log, as it is stored and fetched. It is a copy, so that the
/// stored batch does not keep the whole request frame in memory.
pub(crate) fn place(batch: &[u8], base_offset: i64) -> Bytes {
    let mut placed = BytesMut::with_capacity(batch.len());
    placed.put_i64(base_offset);
    placed.put_slice(batch.get(8..LENGTH_END).unwrap_or_default());
    placed.put_i32(0); // the leader epoch: there is one leader, for ever
    placed.put_slice(batch.get(16..).unwrap_or_default());
    placed.freeze()
}

/// Where the type of a marker stands: behind its record's length, attributes, two deltas and the key's length,
/// a byte each, the key's version of two bytes, and the upper byte of the type itself.
const MARKER_TYPE: usize = HEADER_BYTES + 8;
/// The types of markers.
const ABORT: u8 = 0;
const COMMIT: u8 = 1;

/// The marker that ends a producer's transaction in a partition, as a batch of one control record (KIP-98).
pub(crate) fn marker(producer_id: i64, producer_epoch: i16, commit: bool, now_ms: i64) -> Bytes {
    let kind = if commit { COMMIT } else { ABORT };
    let mut checked = BytesMut::new();
    checked.put_i16(TRANSACTIONAL | CONTROL);
    checked.put_i32(0); // last offset delta
    checked.put_i64(now_ms);
    checked.put_i64(now_ms);
    checked.put_i64(producer_id);
    checked.put_i16(producer_epoch);
    checked.put_i32(-1); // a marker has no place in the sequence
    checked.put_i32(1);
    // Length 16, attributes, timestamp and offset delta; lengths are zigzag varints, so doubled.
    checked.put_slice(&[32, 0, 0, 0]);
    // The key: four bytes, version 0 and the type. The value: six bytes, version 0 and the coordinator's epoch.
    checked.put_slice(&[8, 0, 0, 0, kind]);
    checked.put_slice(&[12, 0, 0, 0, 0, 0, 0]);
    checked.put_u8(0); // no headers
    let mut batch = BytesMut::with_capacity(CHECKSUM_START + checked.len());
    batch.put_i64(0);
    batch.put_u32(u32::try_from(CHECKSUM_START - LENGTH_END + checked.len()).unwrap_or(u32::MAX));
    batch.put_i32(0);
    batch.put_i8(2);
    batch.put_u32(crc32c::crc32c(&checked));
    batch.put_slice(&checked);
    batch.freeze()
}

/// Whether a marker says that its transaction was committed.
pub(crate) fn marks_commit(marker: &[u8]) -> bool {
    marker.get(MARKER_TYPE) == Some(&COMMIT)
}

/// The first record at or after `timestamp_ms` whose offset is at least `from`, as (offset, timestamp).
///
/// A compressed batch is answered by its first record: the broker does not decompress. That offset
/// is never later than the right one, so a reader that starts there misses nothing.
pub(crate) fn first_at(batch: &[u8], timestamp_ms: i64, from: i64) -> Option<(i64, i64)> {
    let header = check(batch).ok()?;
    if header.max_timestamp < timestamp_ms {
        return None;
    }
    let first = (header.base_offset.max(from), header.base_timestamp.max(timestamp_ms));
    if header.is_compressed() {
        return Some(first);
    }
    let mut records = batch.get(HEADER_BYTES..).unwrap_or_default();
    let mut left = i64::from(header.last_offset_delta) + 1;
    while let Some((offset_delta, timestamp_delta)) = next_record(&mut records) {
        left -= 1;
        let timestamp = header.base_timestamp.saturating_add(timestamp_delta);
        let offset = header.base_offset.saturating_add(offset_delta);
        if timestamp >= timestamp_ms && offset >= from {
            return Some((offset, timestamp));
        }
    }
    // Records that cannot be read count like compressed ones.
    (left > 0).then_some(first)
}

/// Steps over one uncompressed record: (offset delta, timestamp delta in ms).
fn next_record(records: &mut &[u8]) -> Option<(i64, i64)> {
    let length = usize::try_from(varint(records)?).ok()?;
    let (mut record, rest) = records.split_at_checked(length)?;
    *records = rest;
    record.try_get_i8().ok()?; // attributes
    let timestamp_delta = varint(&mut record)?;
    let offset_delta = varint(&mut record)?;
    Some((offset_delta, timestamp_delta))
}

/// A zigzag varint of up to 64 bits.
fn varint(from: &mut &[u8]) -> Option<i64> {
    let mut raw = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = from.try_get_u8().ok()?;
        raw |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed());
        }
    }
    None
}

#[cfg(test)]
#[path = "batch_tests.rs"]
mod tests;
