//! What a broker or another client may do wrong, provoked on the client library's mock cluster, which
//! lets a test choose the broker's answers.

#![allow(clippy::unwrap_used, reason = "a failed expectation is to end the test")]

mod support;

use std::time::Duration;

use keylane_engine::{DeadLetter, DeadLetters};
use keylane_kafka::{
    ConsumerConfig, DeadLetterOptions, Intake, KafkaDeadLetters, KafkaPublisher, Start, dead_letter_topic,
};
use rdkafka::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, DefaultProducerContext, Producer};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use support::clock::TurnedClock;
use support::letters::{HANDLER, header, headers_of, letter};
use support::{Cluster, PATIENCE, Recorder, consumer, rude, unique, until, until_assigned};
use tokio::runtime::Handle;

const LIMIT: Duration = Duration::from_secs(5);

fn mock(topic: &str) -> (MockCluster<'static, DefaultProducerContext>, Cluster) {
    let mock = MockCluster::new(1).unwrap();
    mock.create_topic(topic, 1, 1).unwrap();
    let cluster = Cluster::at(&mock.bootstrap_servers());
    (mock, cluster)
}

/// Not UTF-8.
const NOT_TEXT: &[u8] = b"x\xff\xfe";

#[tokio::test(flavor = "multi_thread")]
async fn commit_metadata_that_is_not_text_does_no_harm() {
    let (topic, group) = (unique("topic"), unique("group"));
    let (_mock, cluster) = mock(&topic);
    cluster.produce(&topic, 0, 0..10);
    rude::commit(&cluster.member(&group), &topic, 4, NOT_TEXT);
    let recorder = Recorder::new();
    let intake = cluster.intake(consumer(&group, &topic, Start::Earliest), &recorder);
    until("the rest", || recorder.count() == 6).await;
    assert_eq!(recorder.offsets(0), (4..10).collect::<Vec<_>>());
    assert!(intake.stop(LIMIT).await.committed);
    assert_eq!(cluster.committed_offset(&group, &topic, 0), Some(10));
}

/// Kafka's protocol wants text there. What is none is shown with replacement characters, by the letter as
/// well; everything else is as it was.
#[tokio::test(flavor = "multi_thread")]
async fn a_header_name_that_is_not_text_does_no_harm() {
    let topic = unique("topic");
    let (mock, cluster) = mock(&topic);
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", &cluster.bootstrap).create().unwrap();
    rude::produce(&producer, &topic, NOT_TEXT, b"v\xff");
    producer.flush(PATIENCE).unwrap();
    let recorder = Recorder::new();
    let intake = cluster.intake(consumer(&unique("group"), &topic, Start::Earliest), &recorder);
    until("the record", || recorder.count() == 1).await;
    let event = recorder.events().first().unwrap().clone();
    let shown = header("x\u{fffd}\u{fffd}", Some(b"v\xff"));
    assert_eq!(event.headers, std::slice::from_ref(&shown));
    intake.stop(LIMIT).await;

    let options = DeadLetterOptions::new(HANDLER, "shop.accounting", "r1");
    let grave = dead_letter_topic(&topic, HANDLER);
    mock.create_topic(&grave, 1, 1).unwrap();
    let dead_letters = KafkaDeadLetters::new(KafkaPublisher::new(&cluster.config()).unwrap(), options);
    dead_letters.bury(DeadLetter { event, ..letter(&topic, 0, None, None) }).await.unwrap();
    let found = cluster.read(&grave, 0, 1);
    assert_eq!(headers_of(found.first().unwrap()).first(), Some(&shown));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_commit_is_repeated() {
    let (topic, group) = (unique("topic"), unique("group"));
    let (mock, cluster) = mock(&topic);
    let recorder = Recorder::new();
    let intake = cluster.intake(consumer(&group, &topic, Start::Earliest), &recorder);
    until_assigned(&intake, 1).await;
    let refusal = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    mock.request_errors(RDKafkaApiKey::OffsetCommit, &[refusal, refusal, refusal]);
    cluster.produce(&topic, 0, 0..10);
    until("the commit in the end", || cluster.committed(&group, &topic, 0).unwrap().0 == 10).await;
    intake.stop(LIMIT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_assignment_ends_its_owner_and_comes_back_new() {
    let (topic, group) = (unique("topic"), unique("group"));
    let (mock, cluster) = mock(&topic);
    cluster.produce(&topic, 0, 0..10);
    let recorder = Recorder::new();
    recorder.close(0);
    let intake = cluster.intake(consumer(&group, &topic, Start::Earliest), &recorder);
    until_assigned(&intake, 1).await;
    until("the first owner at work", || recorder.assignments() == 1).await;
    mock.request_errors(RDKafkaApiKey::Heartbeat, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID]);
    until("a second owner at work", || recorder.assignments() == 2).await;
    assert_eq!(recorder.count(), 0, "the first owner's runs were broken off");
    assert_eq!(cluster.committed(&group, &topic, 0).unwrap().0, 0);
    recorder.open(0);
    until("everything, once", || recorder.count() == 10).await;
    assert!(intake.stop(LIMIT).await.committed);
    assert_eq!(recorder.offsets(0), (0..10).collect::<Vec<_>>());
}

/// No regular commits, and no proof of life: what is committed is what is committed on purpose.
fn quiet(cluster: &Cluster, group: &str, topic: &str, recorder: &Recorder) -> Intake {
    let config = ConsumerConfig {
        commit_interval: Duration::from_secs(600),
        ..consumer(group, topic, Start::Earliest)
    };
    let (owners, clock) = (recorder.owners(), TurnedClock::new());
    Intake::start_with(&cluster.config(), config, owners, None, Handle::current(), clock).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_committed_for_a_lost_partition() {
    let (topic, group) = (unique("topic"), unique("group"));
    let (mock, cluster) = mock(&topic);
    cluster.produce(&topic, 0, 0..10);
    let recorder = Recorder::new();
    let intake = quiet(&cluster, &group, &topic, &recorder);
    until("everything", || recorder.count() == 10).await;
    mock.request_errors(RDKafkaApiKey::Heartbeat, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID]);
    until("everything again", || recorder.count() == 20).await;
    let bases: Vec<i64> = recorder.all_begun().iter().map(|begun| begun.restored.base).collect();
    assert_eq!(bases, [0, 0], "the loss committed nothing of what had ended");
    assert!(intake.stop(LIMIT).await.committed);
    assert_eq!(cluster.committed_offset(&group, &topic, 0), Some(10), "a stop commits");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_final_commit_amid_a_changing_group_is_tried_again() {
    let (topic, group) = (unique("topic"), unique("group"));
    let (mock, cluster) = mock(&topic);
    cluster.produce(&topic, 0, 0..10);
    let recorder = Recorder::new();
    let intake = quiet(&cluster, &group, &topic, &recorder);
    until("everything", || recorder.count() == 10).await;
    let passing = RDKafkaRespErr::RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS;
    mock.request_errors(RDKafkaApiKey::OffsetCommit, &[passing, passing, passing]);
    assert!(intake.stop(LIMIT).await.committed);
    assert_eq!(cluster.committed_offset(&group, &topic, 0), Some(10));
}
