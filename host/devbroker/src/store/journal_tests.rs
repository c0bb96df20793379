//! What the journal gives back after a crash at any byte, and after any one byte was damaged.

use proptest::prelude::*;

use super::*;

fn entry() -> impl Strategy<Value = Entry> {
    let text = || "[a-z\\t\\n\u{fffd}]{0,12}";
    prop_oneof![
        (text(), text(), any::<i32>(), any::<i64>(), text()).prop_map(
            |(group, topic, partition, offset, metadata)| Entry::Committed {
                group,
                topic,
                partition,
                offset,
                metadata
            }
        ),
        text().prop_map(|group| Entry::GroupDeleted { group }),
        text().prop_map(|topic| Entry::TopicDeleted { topic }),
        any::<i64>().prop_map(|below| Entry::ProducerIds { below }),
        (any::<u128>(), any::<i32>(), any::<i64>()).prop_map(|(topic, partition, before)| {
            Entry::RecordsDeleted { topic: Uuid::from_u128(topic), partition, before }
        }),
        (any::<i64>(), text(), text(), any::<i32>(), any::<i64>(), text()).prop_map(
            |(producer_id, group, topic, partition, offset, metadata)| Entry::Pending {
                producer_id,
                group,
                topic,
                partition,
                offset,
                metadata
            }
        ),
        (text(), transaction()).prop_map(|(name, entry)| Entry::Transaction { name, entry }),
    ]
}

fn transaction() -> impl Strategy<Value = transaction::Entry> {
    let phase = prop::sample::select(vec![Phase::Empty, Phase::Open, Phase::Committed, Phase::Aborted]);
    let partition = (any::<u128>().prop_map(Uuid::from_u128), any::<i32>());
    (
        (any::<i64>(), any::<i16>(), any::<i16>(), any::<i32>(), phase, any::<i64>()),
        prop::collection::btree_set(partition, 0..4),
        prop::collection::btree_set("[a-z]{0,5}", 0..3),
    )
        .prop_map(|((id, epoch, last_epoch, timeout_ms, phase, started_ms), partitions, groups)| {
            let new = transaction::Entry::new(id, timeout_ms);
            transaction::Entry { epoch, last_epoch, phase, started_ms, partitions, groups, ..new }
        })
}

fn read(path: &Path) -> Result<Vec<Entry>, BrokerError> {
    let mut seen = Vec::new();
    Journal::read(path, |entry| seen.push(entry)).map(|()| seen)
}

proptest! {
    #[test]
    fn a_torn_journal_gives_its_whole_entries(
        written in prop::collection::vec(entry(), 1..8),
        appended in prop::collection::vec(entry(), 0..4),
        torn in any::<prop::sample::Index>(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("j");
        let mut journal = Journal::write(&path, &written).unwrap();
        appended.iter().for_each(|entry| journal.append(entry).unwrap());
        let all = [written, appended].concat();
        prop_assert_eq!(read(&path).unwrap(), all.clone());

        let whole = std::fs::read(&path).unwrap();
        let cut = torn.index(whole.len());
        std::fs::write(&path, &whole[..cut]).unwrap();
        let seen = read(&path).unwrap();
        prop_assert_eq!(&seen[..], &all[..seen.len()]);
        let mut kept = Vec::new();
        seen.iter().for_each(|entry| put(&mut kept, entry));
        prop_assert_eq!(&kept[..], &whole[..kept.len()]);
        let mut next = kept.clone();
        put(&mut next, &all[seen.len()]);
        prop_assert!(next.len() > cut, "a whole entry was left out");
    }

    #[test]
    fn a_damaged_byte_never_makes_an_entry(
        written in prop::collection::vec(entry(), 1..6),
        at in any::<prop::sample::Index>(),
        flip in 1_u8..,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("j");
        Journal::write(&path, &written).unwrap();
        let mut damaged = std::fs::read(&path).unwrap();
        let at = at.index(damaged.len());
        damaged[at] ^= flip;
        std::fs::write(&path, &damaged).unwrap();
        match read(&path) {
            Ok(seen) => prop_assert!(seen.len() < written.len() && seen[..] == written[..seen.len()]),
            Err(error) => prop_assert!(matches!(error, BrokerError::Damaged { .. }), "{error}"),
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("j");
        std::fs::write(&path, bytes).unwrap();
        let _either_way = read(&path);
    }
}
