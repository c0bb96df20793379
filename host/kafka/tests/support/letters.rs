//! Letters for tests: buried as a handler's are, and read back as any client would.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use keylane_engine::{
    DeadLetter, DeadLetters, Event, FailureClass, Header, Timestamp, TimestampKind, TopicPartition,
};
use keylane_kafka::{DeadLetterOptions, Dlq, KafkaDeadLetters, KafkaPublisher};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError as ClientError;
use rdkafka::message::{Headers, OwnedMessage};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

use super::{Cluster, PATIENCE};

/// The handler whose letters these are.
pub const HANDLER: &str = "accounting";

/// Bytes that no compression makes fewer: the broker's limit is on what arrives.
pub fn noise(bytes: usize) -> Bytes {
    let mut state = 1_u64;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_be_bytes().first().copied().unwrap_or_default()
    };
    std::iter::repeat_with(next).take(bytes).collect::<Vec<_>>().into()
}

/// A header as it is compared.
pub fn header(name: &str, value: Option<&[u8]>) -> Header {
    Header { name: name.to_owned(), value: value.map(Bytes::copy_from_slice) }
}

/// An event of a topic that was rejected: partition 2, this offset.
pub fn letter(topic: &str, offset: i64, key: Option<&[u8]>, value: Option<&[u8]>) -> DeadLetter {
    let event = Event {
        source: TopicPartition { topic: topic.into(), partition: 2 },
        offset,
        timestamp: Some(Timestamp { at_ms: 1_700_000_000_000, kind: TimestampKind::CreateTime }),
        key: key.map(Bytes::copy_from_slice),
        value: value.map(Bytes::copy_from_slice),
        headers: vec![header("ce_type", Some(b"\xfe"))],
    };
    DeadLetter {
        event: Arc::new(event),
        attempts: 3,
        class: FailureClass::Reject,
        reason: "broken JSON".to_owned(),
        first_failure_ms: 7,
    }
}

/// A topic with dead letters beside it.
pub struct Graveyard {
    pub topic: String,
    pub options: DeadLetterOptions,
    pub dead_letters: KafkaDeadLetters,
}

impl Graveyard {
    /// A new topic of three partitions, and what a handler's start makes beside it.
    pub async fn new(cluster: &Cluster) -> Self {
        let topic = cluster.topic(3).await;
        let options = DeadLetterOptions::new(HANDLER, format!("shop.{HANDLER}"), "r1");
        let sources = std::slice::from_ref(&topic);
        cluster.admin().ensure_dead_letter_topics(sources, &options).await.unwrap();
        cluster.admin().ensure_retry_topics(sources, HANDLER).await.unwrap();
        let publisher = KafkaPublisher::new(&cluster.config()).unwrap();
        Self { topic, dead_letters: KafkaDeadLetters::new(publisher, options.clone()), options }
    }

    /// What `keylane dlq` works with.
    pub fn dlq(&self, cluster: &Cluster) -> Dlq {
        Dlq::new(cluster.config(), "shop", &self.options, std::slice::from_ref(&self.topic))
    }

    /// Buries so many letters, each with its number as key and value.
    pub async fn bury(&self, numbers: std::ops::Range<u32>) {
        let bury = |number: u32| {
            let text = number.to_string();
            self.dead_letters.bury(letter(
                &self.topic,
                i64::from(number),
                Some(text.as_bytes()),
                Some(text.as_bytes()),
            ))
        };
        for buried in futures::future::join_all(numbers.map(bury)).await {
            buried.unwrap();
        }
    }

    pub fn dlq_topic(&self) -> String {
        format!("{}.{HANDLER}.dlq", self.topic)
    }

    pub fn retry_topic(&self) -> String {
        format!("{}.{HANDLER}.retry", self.topic)
    }
}

/// All committed records of a topic, partition by partition.
pub fn everything(cluster: &Cluster, topic: &str, partitions: i32) -> Vec<OwnedMessage> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &cluster.bootstrap)
        .set("group.id", "everything")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true")
        .set("fetch.wait.max.ms", "10")
        .create()
        .unwrap();
    let mut found = Vec::new();
    for partition in 0..partitions {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
        consumer.assign(&list).unwrap();
        let until = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < until, "{topic}[{partition}] has no end");
            match consumer.poll(Duration::from_millis(100)) {
                Some(Err(ClientError::PartitionEOF(ended))) if ended == partition => break,
                Some(message) => found.push(message.unwrap().detach()),
                None => {}
            }
        }
    }
    found
}

/// The headers of a record, in order.
pub fn headers_of(message: &OwnedMessage) -> Vec<Header> {
    let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
    headers.map(|one| header(one.key, one.value)).collect()
}

/// The values of records as numbers, sorted.
pub fn numbers(messages: &[OwnedMessage]) -> Vec<u32> {
    let number = |message: &OwnedMessage| {
        String::from_utf8(message.payload().unwrap_or_default().to_vec()).unwrap().parse().unwrap()
    };
    let mut numbers: Vec<u32> = messages.iter().map(number).collect();
    numbers.sort_unstable();
    numbers
}
