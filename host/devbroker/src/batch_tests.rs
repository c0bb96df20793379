//! The reader of batches against what a real encoder writes, damaged batches and any bytes at all.

use keylane_test_support::raw_batch;
use proptest::prelude::*;

use super::*;

/// Puts the right checksum on whatever a batch holds.
fn seal(batch: &mut [u8]) {
    let checksum = crc32c::crc32c(&batch[CHECKSUM_START..]);
    batch[LENGTH_END + 5..CHECKSUM_START].copy_from_slice(&checksum.to_be_bytes());
}

#[test]
fn records_are_found_by_time_and_not_below_the_low_watermark() {
    // The records of a raw batch have the timestamps 1000, 1001, 1002.
    let batch = place(&raw_batch(&["a", "b", "c"], None).unwrap(), 40);
    assert_eq!(first_at(&batch, 0, 0), Some((40, 1000)));
    assert_eq!(first_at(&batch, 1001, 0), Some((41, 1001)));
    assert_eq!(first_at(&batch, 1001, 42), Some((42, 1002)));
    assert_eq!(first_at(&batch, 1002, 43), None);
    assert_eq!(first_at(&batch, 1003, 0), None);
}

proptest! {
    #[test]
    fn any_bytes_are_judged_and_never_followed_blindly(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _verdict = (length(&bytes), check(&bytes), first_at(&bytes, 0, 0), place(&bytes, 1));
    }

    #[test]
    fn a_damaged_byte_is_noticed(
        values in prop::collection::vec("[a-z]{0,20}", 1..5),
        at in any::<prop::sample::Index>(),
        flip in 1_u8..,
    ) {
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        let mut batch = raw_batch(&values, None).unwrap().to_vec();
        prop_assert!(check(&batch).is_ok());
        // Base offset and leader epoch are the broker's own and not covered by the checksum.
        let covered: Vec<usize> = (8..LENGTH_END).chain(LENGTH_END + 4..batch.len()).collect();
        batch[*at.get(&covered)] ^= flip;
        prop_assert!(check(&batch).is_err());
    }

    #[test]
    fn records_that_are_no_records_behind_a_right_checksum(
        attributes in 0_i16..0x40,
        records in 1_i32..50,
        body in prop::collection::vec(any::<u8>(), 0..100),
        from in any::<i64>(),
        time in any::<i64>(),
    ) {
        let mut batch = raw_batch(&["x"], None).unwrap()[..HEADER_BYTES].to_vec();
        batch[21..23].copy_from_slice(&attributes.to_be_bytes());
        batch[23..27].copy_from_slice(&(records - 1).to_be_bytes());
        batch[57..61].copy_from_slice(&records.to_be_bytes());
        batch.extend_from_slice(&body);
        let whole = i32::try_from(batch.len() - LENGTH_END).unwrap();
        batch[8..LENGTH_END].copy_from_slice(&whole.to_be_bytes());
        seal(&mut batch);
        prop_assert!(check(&batch).is_ok());
        let _found = first_at(&batch, time, from);
    }
}
