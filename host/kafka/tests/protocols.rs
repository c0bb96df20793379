//! The ways a group agrees, on Apache Kafka: KIP-848 and static membership.

#![allow(clippy::unwrap_used, reason = "a failed expectation is to end the test")]

mod support;

use std::time::Duration;

use keylane_kafka::{ConsumerConfig, GroupProtocol, Start};
use support::{Cluster, Recorder, consumer, unique, until, until_assigned};

const LIMIT: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn with_kip_848_a_revoke_waits_for_the_run_that_is_out() {
    let Some(cluster) = Cluster::real_or_say("KIP-848") else { return };
    let (topic, group) = (cluster.topic(2).await, unique("group"));
    let config = ConsumerConfig {
        group_protocol: GroupProtocol::Consumer,
        drain_limit: Duration::from_secs(20),
        ..consumer(&group, &topic, Start::Earliest)
    };
    let (first, second) = (Recorder::new(), Recorder::new());
    for partition in 0..2 {
        first.close(partition);
        cluster.produce(&topic, partition, 0..1);
    }
    let one = cluster.intake(config.clone(), &first);
    until("both events at work", || first.begun() == 2).await;
    let other = cluster.intake(config, &second);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(second.begun(), 0, "nobody else may have the partition while its run is out");
    first.open(0);
    first.open(1);
    until_assigned(&other, 1).await;
    until_assigned(&one, 1).await;
    cluster.produce(&topic, 0, 1..2);
    cluster.produce(&topic, 1, 1..2);
    until("the later events", || first.count() + second.count() == 4).await;
    assert_eq!((first.count(), second.count()), (3, 1), "what was out ended, and was committed before");
    assert!(one.stop(LIMIT).await.committed);
    until_assigned(&other, 2).await;
    assert!(other.stop(LIMIT).await.committed);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_kip_848_what_ended_above_the_watermark_moves_with_the_partition() {
    let Some(cluster) = Cluster::real_or_say("KIP-848") else { return };
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
    assert_eq!(term, Duration::from_secs(45), "the group's session time-out, Kafka's default, not ours");
    assert!(one.stop(Duration::from_millis(200)).await.committed);
    let other = cluster.intake(config, &second);
    until("the watermark past all", || cluster.committed_offset(&group, &topic, 0) == Some(10)).await;
    assert_eq!(second.offsets(0), [0]);
    assert!(other.stop(LIMIT).await.committed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_static_member_finds_its_partitions_again() {
    for group_protocol in [GroupProtocol::Classic, GroupProtocol::Consumer] {
        let Some(cluster) = Cluster::real_or_say("static membership") else { return };
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
