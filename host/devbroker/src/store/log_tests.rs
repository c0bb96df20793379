//! What a partition's log gives back after a crash at any byte, and after any one byte was damaged.

use keylane_test_support::raw_batch;
use proptest::prelude::*;

use super::*;

fn batches(counts: &[usize]) -> Vec<Bytes> {
    let mut next = 0;
    let one = |count: &usize| {
        let placed = batch::place(&raw_batch(&vec!["value"; *count], None).unwrap(), next);
        next += *count as i64;
        placed
    };
    counts.iter().map(one).collect()
}

fn load(path: &std::path::Path) -> Result<(LogFile, Vec<Bytes>), BrokerError> {
    let mut seen = Vec::new();
    let file = LogFile::at(path.to_owned()).load(|_, bytes| {
        seen.push(bytes);
        Ok(())
    })?;
    Ok((file, seen))
}

proptest! {
    #[test]
    fn a_torn_log_gives_its_whole_batches_and_goes_on_behind_them(
        counts in prop::collection::vec(1_usize..6, 1..6),
        torn in any::<prop::sample::Index>(),
        zeros in 0_usize..80,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0.log");
        let all = batches(&counts);
        let mut file = LogFile::at(path.clone());
        all.iter().for_each(|batch| file.append(batch).unwrap());
        drop(file);

        let mut left = std::fs::read(&path).unwrap();
        left.truncate(torn.index(left.len()));
        let whole = all
            .iter()
            .scan(0, |end, batch| {
                *end += batch.len();
                Some(*end)
            })
            .take_while(|end| *end <= left.len())
            .count();
        // Zeros behind a whole batch are bytes that the system counted but never wrote.
        let at_an_end = all[..whole].iter().map(Bytes::len).sum::<usize>() == left.len();
        left.extend(std::iter::repeat_n(0, if at_an_end { zeros } else { 0 }));
        std::fs::write(&path, &left).unwrap();

        let (mut file, seen) = load(&path).unwrap();
        prop_assert_eq!(&seen[..], &all[..whole]);
        file.append(&all[0]).unwrap();
        drop(file);
        let (_, seen) = load(&path).unwrap();
        prop_assert_eq!(seen.len(), whole + 1);
    }

    #[test]
    fn a_damaged_byte_never_makes_a_batch(
        counts in prop::collection::vec(1_usize..6, 1..5),
        at in any::<prop::sample::Index>(),
        flip in 1_u8..,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0.log");
        let all = batches(&counts);
        let mut damaged = all.concat();
        let at = at.index(damaged.len());
        damaged[at] ^= flip;
        std::fs::write(&path, &damaged).unwrap();
        match load(&path) {
            Ok((_, seen)) => {
                // Base offset and leader epoch are not covered by the checksum; the offset is judged by whoever loads.
                let same = |(seen, written): (&Bytes, &Bytes)| seen[16..] == written[16..] && seen[8..12] == written[8..12];
                prop_assert!(seen.iter().zip(&all).all(same));
            }
            Err(error) => prop_assert!(matches!(error, BrokerError::Damaged { .. }), "{error}"),
        }
    }
}

#[test]
fn what_replaces_a_log_is_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("0.log");
    let all = batches(&[2, 3, 1]);
    let mut file = LogFile::at(path.clone());
    all[..2].iter().for_each(|batch| file.append(batch).unwrap());
    file.replace(all[1..2].iter());
    file.append(&all[2]).unwrap();
    assert_eq!(load(&path).unwrap().1, all[1..]);
}
