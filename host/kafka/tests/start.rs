//! Where a group starts, on the dev broker; `on_kafka` has the same on Apache Kafka.

mod support;

support::on_the_dev_broker!(starts:
    latest_is_settled_once_and_for_all_partitions,
    two_fresh_members_settle_one_start,
    a_partition_added_later_starts_at_its_beginning,
    a_timestamp_finds_the_first_record_not_older
);
