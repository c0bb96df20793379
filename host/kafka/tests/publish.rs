//! The publisher and the dead letters against a broker, read back by a foreign client.

#![allow(clippy::unwrap_used, reason = "a failed expectation is to end the test")]

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use keylane_devbroker::{Broker, BrokerOptions};
use keylane_engine::{OutgoingRecord, Publisher};
use keylane_kafka::{KafkaConfig, KafkaPublisher};
use rdkafka::Message;
use support::letters::noise;
use support::{Cluster, meters, unique};

fn record(topic: &str, key: &str, value: String) -> OutgoingRecord {
    OutgoingRecord {
        topic: topic.to_owned(),
        key: Some(Bytes::copy_from_slice(key.as_bytes())),
        value: Some(Bytes::from(value)),
        headers: Vec::new(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_of_a_key_arrive_in_the_order_they_were_handed_over() {
    let cluster = Cluster::start().await;
    let topic = cluster.topic(4).await;
    let publisher = KafkaPublisher::new(&cluster.config()).unwrap();
    let mut acknowledgements = Vec::new();
    for number in 0..5_000 {
        let next = record(&topic, &format!("key-{}", number % 37), number.to_string());
        acknowledgements.push(publisher.publish(next).await.unwrap());
    }
    for acknowledgement in acknowledgements {
        acknowledgement.await.unwrap();
    }
    let mut latest: BTreeMap<Vec<u8>, (i32, u32)> = BTreeMap::new();
    let mut total = 0;
    for partition in 0..4 {
        let count = cluster.end_of(&topic, partition);
        for message in cluster.read(&topic, partition, count) {
            total += 1;
            let number: u32 = std::str::from_utf8(message.payload().unwrap()).unwrap().parse().unwrap();
            let key = message.key().unwrap().to_vec();
            if let Some((home, before)) = latest.insert(key, (partition, number)) {
                assert_eq!(home, partition, "a key has one partition");
                assert!(number > before, "{number} came after {before}");
            }
        }
    }
    assert_eq!((total, latest.len()), (5_000, 37));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_goes_where_kafkas_own_partitioner_puts_it() {
    // Hashes from the tests of Kafka's own clients, made positive as they do.
    let known =
        [("21", -973_932_308_i32), ("foobar", -790_332_482), ("a-little-bit-long-string", -985_981_536)];
    let cluster = Cluster::start().await;
    let topic = cluster.topic(12).await;
    let publisher = KafkaPublisher::new(&cluster.config()).unwrap();
    for (key, hash) in known {
        publisher.publish(record(&topic, key, String::new())).await.unwrap().await.unwrap();
        let partition = (hash & i32::MAX) % 12;
        let keys: Vec<_> = cluster
            .read(&topic, partition, cluster.end_of(&topic, partition))
            .iter()
            .filter_map(|message| message.key().map(<[u8]>::to_vec))
            .collect();
        assert!(keys.contains(&key.as_bytes().to_vec()), "{key} is not in partition {partition}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oversize_record_is_refused_for_good_and_harms_no_other() {
    meters::install();
    let cluster = Cluster::start().await;
    let topic = cluster.topic(1).await;
    let publisher = KafkaPublisher::new(&cluster.config()).unwrap();
    let oversize =
        OutgoingRecord { value: Some(noise(3 * 1024 * 1024)), ..record(&topic, "k", String::new()) };
    let error = publisher.publish(oversize).await.unwrap().await.unwrap_err();
    assert!(!error.can_retry, "{error}");
    assert!(error.to_string().contains(&topic), "{error}");
    publisher.publish(record(&topic, "k", "small".to_owned())).await.unwrap().await.unwrap();
    let label = format!("topic={topic}");
    assert_eq!(meters::count("keylane_kafka_records_resent_total", &[&label]), 1, "it was asked about alone");
    assert_eq!(meters::count("keylane_kafka_records_refused_total", &[&label, "final=yes"]), 1);
    assert_eq!(meters::count("keylane_kafka_records_refused_total", &[&label]), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_topic_is_an_error_worth_another_try() {
    meters::install();
    let strict = BrokerOptions { auto_create_topics: false, ..BrokerOptions::default() };
    let broker = Broker::start(strict).await.unwrap();
    let mut config = KafkaConfig::new(broker.bootstrap());
    config.properties.insert("topic.metadata.propagation.max.ms".to_owned(), "200".to_owned());
    let publisher = KafkaPublisher::new(&config).unwrap();
    let topic = unique("topic");
    let answer = match publisher.publish(record(&topic, "k", String::new())).await {
        Ok(acknowledgement) => acknowledgement.await,
        Err(error) => Err(error),
    };
    let error = answer.unwrap_err();
    assert!(error.can_retry && error.topic == topic, "{error}");
    let labels = [format!("topic={topic}"), "final=no".to_owned()];
    let labels = labels.each_ref().map(String::as_str);
    assert_eq!(meters::count("keylane_kafka_records_refused_total", &labels), 1);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_can_be_dropped_inside_the_runtime() {
    let cluster = Cluster::start().await;
    let topic = cluster.topic(1).await;
    let publisher = KafkaPublisher::new(&cluster.config()).unwrap();
    let unheard = publisher.publish(record(&topic, "k", "v".to_owned())).await.unwrap();
    assert!(publisher.flush(Duration::from_secs(5)).await);
    let begun = std::time::Instant::now();
    drop((unheard, publisher));
    assert!(begun.elapsed() < Duration::from_millis(50));
    assert_eq!(cluster.end_of(&topic, 0), 1);
}
