//! The proof of life: without an acknowledged commit a host drops what it holds, and with one it keeps it.

#![allow(clippy::unwrap_used, reason = "a failed expectation is to end the test")]

mod support;

use std::time::Duration;

use keylane_kafka::Start;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use support::clock::TurnedClock;
use support::leases::{SESSION, start};
use support::{Cluster, Recorder, consumer, unique, until};

const LIMIT: Duration = Duration::from_secs(5);

fn mock(topic: &str) -> (MockCluster<'static, DefaultProducerContext>, Cluster) {
    let mock = MockCluster::new(1).unwrap();
    mock.create_topic(topic, 1, 1).unwrap();
    let cluster = Cluster::at(&mock.bootstrap_servers());
    (mock, cluster)
}

#[tokio::test(flavor = "multi_thread")]
async fn without_proof_of_life_everything_is_dropped_and_taken_anew() {
    let (topic, group) = (unique("topic"), unique("group"));
    let (mock, cluster) = mock(&topic);
    cluster.produce(&topic, 0, 0..10);
    let (recorder, clock) = (Recorder::new(), TurnedClock::new());
    recorder.hold(0, 9);
    let intake = start(&cluster, consumer(&group, &topic, Start::Earliest), &recorder, &clock);
    until("all but the last", || recorder.count() == 9).await;
    until("their commit", || cluster.committed_offset(&group, &topic, 0) == Some(9)).await;

    let refusal = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    mock.request_errors(RDKafkaApiKey::OffsetCommit, &[refusal; 10_000]);
    clock.turn_on(SESSION);
    let looker = intake.looker();
    let mut phase = String::new();
    while phase != "waiting" {
        phase = looker.look().await.first().unwrap().phase.clone();
    }
    recorder.release(0, 9);
    // Time for the broken-off run to do what it must not do.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(recorder.count(), 9, "what ran was broken off");
    assert_eq!(recorder.assignments(), 1, "and nothing begins without proof");

    mock.clear_request_errors(RDKafkaApiKey::OffsetCommit);
    until("the last event, at the new owner", || recorder.count() == 10).await;
    let begun = recorder.all_begun();
    let (first, second) = (begun.first().unwrap(), begun.last().unwrap());
    assert_eq!(begun.len(), 2);
    assert_ne!(first.token, second.token);
    assert_eq!(second.restored.base, 9, "from what the group has");
    assert!(intake.stop(LIMIT).await.committed);
    assert_eq!(recorder.offsets(0), (0..10).collect::<Vec<_>>());
}

support::on_the_dev_broker!(leases:
    an_idle_host_keeps_its_partitions,
    a_long_drain_keeps_the_proof_of_life
);
