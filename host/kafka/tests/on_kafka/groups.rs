//! The ways a group agrees: classic, KIP-848, static members.

use std::time::Duration;

use keylane_kafka::{ConsumerConfig, GroupProtocol, Start};

use crate::Stage;
use crate::support::{Recorder, consumer, handover, moving, unique, until, until_assigned};

const LIMIT: Duration = Duration::from_secs(5);

pub async fn a_revoke_waits_for_the_run_that_is_out(stage: &Stage) {
    handover::a_revoke_waits_for_the_run_that_is_out(&stage.cluster, GroupProtocol::Classic).await;
}

pub async fn with_kip_848_a_revoke_waits_for_the_run_that_is_out(stage: &Stage) {
    handover::a_revoke_waits_for_the_run_that_is_out(&stage.cluster, GroupProtocol::Consumer).await;
}

pub async fn members_come_and_go_and_each_event_happens_once(stage: &Stage) {
    moving::members_come_and_go_and_each_event_happens_once(&stage.cluster, GroupProtocol::Classic).await;
}

pub async fn with_kip_848_members_come_and_go_and_each_event_happens_once(stage: &Stage) {
    moving::members_come_and_go_and_each_event_happens_once(&stage.cluster, GroupProtocol::Consumer).await;
}

pub async fn past_the_limit_the_run_is_broken_off_and_repeats_elsewhere(stage: &Stage) {
    handover::past_the_limit_the_run_is_broken_off_and_repeats_elsewhere(
        &stage.cluster,
        GroupProtocol::Classic,
    )
    .await;
}

pub async fn with_kip_848_past_the_limit_the_run_is_broken_off_and_repeats_elsewhere(stage: &Stage) {
    handover::past_the_limit_the_run_is_broken_off_and_repeats_elsewhere(
        &stage.cluster,
        GroupProtocol::Consumer,
    )
    .await;
}

pub async fn with_kip_848_a_run_that_heeds_no_interruption_holds_nobody_up(stage: &Stage) {
    handover::a_run_that_heeds_no_interruption_holds_nobody_up(&stage.cluster, GroupProtocol::Consumer).await;
}

pub async fn a_topic_that_grows_amid_a_revoke_loses_no_member(stage: &Stage) {
    handover::a_topic_that_grows_amid_a_revoke_loses_no_member(&stage.cluster, GroupProtocol::Classic).await;
}

pub async fn with_kip_848_a_topic_that_grows_amid_a_revoke_loses_no_member(stage: &Stage) {
    handover::a_topic_that_grows_amid_a_revoke_loses_no_member(&stage.cluster, GroupProtocol::Consumer).await;
}

pub async fn with_kip_848_a_standby_has_joined(stage: &Stage) {
    handover::a_standby_has_joined(&stage.cluster, GroupProtocol::Consumer).await;
}

pub async fn with_kip_848_what_ended_above_the_watermark_moves_with_the_partition(stage: &Stage) {
    let cluster = &stage.cluster;
    let (topic, group) = (cluster.topic(1).await, unique("group"));
    let config = ConsumerConfig {
        group_protocol: GroupProtocol::Consumer,
        ..consumer(&group, &topic, Start::Earliest)
    };
    cluster.produce(&topic, 0, 0..10);
    let (first, second) = (Recorder::new(), Recorder::new());
    first.hold(0, 0);
    let one = cluster.intake(config.clone(), &first);
    until("all but the first", || first.count() == 9).await;
    let term = first.all_begun().first().unwrap().term;
    let expected = Duration::from_secs(45 - 5);
    assert_eq!(term, expected, "the group's own session without a heartbeat, Kafka's defaults, not ours");
    assert!(one.stop(Duration::from_millis(200)).await.committed);
    let other = cluster.intake(config, &second);
    until("the watermark past all", || cluster.committed_offset(&group, &topic, 0) == Some(10)).await;
    assert_eq!(second.offsets(0), [0]);
    assert!(other.stop(LIMIT).await.committed);
}

pub async fn a_static_member_finds_its_partitions_again(stage: &Stage) {
    let cluster = &stage.cluster;
    for group_protocol in [GroupProtocol::Classic, GroupProtocol::Consumer] {
        let (topic, group) = (cluster.topic(2).await, unique("group"));
        let named = |instance: &str| ConsumerConfig {
            group_protocol,
            instance: Some(instance.to_owned()),
            session_timeout: Duration::from_secs(30),
            ..consumer(&group, &topic, Start::Earliest)
        };
        let (first, second, third) = (Recorder::new(), Recorder::new(), Recorder::new());
        let one = cluster.intake(named("host-1"), &first);
        let other = cluster.intake(named("host-2"), &second);
        until_assigned(&one, 1).await;
        until_assigned(&other, 1).await;
        let mine = one.looker().look().await.first().unwrap().partition.clone();
        assert!(one.stop(LIMIT).await.committed);
        let again = cluster.intake(named("host-1"), &third);
        until_assigned(&again, 1).await;
        let found = again.looker().look().await.first().unwrap().partition.clone();
        assert_eq!(found, mine, "{group_protocol:?}");
        cluster.produce(&topic, mine.partition, 0..3);
        until("its events", || third.count() == 3).await;
        until_assigned(&other, 1).await;
        assert!(again.stop(LIMIT).await.committed && other.stop(LIMIT).await.committed);
    }
}
