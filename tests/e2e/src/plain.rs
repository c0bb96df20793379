//! A plain Rust client in the place of Apache Kafka's tools, for machines without a JDK.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Header, Headers, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::{Message, Offset, TopicPartitionList};

use crate::broker::{Broker, Position, Record, Stored, Subscription, Writer};
use crate::offsets::Onlooker;

/// How long the broker may take for anything.
const LIMIT: Duration = Duration::from_secs(30);

/// How long one poll waits.
const POLL: Duration = Duration::from_millis(100);

/// A plain client of this broker.
pub struct PlainClient {
    bootstrap: String,
}

impl PlainClient {
    /// For this broker, `host:port`.
    #[must_use]
    pub fn new(bootstrap: &str) -> Self {
        Self { bootstrap: bootstrap.to_owned() }
    }

    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap);
        config
    }
}

impl Broker for PlainClient {
    fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    fn create_topics(&self, topics: &[&str], partitions: i32) -> Result<()> {
        let admin: AdminClient<DefaultClientContext> = self.config().create()?;
        let new = |topic| NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        let topics: Vec<_> = topics.iter().copied().map(new).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let options = AdminOptions::new().operation_timeout(Some(LIMIT)).request_timeout(Some(LIMIT));
        for made in runtime.block_on(admin.create_topics(&topics, &options))? {
            made.map_err(|(topic, code)| anyhow::anyhow!("the topic {topic} was not made: {code}"))?;
        }
        Ok(())
    }

    fn writer(&self, topic: &str) -> Result<Box<dyn Writer>> {
        let mut config = self.config();
        config.set("partitioner", "murmur2_random").set("enable.idempotence", "true").set("linger.ms", "1");
        let producer: ThreadedProducer<DefaultProducerContext> = config.create()?;
        Ok(Box::new(PlainWriter { producer, topic: topic.to_owned() }))
    }

    fn read(&self, topic: &str) -> Result<Vec<Stored>> {
        let ends = Onlooker::new(&self.bootstrap).ends(topic)?;
        let mut everything = TopicPartitionList::new();
        for partition in ends.keys() {
            everything.add_partition_offset(topic, *partition, Offset::Beginning)?;
        }
        let mut config = self.config();
        config.set("group.id", "plain-reader").set("enable.partition.eof", "true");
        let consumer: BaseConsumer = config.set("isolation.level", "read_committed").create()?;
        consumer.assign(&everything)?;
        let (mut read, mut at_their_end) = (Vec::new(), BTreeSet::new());
        let end = Instant::now() + LIMIT;
        while at_their_end.len() < ends.len() {
            ensure!(
                Instant::now() < end,
                "{topic}: {} records came, the end of {at_their_end:?}",
                read.len()
            );
            match consumer.poll(POLL) {
                Some(Ok(message)) => read.push(stored(&message)?),
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    at_their_end.insert(partition);
                }
                Some(Err(error)) => return Err(error.into()),
                // A poll may end without anything when the client has something else to do.
                None => {}
            }
        }
        Ok(read)
    }

    fn positions(&self, subscriptions: &[Subscription]) -> Result<Vec<Position>> {
        Onlooker::new(&self.bootstrap).positions(subscriptions)
    }
}

fn stored(message: &BorrowedMessage<'_>) -> Result<Stored> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec());
    let headers = match message.headers() {
        Some(headers) => headers
            .iter()
            .map(|header| Ok((header.key.to_owned(), text(header.value.unwrap_or_default())?)))
            .collect::<Result<_>>()?,
        None => Vec::new(),
    };
    let record = Record {
        key: message.key().map(text).transpose()?,
        value: message.payload().map(text).transpose()?,
        headers,
    };
    Ok(Stored { partition: message.partition(), offset: message.offset(), record })
}

struct PlainWriter {
    producer: ThreadedProducer<DefaultProducerContext>,
    topic: String,
}

impl Writer for PlainWriter {
    fn write(&mut self, records: &[Record]) -> Result<()> {
        for record in records {
            send(&self.producer, &self.topic, record)?;
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.producer.flush(LIMIT)?;
        ensure!(self.producer.in_flight_count() == 0, "{}: not everything was written", self.topic);
        Ok(())
    }
}

fn send(producer: &ThreadedProducer<DefaultProducerContext>, topic: &str, record: &Record) -> Result<()> {
    let mut out: BaseRecord<'_, str, str> = BaseRecord::to(topic);
    out.key = record.key.as_deref();
    out.payload = record.value.as_deref();
    if !record.headers.is_empty() {
        let headers = record.headers.iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
            headers.insert(Header { key, value: Some(value) })
        });
        out = out.headers(headers);
    }
    producer.send(out).map_err(|(error, _)| error)?;
    Ok(())
}
