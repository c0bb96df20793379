//! A handler in cuts, on the dev broker; `on_kafka` has the same on Apache Kafka.

mod support;

support::on_the_dev_broker!(cuts:
    each_event_leaves_its_record_once,
    what_a_stop_leaves_is_gone_on_from,
    a_dead_letter_is_written_once_with_the_progress,
    a_record_that_no_topic_takes_fails_its_event_alone,
    a_record_that_no_topic_takes_follows_the_policy,
    what_was_refused_is_forgotten_with_its_topic,
    a_topic_that_is_not_there_fails_its_events_in_the_end,
    members_of_a_classic_group_come_and_go,
    an_idle_host_keeps_its_partitions_without_a_transaction
);

support::on_the_dev_broker!(refusals:
    a_record_that_no_topic_takes_fails_its_event_in_the_midst_of_a_run,
    a_topic_that_is_not_there_holds_up_its_own_partition_alone,
    a_letter_whose_topic_is_not_there_holds_up_its_own_partition_alone
);

support::on_the_dev_broker!(doubts:
    a_cut_of_a_generation_that_has_passed_is_made_again,
    a_commit_that_happened_and_was_not_heard_of_is_not_made_again,
    a_commit_that_was_lost_and_not_heard_of_is_made_again
);
