//! A partition that moves while its events are at work, whatever the protocol of the group. Needs a
//! runtime of several threads.

use std::time::Duration;

use keylane_kafka::{ConsumerConfig, GroupProtocol, Health, Intake, Start};

use super::{Cluster, Recorder, consumer, unique, until, until_assigned, until_health};

const LIMIT: Duration = Duration::from_secs(5);

/// A topic of two partitions, and how the members of a group that reads it are set up.
async fn scene(
    cluster: &Cluster,
    group_protocol: GroupProtocol,
    drain_limit: Duration,
) -> (String, ConsumerConfig) {
    let topic = cluster.topic(2).await;
    let config = consumer(&unique("group"), &topic, Start::Earliest);
    (topic, ConsumerConfig { group_protocol, drain_limit, ..config })
}

/// One member with both partitions, and an event of each at work, which waits.
async fn busy(cluster: &Cluster, config: ConsumerConfig, topic: &str) -> (Intake, Recorder) {
    let recorder = Recorder::new();
    for partition in 0..2 {
        recorder.close(partition);
        cluster.produce(topic, partition, 0..1);
    }
    let intake = cluster.intake(config, &recorder);
    until("both events at work", || recorder.begun() == 2).await;
    (intake, recorder)
}

/// A revocation is answered when the run that is out has ended and is committed.
pub async fn a_revoke_waits_for_the_run_that_is_out(cluster: &Cluster, group_protocol: GroupProtocol) {
    let (topic, config) = scene(cluster, group_protocol, Duration::from_secs(20)).await;
    let (one, first) = busy(cluster, config.clone(), &topic).await;
    let second = Recorder::new();
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
    assert_eq!(
        (first.count(), second.count()),
        (3, 1),
        "the run that was out ended and was committed before"
    );
    let farewell = one.stop(LIMIT).await;
    assert!(farewell.drained && farewell.committed);
    until_assigned(&other, 2).await;
    let farewell = other.stop(LIMIT).await;
    assert!(farewell.drained && farewell.committed);
}

/// Past the drain limit the run is broken off, and only then has another member its partition.
pub async fn past_the_limit_the_run_is_broken_off_and_repeats_elsewhere(
    cluster: &Cluster,
    group_protocol: GroupProtocol,
) {
    let (topic, config) = scene(cluster, group_protocol, Duration::from_millis(300)).await;
    let (one, first) = busy(cluster, config.clone(), &topic).await;
    let second = Recorder::new();
    let other = cluster.intake(config, &second);
    until("the event at the new owner", || second.count() == 1).await;
    assert_eq!(first.count(), 0, "the former owner's run is gone, the other one still waits");
    first.open(0);
    first.open(1);
    until("the event that stayed", || first.count() == 1).await;
    until_assigned(&one, 1).await;
    let moved = second.events().first().unwrap().source.partition;
    assert_eq!(first.offsets(moved), Vec::<i64>::new(), "the broken-off run did not go on");
    assert!(one.stop(LIMIT).await.drained && other.stop(LIMIT).await.drained);
}

/// A run that heeds no interruption holds nobody up for long: the partition goes to its new owner without
/// it, and what it ends later reaches no commit.
pub async fn a_run_that_heeds_no_interruption_holds_nobody_up(
    cluster: &Cluster,
    group_protocol: GroupProtocol,
) {
    let (topic, config) = scene(cluster, group_protocol, Duration::from_millis(300)).await;
    let (first, second) = (Recorder::new(), Recorder::new());
    for partition in 0..2 {
        first.deafen(partition);
        second.close(partition);
        cluster.produce(&topic, partition, 0..1);
    }
    let one = cluster.intake(config.clone(), &first);
    until("both events at work", || first.begun() == 2).await;
    let group = config.group.clone();
    let other = cluster.intake(config, &second);
    until("the event at its new owner", || second.begun() == 1).await;
    assert_eq!(first.count(), 0, "the former owner's run is still out: the group did not wait for it");
    let moved = second.all_begun().first().unwrap().partition.partition;
    let kept = 1 - moved;
    let committed = |partition| cluster.committed_offset(&group, &topic, partition);
    assert_eq!(committed(moved), Some(0));

    first.wake_up(moved);
    until("the late end of the run", || first.offsets(moved) == [0]).await;
    // Further commits of the former owner, which have nothing of it.
    first.wake_up(kept);
    until("the event that stayed", || committed(kept) == Some(1)).await;
    assert_eq!(committed(moved), Some(0), "what ended late is not committed");
    assert_eq!(first.begun(), 2, "and nothing else was begun");

    second.open(moved);
    until("the event at its new owner", || committed(moved) == Some(1)).await;
    assert_eq!((first.offsets(kept), second.offsets(moved)), (vec![0], vec![0]));
    assert!(one.stop(LIMIT).await.committed && other.stop(LIMIT).await.committed);
}

/// A member without partitions is told from one that the group has not answered.
pub async fn a_standby_has_joined(cluster: &Cluster, group_protocol: GroupProtocol) {
    let (topic, group) = (cluster.topic(1).await, unique("group"));
    let config = ConsumerConfig { group_protocol, ..consumer(&group, &topic, Start::Earliest) };
    let one = cluster.intake(config.clone(), &Recorder::new());
    until_assigned(&one, 1).await;
    let standby = cluster.intake(config, &Recorder::new());
    let joined = |told: &Health| matches!(told, Health::Unassigned { joined: true, .. });
    until_health(&mut standby.health(), "a standby", joined).await;
    assert!(one.stop(LIMIT).await.committed);
    until_assigned(&standby, 1).await;
    assert!(standby.stop(LIMIT).await.committed);
}

/// The topic grows while a revocation waits for the run that is out. A client that heard of it then would
/// join anew amid its own revocation, and would never again follow its group.
pub async fn a_topic_that_grows_amid_a_revoke_loses_no_member(
    cluster: &Cluster,
    group_protocol: GroupProtocol,
) {
    let (topic, config) = scene(cluster, group_protocol, Duration::from_secs(20)).await;
    let (one, first) = busy(cluster, config.clone(), &topic).await;
    let (second, third) = (Recorder::new(), Recorder::new());
    let other = cluster.intake(config.clone(), &second);
    tokio::time::sleep(Duration::from_secs(2)).await;
    cluster.grow(&topic, 6).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    first.open(0);
    first.open(1);
    until_assigned(&one, 3).await;
    until_assigned(&other, 3).await;
    let late = cluster.intake(config, &third);
    for intake in [&one, &other, &late] {
        until_assigned(intake, 2).await;
    }
    for partition in 0..6 {
        cluster.produce(&topic, partition, 1..3);
    }
    let handled = || first.count() + second.count() + third.count();
    until("all events, the new partitions' too", || handled() == 14).await;
    for intake in [one, other, late] {
        let farewell = intake.stop(LIMIT).await;
        assert!(farewell.drained && farewell.committed);
    }
    assert_eq!(handled(), 14, "each once");
}
