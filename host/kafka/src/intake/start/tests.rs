//! Who settles a start, and who waits.

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
