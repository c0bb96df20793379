//! Scenes that other tests play on the dev broker: no promise rests on the dev broker's word alone.

use keylane_kafka::GroupProtocol;
use keylane_test_support::Checks;
use tokio::runtime::Runtime;

use crate::support::{Cluster, commits, cuts, doubts, leases, positions, refusals, starts, takes};

pub fn play(checks: &mut Checks, runtime: &Runtime, cluster: &Cluster) {
    macro_rules! scene {
        ($($scene:path),+ $(,)?) => {
            $(checks.run(stringify!($scene), || {
                runtime.block_on($scene(cluster));
                Ok(())
            });)+
        };
    }
    scene!(
        starts::latest_is_settled_once_and_for_all_partitions,
        starts::two_fresh_members_settle_one_start,
        starts::a_partition_added_later_starts_at_its_beginning,
        starts::a_timestamp_finds_the_first_record_not_older,
        leases::an_idle_host_keeps_its_partitions,
        leases::a_long_drain_keeps_the_proof_of_life,
        commits::what_ended_above_the_watermark_is_not_done_again,
        commits::a_payload_beside_another_offset_counts_for_nothing,
        commits::the_words_of_another_product_count_for_nothing_and_are_replaced,
        commits::a_look_tells_what_is_committed_and_what_is_behind,
        takes::no_commit_of_the_group_moves_the_progress,
        takes::the_database_settles_all_starts_at_once,
        takes::a_partition_added_later_is_taken_from_its_beginning,
        takes::what_was_committed_without_a_database_is_gone_on_from,
        takes::a_commit_beside_another_database_is_refused,
        takes::a_database_that_is_away_is_waited_for,
        takes::a_revoked_partition_drops_its_take,
        takes::a_take_that_outlives_the_lease_is_repeated,
        takes::a_topic_made_anew_during_its_take_is_taken_under_its_new_id,
        takes::an_overtaken_partition_is_taken_anew,
        positions::what_is_read_again_by_a_check_is_passed_over,
        positions::a_record_where_none_was_stops_its_partition,
        takes::a_log_that_ends_before_the_claims_stops_its_partition,
        cuts::each_event_leaves_its_record_once,
        cuts::what_a_stop_leaves_is_gone_on_from,
        cuts::a_dead_letter_is_written_once_with_the_progress,
        cuts::a_record_that_no_topic_takes_fails_its_event_alone,
        cuts::a_record_that_no_topic_takes_follows_the_policy,
        cuts::what_was_refused_is_forgotten_with_its_topic,
        cuts::a_topic_that_is_not_there_fails_its_events_in_the_end,
        cuts::members_of_a_classic_group_come_and_go,
        cuts::an_idle_host_keeps_its_partitions_without_a_transaction,
        refusals::a_record_that_no_topic_takes_fails_its_event_in_the_midst_of_a_run,
        refusals::a_topic_that_is_not_there_holds_up_its_own_partition_alone,
        refusals::a_letter_whose_topic_is_not_there_holds_up_its_own_partition_alone,
        doubts::a_cut_of_a_generation_that_has_passed_is_made_again,
        doubts::a_commit_that_happened_and_was_not_heard_of_is_not_made_again,
        doubts::a_commit_that_was_lost_and_not_heard_of_is_made_again,
    );
    checks.run("with_kip_848_cuts_survive_members_that_come_and_go", || {
        runtime.block_on(cuts::members_come_and_go(cluster, GroupProtocol::Consumer));
        Ok(())
    });
}
