//! Where a group starts: settled once, for all partitions, and never again.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use keylane_kafka::Start;

use super::{Cluster, Recorder, consumer, unique, until, until_assigned};

const LIMIT: Duration = Duration::from_secs(5);

pub async fn latest_is_settled_once_and_for_all_partitions(cluster: &Cluster) {
    let (topic, group) = (cluster.topic(3).await, unique("group"));
    for partition in 0..3 {
        cluster.produce(&topic, partition, 0..5);
    }
    let recorder = Recorder::new();
    let intake = cluster.intake(consumer(&group, &topic, Start::Latest), &recorder);
    until_assigned(&intake, 3).await;
    for partition in 0..3 {
        assert_eq!(cluster.committed(&group, &topic, partition).unwrap().0, 5, "stored before any event");
    }
    intake.stop(LIMIT).await;
    // Written while nobody listens: a second start must not jump over it.
    cluster.produce(&topic, 2, 5..8);
    let intake = cluster.intake(consumer(&group, &topic, Start::Latest), &recorder);
    until("what came since the first start", || recorder.count() == 3).await;
    assert_eq!(recorder.offsets(2), [5, 6, 7]);
    intake.stop(LIMIT).await;
}

pub async fn two_fresh_members_settle_one_start(cluster: &Cluster) {
    let (topic, group) = (cluster.topic(6).await, unique("group"));
    for partition in 0..6 {
        cluster.produce(&topic, partition, 0..5);
    }
    let recorder = Recorder::new();
    let one = cluster.intake(consumer(&group, &topic, Start::Latest), &recorder);
    let other = cluster.intake(consumer(&group, &topic, Start::Latest), &recorder);
    until_assigned(&one, 3).await;
    until_assigned(&other, 3).await;
    for partition in 0..6 {
        cluster.produce(&topic, partition, 5..7);
    }
    until("the new records", || recorder.count() >= 12).await;
    one.stop(LIMIT).await;
    other.stop(LIMIT).await;
    for partition in 0..6 {
        assert_eq!(recorder.offsets(partition), [5, 6], "partition {partition}");
    }
}

pub async fn a_partition_added_later_starts_at_its_beginning(cluster: &Cluster) {
    let (topic, group) = (cluster.topic(1).await, unique("group"));
    cluster.produce(&topic, 0, 0..5);
    let recorder = Recorder::new();
    let intake = cluster.intake(consumer(&group, &topic, Start::Latest), &recorder);
    until_assigned(&intake, 1).await;
    cluster.grow(&topic, 2).await;
    cluster.produce(&topic, 1, 0..4);
    until_assigned(&intake, 2).await;
    until("the new partition from its beginning", || recorder.count_of(1) == 4).await;
    assert_eq!(recorder.count_of(0), 0, "the old one still starts where it was settled");
    intake.stop(LIMIT).await;
}

pub async fn a_timestamp_finds_the_first_record_not_older(cluster: &Cluster) {
    let (topic, group) = (cluster.topic(2).await, unique("group"));
    cluster.produce(&topic, 0, 0..5);
    cluster.produce(&topic, 1, 0..5);
    // The broker keeps milliseconds: the next record must not share one with the last.
    tokio::time::sleep(Duration::from_millis(20)).await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    cluster.produce(&topic, 0, 5..8);
    let recorder = Recorder::new();
    let start = Start::TimestampMs(i64::try_from(now.as_millis()).unwrap());
    let intake = cluster.intake(consumer(&group, &topic, start), &recorder);
    until("the younger records", || recorder.count_of(0) == 3).await;
    assert_eq!(recorder.offsets(0), [5, 6, 7]);
    assert_eq!(cluster.committed(&group, &topic, 1).unwrap().0, 5, "no such record: the end");
    intake.stop(LIMIT).await;
}
