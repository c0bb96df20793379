//! What only a real Apache Kafka shows: limits on batches, settings of topics, transactions, KIP-848. And
//! scenes that other tests play on the dev broker, so that no promise rests on the dev broker's word.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed expectation is to end the check"
)]

mod batches;
mod cut_logs;
mod groups;
mod growth;
mod markers;
mod played;
mod redrives;
mod relays;
mod remade;
mod rivals;
#[path = "../support/mod.rs"]
mod support;
mod topics;

use std::process::ExitCode;

use keylane_test_support::{ApacheKafka, Checks, apache_kafka_with};
use support::Cluster;
use tokio::runtime::{Builder, Runtime};

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

/// Everybody may do everything, but with a topic of which an access control list says otherwise. A topic
/// that was deleted stays so, whoever still asks for it.
const PROPERTIES: &str = "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
                          allow.everyone.if.no.acl.found=true\n\
                          auto.create.topics.enable=false\n";

fn main() -> ExitCode {
    let mut checks = Checks::from_args();
    let kafka = match apache_kafka_with("on_kafka", PROPERTIES) {
        Ok(Some(kafka)) => kafka,
        Ok(None) => return checks.finish(),
        Err(error) => {
            checks.run("on_kafka", || Err(error));
            return checks.finish();
        }
    };
    let stage = Stage { cluster: Cluster::at(&kafka.bootstrap()), kafka };
    let runtime = Builder::new_multi_thread().enable_all().build().unwrap();
    run_all(&mut checks, &runtime, &stage);
    checks.finish()
}

fn run_all(checks: &mut Checks, runtime: &Runtime, stage: &Stage) {
    macro_rules! check {
        ($($check:path),+ $(,)?) => {
            $(checks.run(stringify!($check), || {
                runtime.block_on($check(stage));
                Ok(())
            });)+
        };
    }
    played::play(checks, runtime, &stage.cluster);
    check!(
        groups::a_revoke_waits_for_the_run_that_is_out,
        groups::past_the_limit_the_run_is_broken_off_and_repeats_elsewhere,
        groups::with_kip_848_a_revoke_waits_for_the_run_that_is_out,
        groups::with_kip_848_past_the_limit_the_run_is_broken_off_and_repeats_elsewhere,
        groups::with_kip_848_a_run_that_heeds_no_interruption_holds_nobody_up,
        groups::a_topic_that_grows_amid_a_revoke_loses_no_member,
        groups::with_kip_848_a_topic_that_grows_amid_a_revoke_loses_no_member,
        groups::with_kip_848_a_standby_has_joined,
        groups::with_kip_848_what_ended_above_the_watermark_moves_with_the_partition,
        groups::members_come_and_go_and_each_event_happens_once,
        groups::with_kip_848_members_come_and_go_and_each_event_happens_once,
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
        remade::a_topic_made_again_has_new_letters,
        remade::a_topic_made_again_midway_stops_the_redrive,
        growth::a_redrive_makes_the_retry_topic_as_wide_as_its_source,
        growth::a_start_makes_the_retry_topic_as_wide_as_its_source,
        growth::where_it_may_not_grow_a_redrive_sends_nothing_and_a_host_goes_on,
        relays::whoever_comes_later_sends_and_knows_what_was_sent,
        relays::a_transaction_that_was_left_open_is_never_seen,
        relays::another_outboxs_open_transaction_hides_no_position,
        relays::a_position_far_back_is_found,
        relays::records_and_topics_that_are_at_fault_are_named,
        relays::whoever_is_killed_each_record_is_seen_once,
        relays::two_relays_send_once,
        rivals::two_at_once_send_nothing_twice,
        rivals::one_that_was_left_behind_sends_nothing_more,
        rivals::another_handlers_open_transaction_hides_nothing,
        rivals::progress_that_is_not_understood_stops_a_redrive,
        cut_logs::what_was_read_and_is_gone_stops_its_partition,
        cut_logs::a_marker_of_a_later_leader_is_not_taken_for_a_cut,
    );
}
