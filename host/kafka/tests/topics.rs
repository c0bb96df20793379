//! Topics that change: made anew under their name, cut by retention, ended by what is no record.

#![allow(clippy::unwrap_used, reason = "a failed expectation is to end the test")]

mod support;

use std::time::Duration;

use keylane_kafka::{ConsumerConfig, Health, Lost, NewTopic, Start};
use support::database::Database;
use support::topics::{cut_before_it_was_read, make_anew};
use support::{Cluster, Recorder, consumer, meters, unique, until, until_assigned, until_health};

const LIMIT: Duration = Duration::from_secs(5);

fn values(recorder: &Recorder) -> Vec<u32> {
    let text = |event: &std::sync::Arc<keylane_engine::Event>| {
        String::from_utf8(event.value.clone().unwrap().to_vec()).unwrap().parse().unwrap()
    };
    let mut values: Vec<u32> = recorder.events().iter().map(text).collect();
    values.sort_unstable();
    values
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_made_anew_is_read_from_its_beginning() {
    read_anew(Start::Earliest).await;
}

/// It was subscribed to before its first record came.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_made_anew_is_read_from_its_beginning_whatever_the_start() {
    read_anew(Start::Latest).await;
}

async fn read_anew(start: Start) {
    let cluster = Cluster::start().await;
    let (topic, group, recorder) = (cluster.topic(1).await, unique("group"), Recorder::new());
    let intake = cluster.intake(consumer(&group, &topic, start), &recorder);
    until_assigned(&intake, 1).await;
    until("the start is stored", || cluster.committed_offset(&group, &topic, 0) == Some(0)).await;
    cluster.produce(&topic, 0, 0..10);
    until("the first topic's records", || recorder.count() == 10).await;
    make_anew(&cluster, &topic).await;
    cluster.produce(&topic, 0, 100..104);
    until("the second topic's records", || recorder.count() >= 14).await;
    until("their commit", || cluster.committed_offset(&group, &topic, 0) == Some(4)).await;
    assert!(intake.stop(LIMIT).await.committed);
    assert_eq!(values(&recorder), (0..10).chain(100..104).collect::<Vec<_>>());
    let begun = recorder.all_begun();
    assert_ne!(begun.first().unwrap().topic_id, begun.last().unwrap().topic_id);
    assert_eq!(begun.last().unwrap().restored.base, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_that_take_less_than_a_record_are_found() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let (small, large) = (unique("small"), unique("large"));
    let mut new = NewTopic::new(&small, 1);
    new.settings.insert("max.message.bytes".to_owned(), "50000".to_owned());
    admin.create_topics(&[new, NewTopic::new(&large, 1)]).await.unwrap();
    let found = admin.small_topics(&[small.clone(), large, unique("missing")], 60_000).await.unwrap();
    assert_eq!(found, [(small, 50_000)].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_made_anew_while_nobody_read_is_not_taken_for_the_former_one() {
    let cluster = Cluster::start().await;
    let (topic, group) = (cluster.topic(1).await, unique("group"));
    cluster.produce(&topic, 0, 0..10);
    let first = Recorder::new();
    let intake = cluster.intake(consumer(&group, &topic, Start::Earliest), &first);
    until("the first topic's records", || first.count() == 10).await;
    assert!(intake.stop(LIMIT).await.committed);
    make_anew(&cluster, &topic).await;
    // Longer than the former one: nothing but the id tells that offset 10 is not where it was.
    cluster.produce(&topic, 0, 100..120);
    let second = Recorder::new();
    let intake = cluster.intake(consumer(&group, &topic, Start::Earliest), &second);
    until("all of the second topic", || second.count() == 20).await;
    assert_eq!(values(&second), (100..120).collect::<Vec<_>>());
    assert!(intake.stop(LIMIT).await.committed);
    assert_eq!(cluster.committed_offset(&group, &topic, 0), Some(20));
}

#[tokio::test(flavor = "multi_thread")]
async fn records_lost_to_retention_stop_the_partition_with_their_number() {
    meters::install();
    let cluster = Cluster::start().await;
    let (topic, config) = cut_before_it_was_read(&cluster, Lost::Stop).await;
    let (group, recorder) = (config.group.clone(), Recorder::new());
    let intake = cluster.intake(config, &recorder);
    let told = until_health(
        &mut intake.health(),
        "the fault",
        |told| matches!(told, Health::Assigned { faulted, .. } if faulted.len() == 1),
    )
    .await
    .to_string();
    assert!(told.contains("offset 2") && told.contains("4 records"), "{told}");
    assert_eq!(meters::count("keylane_records_lost_total", &[&format!("topic={topic}")]), 4);
    intake.stop(LIMIT).await;
    assert_eq!(recorder.count(), 0);
    assert_eq!(cluster.committed_offset(&group, &topic, 0), Some(2), "left for the operator");
}

#[tokio::test(flavor = "multi_thread")]
async fn records_lost_to_retention_are_counted_and_passed_where_policy_says_so() {
    meters::install();
    let cluster = Cluster::start().await;
    let (topic, config) = cut_before_it_was_read(&cluster, Lost::GoOn).await;
    let (group, recorder) = (config.group.clone(), Recorder::new());
    let intake = cluster.intake(config, &recorder);
    until("what is left", || recorder.count() == 4).await;
    cluster.produce(&topic, 0, 10..12);
    until("what came later", || recorder.count() == 6).await;
    until("no lag", || intake.lag() == Some(0)).await;
    assert!(intake.stop(LIMIT).await.committed);
    assert_eq!(recorder.offsets(0), (6..12).collect::<Vec<_>>());
    assert_eq!(meters::count("keylane_records_lost_total", &[&format!("topic={topic}")]), 4);
    assert_eq!(cluster.committed_offset(&group, &topic, 0), Some(12));
    assert_eq!(recorder.assignments(), 1, "the same owner went on");
}

/// A topic with five records and its retry topic with three, for a consumer that starts at the end.
async fn with_a_retry_topic(cluster: &Cluster) -> (String, String, ConsumerConfig) {
    let (topic, retry) = (cluster.topic(1).await, cluster.topic(1).await);
    cluster.produce(&topic, 0, 0..5);
    cluster.produce(&retry, 0, 100..103);
    let mut config = consumer(&unique("group"), &topic, Start::Latest);
    config.retry_topics.push(retry.clone());
    (topic, retry, config)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_topic_is_read_beside_its_source_and_from_its_beginning() {
    let (cluster, recorder) = (Cluster::start().await, Recorder::new());
    let (topic, _, config) = with_a_retry_topic(&cluster).await;
    let intake = cluster.intake(config, &recorder);
    until_assigned(&intake, 2).await;
    cluster.produce(&topic, 0, 5..7);
    until("both", || recorder.count() == 5).await;
    assert_eq!(values(&recorder), [5, 6, 100, 101, 102]);
    assert!(intake.stop(LIMIT).await.committed);
}

/// The database settles where it begins, and has its progress.
#[tokio::test(flavor = "multi_thread")]
async fn a_retry_topic_beside_a_database_is_read_from_its_beginning_and_once() {
    let (cluster, database) = (Cluster::start().await, Database::new());
    let (topic, retry, config) = with_a_retry_topic(&cluster).await;
    let recorder = Recorder::beside(&database);
    let intake = cluster.intake(config.clone(), &recorder);
    until_assigned(&intake, 2).await;
    cluster.produce(&topic, 0, 5..7);
    until("both", || database.effects_count() == 5).await;
    assert!(intake.stop(LIMIT).await.committed);
    assert_eq!(values(&recorder), [5, 6, 100, 101, 102]);
    // Given back while nobody reads.
    cluster.produce(&retry, 0, 103..105);
    let intake = cluster.intake(config, &recorder);
    until("what came meanwhile", || database.effects_count() == 7).await;
    until("no lag", || intake.lag() == Some(0)).await;
    assert!(intake.stop(LIMIT).await.committed);
    assert_eq!(values(&recorder), [5, 6, 100, 101, 102, 103, 104]);
}
