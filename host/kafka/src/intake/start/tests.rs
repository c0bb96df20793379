//! Who settles a start, and who waits.

use proptest::prelude::*;
use rdkafka::Offset;

use super::*;

const FRESH: Known = Known { committed: false, topic_has_commits: false, owns_first_partition: false };

#[test]
fn a_commit_is_never_overwritten() {
    for start in [Start::Earliest, Start::Latest, Start::TimestampMs(5)] {
        for owns_first_partition in [false, true] {
            let known = Known { committed: true, topic_has_commits: true, owns_first_partition };
            assert_eq!(origin(start, known), Origin::Committed);
        }
    }
}

#[test]
fn only_the_first_partitions_owner_settles_a_fresh_topic() {
    for start in [Start::Latest, Start::TimestampMs(5)] {
        assert_eq!(origin(start, FRESH), Origin::Elsewhere);
        assert_eq!(origin(start, Known { owns_first_partition: true, ..FRESH }), Origin::Start);
    }
}

#[test]
fn a_partition_added_later_starts_at_its_beginning() {
    for owns_first_partition in [false, true] {
        let known = Known { topic_has_commits: true, owns_first_partition, ..FRESH };
        assert_eq!(origin(Start::Latest, known), Origin::Beginning);
    }
}

#[test]
fn earliest_needs_nobody_else() {
    assert_eq!(origin(Start::Earliest, FRESH), Origin::Beginning);
}

#[test]
fn a_time_before_the_epoch_is_the_epoch() {
    assert_eq!(lookup::asked(Start::TimestampMs(-1)), Offset::Offset(0));
    assert_eq!(lookup::asked(Start::Latest), Offset::End);
}

proptest! {
    /// A moment is never taken for one of the marks that ask for the beginning or the end.
    #[test]
    fn a_moment_asks_for_a_moment(at_ms: i64) {
        prop_assert_eq!(lookup::asked(Start::TimestampMs(at_ms)), Offset::Offset(at_ms.max(0)));
        prop_assert!(lookup::asked(Start::TimestampMs(at_ms)).to_raw().is_some_and(|raw| raw >= 0));
    }

    /// Nothing below zero is where a partition starts, whatever a broker answers.
    #[test]
    fn an_answer_is_an_offset_or_none(told: i64) {
        let expected = Some(told).filter(|told| *told >= 0);
        prop_assert_eq!(lookup::found_at(Offset::from_raw(told)), expected);
        prop_assert_eq!(lookup::found_at(Offset::Offset(told)), expected);
    }

    /// Whoever owns what: at most one rule stores a start, and never over a commit.
    #[test]
    fn a_start_is_stored_by_one_rule(at_ms: i64, committed: bool, topic_has_commits: bool, owns_first_partition: bool) {
        let known = Known { committed, topic_has_commits: topic_has_commits || committed, owns_first_partition };
        for start in [Start::Earliest, Start::Latest, Start::TimestampMs(at_ms)] {
            let origin = origin(start, known);
            prop_assert_eq!(origin == Origin::Committed, committed);
            if origin == Origin::Start {
                prop_assert!(owns_first_partition && !known.topic_has_commits && start != Start::Earliest);
            }
        }
    }
}
