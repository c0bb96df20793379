//! What only a real Apache Kafka shows: limits on batches, settings of topics, transactions, KIP-848.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed expectation is to end the check"
)]

mod batches;
mod groups;
mod markers;
mod redrives;
mod rivals;
#[path = "../support/mod.rs"]
mod support;
mod topics;

use std::process::ExitCode;

use keylane_test_support::{ApacheKafka, Checks, apache_kafka};
use support::Cluster;

/// What the checks share.
struct Stage {
    cluster: Cluster,
    kafka: ApacheKafka,
}

impl Stage {
    /// Changes a setting of a topic, with Kafka's own tool.
    fn set(&self, topic: &str, setting: &str) {
        let alter = ["--alter", "--entity-type", "topics", "--entity-name", topic, "--add-config", setting];
        let output = self.kafka.tool("kafka-configs", &alter, None).unwrap();
        assert!(output.ok, "{}", output.stderr);
    }
}

fn main() -> ExitCode {
    let mut checks = Checks::from_args();
    let kafka = match apache_kafka("on_kafka") {
        Ok(Some(kafka)) => kafka,
        Ok(None) => return checks.finish(),
        Err(error) => {
            checks.run("on_kafka", || Err(error));
            return checks.finish();
        }
    };
    let stage = Stage { cluster: Cluster::at(&kafka.bootstrap()), kafka };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    macro_rules! check {
        ($($check:path),+ $(,)?) => {
            $(checks.run(stringify!($check), || {
                runtime.block_on($check(&stage));
                Ok(())
            });)+
        };
    }
    check!(
        groups::a_revoke_waits_for_the_run_that_is_out,
        groups::past_the_limit_the_run_is_broken_off_and_repeats_elsewhere,
        groups::with_kip_848_a_revoke_waits_for_the_run_that_is_out,
        groups::with_kip_848_past_the_limit_the_run_is_broken_off_and_repeats_elsewhere,
        groups::with_kip_848_what_ended_above_the_watermark_moves_with_the_partition,
        groups::a_static_member_finds_its_partitions_again,
        markers::markers_and_aborted_records_hold_nothing_up,
        batches::small_records_fit_where_batches_do_not,
        batches::a_limit_made_smaller_later_harms_no_small_record,
        topics::topics_of_letters_take_what_their_source_takes,
        topics::topics_that_are_too_small_are_refused,
        redrives::letters_come_back_byte_for_byte_and_once,
        redrives::a_key_keeps_its_partition,
        redrives::letters_left_out_stay,
        redrives::letters_of_others_are_refused_before_anything_is_sent,
        redrives::letters_that_keep_coming_back_are_held_back,
        redrives::a_topic_made_again_has_new_letters,
        rivals::two_at_once_send_nothing_twice,
        rivals::one_that_was_left_behind_sends_nothing_more,
        rivals::another_handlers_open_transaction_hides_nothing,
        rivals::progress_that_is_not_understood_stops_a_redrive,
    );
    checks.finish()
}
