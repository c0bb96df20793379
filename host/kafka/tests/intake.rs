//! The intake against a broker: what reaches the owners, what is committed, and what stops what.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed expectation is to end the test")]

mod support;

use std::time::{Duration, Instant};

use bytes::Bytes;
use keylane_engine::{Header, OutgoingRecord, Policy, Publisher, Then};
use keylane_kafka::{Farewell, Health, Intake, KafkaPublisher, Start};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use support::{Cluster, Recorder, consumer, unique, until, until_assigned, until_health};
use tokio::runtime::Handle;

const LIMIT: Duration = Duration::from_secs(5);
const WELL: Farewell = Farewell { drained: true, committed: true, left: true };

/// Records with any bytes in any place, the same ones in each run.
fn any_records(topic: &str) -> Vec<OutgoingRecord> {
    let bytes = || proptest::option::of(vec(any::<u8>(), 0..40)).prop_map(|bytes| bytes.map(Bytes::from));
    let header = ("[^\\x00]{0,12}", bytes()).prop_map(|(name, value)| Header { name, value });
    let record = (bytes(), bytes(), vec(header, 0..5)).prop_map(|(key, value, headers)| OutgoingRecord {
        topic: topic.to_owned(),
        key,
        value,
        headers,
    });
    vec(record, 100).new_tree(&mut TestRunner::deterministic()).unwrap().current()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_the_record_byte_for_byte() {
    let cluster = Cluster::start().await;
    let topic = cluster.topic(1).await;
    let publisher = KafkaPublisher::new(&cluster.config()).unwrap();
    let header = |name: &str, value: Option<&'static [u8]>| Header {
        name: name.to_owned(),
        value: value.map(Bytes::from_static),
    };
    let record = |key: Option<&'static [u8]>, value: Option<&'static [u8]>, headers| OutgoingRecord {
        topic: topic.clone(),
        key: key.map(Bytes::from_static),
        value: value.map(Bytes::from_static),
        headers,
    };
    let mut sent = vec![
        record(Some(b"k"), Some(b"v"), vec![]),
        record(None, Some(b"no key"), vec![header("a", Some(b"1")), header("a", Some(b"2"))]),
        record(Some(b"tombstone"), None, vec![header("none", None), header("empty", Some(b""))]),
        record(Some(b""), Some(b""), vec![header("bin", Some(b"\xff\x00"))]),
    ];
    sent.extend(any_records(&topic));
    for record in &sent {
        publisher.publish(record.clone()).await.unwrap().await.unwrap();
    }
    let recorder = Recorder::new();
    let intake = cluster.intake(consumer(&unique("group"), &topic, Start::Earliest), &recorder);
    until("all records", || recorder.count() == sent.len()).await;
    let mut events = recorder.events();
    events.sort_by_key(|event| event.offset);
    for (event, record) in events.iter().zip(&sent) {
        assert_eq!((&event.key, &event.value, &event.headers), (&record.key, &record.value, &record.headers));
        assert_eq!(*event.source.topic, topic);
        assert!(event.timestamp.is_some());
    }
    assert_eq!(intake.stop(LIMIT).await, WELL);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_partition_stops_no_other() {
    let cluster = Cluster::start().await;
    let topic = cluster.topic(3).await;
    for partition in 0..3 {
        cluster.produce(&topic, partition, 0..2_000);
    }
    let recorder = Recorder::new();
    recorder.close(1);
    let intake = cluster.intake(consumer(&unique("group"), &topic, Start::Earliest), &recorder);
    until("the open partitions", || recorder.count() == 4_000).await;
    assert_eq!(recorder.count_of(1), 0);
    until("the lag of the closed one", || intake.lag() == Some(2_000)).await;
    recorder.open(1);
    until("the closed partition", || recorder.count() == 6_000).await;
    until("no lag", || intake.lag() == Some(0)).await;
    for partition in 0..3 {
        assert_eq!(recorder.offsets(partition), (0..2_000).collect::<Vec<_>>());
    }
    assert_eq!(intake.stop(LIMIT).await, WELL);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_goes_on_where_the_last_one_stopped() {
    let cluster = Cluster::start().await;
    let (topic, group) = (cluster.topic(2).await, unique("group"));
    cluster.produce(&topic, 0, 0..300);
    let recorder = Recorder::new();
    let intake = cluster.intake(consumer(&group, &topic, Start::Earliest), &recorder);
    until("the first records", || recorder.count() == 300).await;
    until("a commit on the way", || cluster.committed_offset(&group, &topic, 0) == Some(300)).await;
    assert_eq!(intake.stop(LIMIT).await, WELL);
    cluster.produce(&topic, 0, 300..500);
    let intake = cluster.intake(consumer(&group, &topic, Start::Earliest), &recorder);
    until("the rest", || recorder.count() >= 500).await;
    assert_eq!(intake.stop(LIMIT).await, WELL);
    assert_eq!(recorder.offsets(0), (0..500).collect::<Vec<_>>(), "nothing lost, nothing repeated");
    assert_eq!(cluster.committed_offset(&group, &topic, 0), Some(500));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_finished_is_not_committed() {
    let cluster = Cluster::start().await;
    let (topic, group) = (cluster.topic(1).await, unique("group"));
    cluster.produce(&topic, 0, 0..50);
    let recorder = Recorder::new();
    recorder.close(0);
    let intake = cluster.intake(consumer(&group, &topic, Start::Earliest), &recorder);
    until_assigned(&intake, 1).await;
    let farewell = intake.stop(Duration::from_millis(300)).await;
    assert!(!farewell.drained, "{farewell:?}");
    assert_eq!(cluster.committed(&group, &topic, 0).unwrap().0, 0);
    let second = Recorder::new();
    let intake = cluster.intake(consumer(&group, &topic, Start::Earliest), &second);
    until("everything again", || second.count() == 50).await;
    assert_eq!(recorder.count(), 0, "the first owner was stopped");
    assert_eq!(intake.stop(LIMIT).await, WELL);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_member_takes_over_what_was_committed() {
    let cluster = Cluster::start().await;
    let (topic, group) = (cluster.topic(4).await, unique("group"));
    for partition in 0..4 {
        cluster.produce(&topic, partition, 0..200);
    }
    let (first, second) = (Recorder::new(), Recorder::new());
    let one = cluster.intake(consumer(&group, &topic, Start::Earliest), &first);
    until("the first half", || first.count() == 800).await;
    let other = cluster.intake(consumer(&group, &topic, Start::Earliest), &second);
    until_assigned(&other, 2).await;
    until_assigned(&one, 2).await;
    for partition in 0..4 {
        cluster.produce(&topic, partition, 200..400);
    }
    until("the second half", || first.count() + second.count() >= 1_600).await;
    assert_eq!(second.count(), 400, "the newcomer started where the revoked partitions were committed");
    assert_eq!(one.stop(LIMIT).await, WELL);
    until_assigned(&other, 4).await;
    cluster.produce(&topic, 0, 400..410);
    cluster.produce(&topic, 3, 400..410);
    until("what came after", || first.count() + second.count() >= 1_620).await;
    assert_eq!(other.stop(LIMIT).await, WELL);
    for partition in 0..4 {
        let mut all = first.offsets(partition);
        all.extend(second.offsets(partition));
        all.sort_unstable();
        let end = if partition == 0 || partition == 3 { 410 } else { 400 };
        assert_eq!(all, (0..end).collect::<Vec<_>>(), "partition {partition}: each once");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_position_stops_its_partition_loudly_and_alone() {
    let cluster = Cluster::start().await;
    let (topic, group) = (cluster.topic(2).await, unique("group"));
    cluster.produce(&topic, 0, 0..10);
    cluster.produce(&topic, 1, 0..10);
    cluster.commit(&group, &topic, 0, 1_000, "");
    let recorder = Recorder::new();
    let intake = cluster.intake(consumer(&group, &topic, Start::Earliest), &recorder);
    let mut health = intake.health();
    let told = until_health(
        &mut health,
        "the fault",
        |told| matches!(told, Health::Assigned { faulted, .. } if faulted.len() == 1),
    )
    .await;
    let told = told.to_string();
    assert!(told.contains(&format!("{topic}[0] stopped: offset 1000 is not in the log")), "{told}");
    until("the other partition", || recorder.count_of(1) == 10).await;
    assert_eq!(recorder.count_of(0), 0);
    intake.stop(LIMIT).await;
    assert_eq!(
        cluster.committed(&group, &topic, 0).unwrap().0,
        1_000,
        "the position is left for the operator"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_commit_metadata_does_no_harm() {
    let cluster = Cluster::start().await;
    let (topic, group) = (cluster.topic(1).await, unique("group"));
    cluster.produce(&topic, 0, 0..10);
    cluster.commit(&group, &topic, 0, 4, "\u{1}another tool's words, and not few: ä\u{7f}");
    let recorder = Recorder::new();
    let intake = cluster.intake(consumer(&group, &topic, Start::Earliest), &recorder);
    until("the rest", || recorder.count() == 6).await;
    assert_eq!(intake.stop(LIMIT).await, WELL);
    assert_eq!(recorder.offsets(0), (4..10).collect::<Vec<_>>());
    assert_eq!(cluster.committed_offset(&group, &topic, 0), Some(10));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drop_without_stop_hangs_nobody_and_gives_up_the_partitions() {
    let cluster = Cluster::start().await;
    let (topic, group) = (cluster.topic(1).await, unique("group"));
    cluster.produce(&topic, 0, 0..10);
    let recorder = Recorder::new();
    let intake = cluster.intake(consumer(&group, &topic, Start::Earliest), &recorder);
    until("records", || recorder.count() == 10).await;
    let mut health = intake.health();
    let begun = Instant::now();
    drop(intake);
    assert!(begun.elapsed() < Duration::from_secs(1));
    until_health(&mut health, "stopped", |told| *told == Health::Stopped).await;
    // The group is free at once: nobody waits for a session to time out.
    let next = cluster.intake(consumer(&group, &topic, Start::Earliest), &recorder);
    until_assigned(&next, 1).await;
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(next.stop(LIMIT).await, WELL);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_halted_partition_is_told_until_an_operator_lets_it_go_on() {
    let cluster = Cluster::start().await;
    let (topic, group, recorder) = (cluster.topic(1).await, unique("group"), Recorder::new());
    cluster.produce(&topic, 0, 0..10);
    recorder.reject(3);
    let owners = recorder.owners_with(Policy { then: Then::Stop, ..Policy::default() });
    let config = consumer(&group, &topic, Start::Earliest);
    let intake = Intake::start(&cluster.config(), config, owners, None, Handle::current()).unwrap();
    let mut health = intake.health();
    let told = until_health(&mut health, "the halt", |told| told.to_string().contains("halted: ")).await;
    assert!(matches!(told, Health::Assigned { partitions: 0, .. }), "{told}");
    let looks = intake.looker().look().await;
    let look = looks.first().unwrap();
    assert_eq!(look.phase, "halted");
    until("a commit up to the culprit", || cluster.committed_offset(&group, &topic, 0) == Some(3)).await;
    look.control.as_ref().unwrap().skip(3).await.unwrap();
    until("the rest", || recorder.count() == 9).await;
    until_assigned(&intake, 1).await;
    assert_eq!(intake.stop(LIMIT).await, WELL);
    assert_eq!(cluster.committed_offset(&group, &topic, 0), Some(10));
}
