//! The payload: what comes back is what was told, and whatever else stands beside an offset tells nothing.
//! The loss bugs of others are re-enacted here by name.

use proptest::prelude::*;

use super::*;

const TOPIC: TopicId = TopicId::new([7; 16]);
const FORMER: TopicId = TopicId::new([8; 16]);

/// Gap sets as they come about: lengths of the unfinished and the ended, in turn, mostly short.
fn gap_sets(ranges_max: usize) -> impl Strategy<Value = GapSet> {
    let length = prop_oneof![8 => 1_i64..4, 3 => 1_i64..300, 1 => 1_i64..10_000_000];
    let pairs = prop::collection::vec((length.clone(), length), 0..ranges_max);
    let base = prop_oneof![Just(0_i64), 0_i64..1_000_000, Just(i64::MAX / 2)];
    (base, pairs).prop_map(|(base, pairs)| gap_set(base, pairs))
}

fn gap_set(base: i64, pairs: impl IntoIterator<Item = (i64, i64)>) -> GapSet {
    let mut at = base;
    let ended = pairs.into_iter().map(|(unfinished, ended)| {
        let start = at + unfinished;
        at = start + ended;
        start..at
    });
    let ended = ended.collect();
    GapSet { base, ended }
}

/// Every run one or two long: deflates badly.
fn scattered(base: i64, ranges: u64) -> GapSet {
    let draw = |n: u64| 1 + i64::from(mixed(n) & 1 == 1);
    gap_set(base, (0..ranges).map(|n| (draw(2 * n), draw(2 * n + 1))))
}

/// One offset in eight has ended, here and there.
fn one_in_eight(base: i64, span: u64) -> GapSet {
    let mut pairs: Vec<(i64, i64)> = Vec::new();
    let mut unfinished = 1;
    for n in 0..span {
        match (mixed(n).is_multiple_of(8), pairs.last_mut()) {
            (true, Some((_, ended))) if unfinished == 0 => *ended += 1,
            (true, _) => pairs.push((std::mem::take(&mut unfinished), 1)),
            (false, _) => unfinished += 1,
        }
    }
    gap_set(base, pairs)
}

/// The output function of splitmix64: what looks like chance and is always the same.
fn mixed(n: u64) -> u64 {
    let z = n.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[test]
fn a_report_names_a_database_and_nothing_else() {
    let database = "0123456789abcdef0123456789abcdef";
    let payload = payload_beside(database);
    assert_eq!(&*payload, "D0123456789abcdef0123456789abcdef");
    let told = |base| Restored { gap: GapSet::at(base), note: RestoredNote::OfDatabase(database.into()) };
    assert_eq!(restore(70, payload.as_bytes(), TOPIC), told(70));
    for no_report in ["D", "D0123456789abcdef0123456789abcde", "D0123456789abcdef0123456789abcdef0"] {
        assert_eq!(restore(70, no_report.as_bytes(), TOPIC), unreadable(70), "{no_report}");
    }
    assert_eq!(restore(70, payload.to_uppercase().as_bytes(), TOPIC), unreadable(70));
    assert_eq!(restore(70, payload.replace('0', "g").as_bytes(), TOPIC), unreadable(70));
}

#[test]
#[should_panic(expected = "is no id of a database")]
fn no_other_name_passes_for_a_database() {
    let _ = payload_beside("orders");
}

fn unreadable(base: i64) -> Restored {
    Restored { gap: GapSet::at(base), note: RestoredNote::Unreadable }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_encoded_comes_back(gap in gap_sets(400)) {
        let payload = encode(&gap, TOPIC);
        prop_assert!(payload.text.encode_utf16().count() <= PAYLOAD_UNITS_MAX);
        prop_assert!(!payload.truncated, "400 ranges fit");
        let restored = restore(gap.base, payload.text.as_bytes(), TOPIC);
        prop_assert_eq!(restored, Restored { gap, note: RestoredNote::Ours });
    }

    #[test]
    fn what_does_not_fit_is_cut_to_the_first_ranges(gap in gap_sets(12_000)) {
        let payload = encode(&gap, TOPIC);
        prop_assert!(payload.text.encode_utf16().count() <= PAYLOAD_UNITS_MAX);
        let restored = restore(gap.base, payload.text.as_bytes(), TOPIC);
        prop_assert_eq!(restored.note, RestoredNote::Ours);
        prop_assert!(gap.ended.starts_with(&restored.gap.ended), "a prefix of what was to be told");
        prop_assert_eq!(payload.truncated, restored.gap.ended.len() < gap.ended.len());
    }

    /// Dense below and sparse above, or the other way round, so that no proportion tells where to cut.
    #[test]
    fn what_does_not_fit_is_cut_no_shorter_than_need_be(
        dense in 0_usize..8_000, sparse in 2_000_usize..6_000, dense_first in any::<bool>(), seed in any::<u64>(),
    ) {
        let draw = |n: usize, most: u64| 1 + (mixed(seed ^ n as u64) % most) as i64;
        let dense = (0..dense).map(|_| (1, 1));
        let sparse = (0..sparse).map(|n| (draw(2 * n, 200), draw(2 * n + 1, 200)));
        let pairs: Vec<_> =
            if dense_first { dense.chain(sparse).collect() } else { sparse.chain(dense).collect() };
        let gap = gap_set(5, pairs);
        let payload = encode(&gap, TOPIC);
        let told = restore(gap.base, payload.text.as_bytes(), TOPIC).gap.ended.len();
        let more = GapSet { base: gap.base, ended: gap.ended.iter().take(told + 1).cloned().collect() };
        prop_assert!(
            !payload.truncated
                || payload.text.len() >= PAYLOAD_UNITS_MAX / 16 * 15
                || encode(&more, TOPIC).truncated,
            "{} units tell of {told} of {} ranges", payload.text.len(), gap.ended.len()
        );
    }

    #[test]
    fn arbitrary_bytes_tell_of_nothing(committed in any::<i64>(), bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let restored = restore(committed, &bytes, TOPIC);
        prop_assert_eq!(restored.gap, GapSet::at(committed.max(0)));
    }

    #[test]
    fn a_payload_with_a_wrong_character_tells_of_nothing(gap in gap_sets(60), at in any::<prop::sample::Index>(), other in any::<u8>()) {
        let told = encode(&gap, TOPIC).text.into_bytes();
        let mut bytes = told.clone();
        let at = at.index(bytes.len());
        bytes[at] = other;
        let restored = restore(gap.base, &bytes, TOPIC);
        prop_assert!(bytes == told || restored.gap.ended.is_empty());
    }

    #[test]
    fn a_payload_cut_short_tells_of_nothing(gap in gap_sets(60), length in any::<prop::sample::Index>()) {
        let text = encode(&gap, TOPIC).text;
        let cut = &text.as_bytes()[..length.index(text.len())];
        prop_assert_eq!(restore(gap.base, cut, TOPIC).gap, GapSet::at(gap.base));
    }

    /// Past the check, as a bug of ours could make them: the codecs themselves neither panic nor overflow.
    #[test]
    fn the_codecs_take_any_bytes(base in 0..i64::MAX, bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for codec in [NOTHING, RUNS, BITS, DEFLATED_RUNS, DEFLATED_BITS] {
            let text = assemble(codec, TOPIC, base, &text::encode(&bytes));
            let restored = restore(base, text.as_bytes(), TOPIC);
            prop_assert!(restored.gap.is_sound());
        }
    }

    #[test]
    fn a_payload_relative_to_another_offset_than_it_is_committed_with_tells_of_nothing(
        gap in gap_sets(60), moved in 0_i64..2_000_000,
    ) {
        prop_assume!(moved != gap.base && !gap.ended.is_empty());
        let text = encode(&gap, TOPIC).text;
        prop_assert_eq!(restore(moved, text.as_bytes(), TOPIC), unreadable(moved));
    }
}

/// Others took the offset and the gap at two moments, and what ended in between was lost or torn apart.
#[test]
fn a_torn_snapshot_of_offset_and_payload_tells_of_nothing() {
    let (earlier, later) = (gap_set(100, [(1, 5)]), gap_set(106, [(3, 2)]));
    let (old, new) = (encode(&earlier, TOPIC).text, encode(&later, TOPIC).text);
    assert_eq!(restore(later.base, old.as_bytes(), TOPIC), unreadable(106));
    assert_eq!(restore(earlier.base, new.as_bytes(), TOPIC), unreadable(100));
    assert_eq!(restore(earlier.base, old.as_bytes(), TOPIC).gap, earlier);
}

/// Others took metadata that they could not read for progress up to the highest offset they had seen.
#[test]
fn an_undecodable_payload_is_not_taken_as_progress() {
    let ours = encode(&gap_set(40, [(2, 9)]), TOPIC).text;
    let foreign: [&[u8]; 8] = [
        b"1",
        b"b64:AAECAwQ=",
        b"\xff\xfe\x00not text",
        &[b'A'; 100_000],
        &ours.replacen('1', "2", 1).into_bytes(),
        &ours.replacen('r', "x", 1).into_bytes(),
        &[ours.as_bytes(), b"AAAA"].concat(),
        &[without_gap(TOPIC).as_bytes(), b"A"].concat(),
    ];
    for metadata in foreign {
        assert_eq!(restore(40, metadata, TOPIC), unreadable(40), "{:?}", String::from_utf8_lossy(metadata));
    }
    assert_eq!(restore(40, b"", TOPIC), Restored { gap: GapSet::at(40), note: RestoredNote::Empty });
    assert_eq!(restore(-1001, b"", TOPIC).gap, GapSet::at(0), "no offset at all");
}

#[test]
fn a_topic_made_anew_under_its_name_begins_at_its_start() {
    for gap in [GapSet::at(900), gap_set(900, [(1, 5)])] {
        let text = encode(&gap, FORMER).text;
        let restored = restore(900, text.as_bytes(), TOPIC);
        assert_eq!(restored, Restored { gap: GapSet::at(0), note: RestoredNote::OtherTopic(FORMER) });
        let without_ids = restore(900, text.as_bytes(), TopicId::UNKNOWN);
        assert_eq!(without_ids.gap, gap, "a broker without ids says nothing against it");
        let text = encode(&gap, TopicId::UNKNOWN).text;
        assert_eq!(restore(900, text.as_bytes(), TOPIC).gap, gap, "nor does a payload without one");
    }
}

#[test]
fn offsets_that_overflow_are_refused() {
    let huge = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    for bytes in [
        [&huge[..], &[1]].concat(),
        [&[1], &huge[..]].concat(),
        vec![0x80; 40],
        vec![1],
        vec![0, 1],
        vec![1, 0],
    ] {
        let text = assemble(RUNS, TOPIC, 5, &text::encode(&bytes));
        assert_eq!(restore(5, text.as_bytes(), TOPIC), unreadable(5), "{bytes:?}");
    }
    let near_the_end = i64::MAX - 3;
    let text = assemble(BITS, TOPIC, near_the_end, &text::encode(&[0xff]));
    assert_eq!(restore(near_the_end, text.as_bytes(), TOPIC), unreadable(near_the_end));
}

#[test]
fn a_deflated_bomb_is_refused() {
    let bomb = compress_to_vec(&vec![0xff; 2_000_000], DEFLATE_LEVEL);
    let text = assemble(DEFLATED_BITS, TOPIC, 5, &text::encode(&bomb));
    assert!(text.len() < PAYLOAD_UNITS_MAX, "it would be taken by a broker");
    assert_eq!(restore(5, text.as_bytes(), TOPIC), unreadable(5));
}

#[test]
fn each_codec_is_used_where_it_is_shortest() {
    let codec = |gap: &GapSet| encode(gap, TOPIC).text.as_bytes()[1];
    assert_eq!(codec(&GapSet::at(5)), NOTHING);
    assert_eq!(codec(&gap_set(5, [(1, 90_000)])), RUNS);
    assert_eq!(codec(&gap_set(5, (0..20).map(|_| (1, 1)))), BITS);
    assert_eq!(codec(&gap_set(5, (0..300).map(|_| (1, 40_000)))), DEFLATED_RUNS);
    assert_eq!(codec(&one_in_eight(5, 10_000)), DEFLATED_BITS);
}

#[test]
fn one_stuck_key_costs_a_few_characters() {
    let payload = encode(&gap_set(5_000_000, [(1, 99_999)]), TOPIC);
    assert!(payload.text.len() < 40, "{}", payload.text);
}

#[test]
fn a_full_payload_tells_nearly_as_much_as_it_may() {
    let payload = encode(&scattered(0, 60_000), TOPIC);
    assert!(payload.truncated);
    assert!(payload.text.len() > PAYLOAD_UNITS_MAX * 3 / 4, "only {} units", payload.text.len());
}

/// What ends further down pushes nothing out that was told: its records are committed with that.
#[test]
fn a_cut_tells_of_what_the_one_before_has_told() {
    let whole = scattered(0, 40_000).ended;
    let end = whole.last().unwrap().end;
    let from = |base: i64, skipped: usize| GapSet { base, ended: whole[skipped..].to_vec() };
    let tells = |gap: &GapSet, offset: i64| {
        let before = gap.ended.partition_point(|range| range.end <= offset);
        offset < gap.base || gap.ended.get(before).is_some_and(|range| range.start <= offset)
    };
    let (payload, truncated) = payload_of(&from(0, 20_000), TOPIC);
    let mut told = restore(0, payload.as_bytes(), TOPIC).gap;
    assert!(truncated && !told.ended.is_empty());
    // What ends first below, without a new watermark and with one.
    for (base, skipped) in [(0, 19_000), (0, 0), (whole[4].end, 5), (whole[21_000].end, 21_001)] {
        let gap = from(base, skipped);
        let Some((payload, kept)) = payload_keeping(&gap, &told, TOPIC) else { continue };
        assert!(payload.len() <= PAYLOAD_UNITS_MAX);
        assert_eq!(restore(base, payload.as_bytes(), TOPIC).gap, kept);
        for offset in 0..end {
            assert!(!tells(&told, offset) || tells(&kept, offset), "{offset} was told");
            assert!(!tells(&kept, offset) || tells(&gap, offset), "{offset} has not ended");
        }
        if skipped == 0 {
            let first = restore(base, payload_of(&gap, TOPIC).0.as_bytes(), TOPIC).gap;
            assert!(
                (0..end).any(|offset| tells(&told, offset) && !tells(&first, offset)),
                "no mending needed"
            );
        }
        told = kept;
    }
    assert!(told.base > 0, "beside a new watermark it fits as well");
}
