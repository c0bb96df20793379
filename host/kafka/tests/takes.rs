//! A handler with a write database, on the dev broker; `on_kafka` has the same on Apache Kafka.

mod support;

support::on_the_dev_broker!(takes:
    no_commit_of_the_group_moves_the_progress,
    the_database_settles_all_starts_at_once,
    a_partition_added_later_is_taken_from_its_beginning,
    what_was_committed_without_a_database_is_gone_on_from,
    a_database_set_back_to_before_its_first_event_loses_none,
    a_commit_beside_another_database_is_refused,
    a_database_that_is_away_is_waited_for,
    a_revoked_partition_drops_its_take,
    a_take_that_outlives_the_lease_is_repeated,
    a_topic_made_anew_during_its_take_is_taken_under_its_new_id,
    an_overtaken_partition_is_taken_anew,
    after_a_commit_in_doubt_the_claims_tell,
    a_log_that_ends_before_the_claims_stops_its_partition,
    many_partitions_are_all_taken,
    what_the_database_refuses_is_told_as_a_fault,
    a_take_that_hangs_holds_no_goodbye_up
);
support::on_the_dev_broker!(positions:
    what_is_read_again_by_a_check_is_passed_over,
    a_record_where_none_was_stops_its_partition
);
