//! What a commit says, on the dev broker; `on_kafka` has the same on Apache Kafka.

mod support;

support::on_the_dev_broker!(commits:
    what_ended_above_the_watermark_is_not_done_again,
    a_payload_beside_another_offset_counts_for_nothing,
    the_words_of_another_product_count_for_nothing_and_are_replaced,
    a_look_tells_what_is_committed_and_what_is_behind
);
