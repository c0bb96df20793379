//! What is done to topics under a running fleet: partitions added, records deleted, topics deleted and made
//! again. All by a plain client.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use keylane_test_support::waiting;
use rdkafka::admin::{
    AdminClient, AdminOptions, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};

use crate::offsets::Onlooker;

/// How long the broker may take for anything.
const LIMIT: Duration = Duration::from_secs(60);
/// How long one answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Changes the topics of this broker.
pub struct Topics {
    bootstrap: String,
    admin: AdminClient<DefaultClientContext>,
    runtime: tokio::runtime::Runtime,
}

impl Topics {
    /// For this broker, `host:port`.
    ///
    /// # Errors
    /// When the client cannot be made.
    pub fn new(bootstrap: &str) -> Result<Self> {
        let admin = ClientConfig::new().set("bootstrap.servers", bootstrap).create()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { bootstrap: bootstrap.to_owned(), admin, runtime })
    }

    fn options() -> AdminOptions {
        AdminOptions::new().operation_timeout(Some(LIMIT)).request_timeout(Some(LIMIT))
    }

    /// Makes a topic and waits until all its partitions answer. One that was just deleted may be in the way
    /// for a moment.
    ///
    /// # Errors
    /// When the broker does not make it.
    pub fn create(&self, topic: &str, partitions: i32) -> Result<()> {
        self.create_with(topic, partitions, &[])
    }

    /// The same with settings.
    ///
    /// # Errors
    /// As [`Self::create`].
    pub fn create_with(&self, topic: &str, partitions: i32, settings: &[(&str, &str)]) -> Result<()> {
        let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        let new = [settings.iter().fold(new, |new, (name, value)| new.set(name, value))];
        let mut refused = String::new();
        let made = waiting::until(&format!("the topic {topic} is made"), LIMIT, || {
            let made = self.runtime.block_on(self.admin.create_topics(&new, &Self::options()))?;
            let Some(Err((_, code))) = made.into_iter().next() else { return Ok(Some(())) };
            refused = code.to_string();
            Ok(None)
        });
        made.map_err(|error| error.context(refused))?;
        self.until_there(topic, partitions)
    }

    fn until_there(&self, topic: &str, partitions: i32) -> Result<()> {
        let client: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.bootstrap)
            .set("allow.auto.create.topics", "false")
            .create()?;
        waiting::until(&format!("{partitions} partitions of {topic}"), LIMIT, || {
            let metadata = client.fetch_metadata(Some(topic), ANSWER_LIMIT)?;
            let known = metadata.topics().first().map_or(0, |topic| topic.partitions().len());
            let answers = |partition| client.fetch_watermarks(topic, partition, ANSWER_LIMIT).is_ok();
            Ok((known == usize::try_from(partitions)? && (0..partitions).all(answers)).then_some(()))
        })
    }

    /// A setting of a topic.
    ///
    /// # Errors
    /// When the broker does not say.
    pub fn setting(&self, topic: &str, name: &str) -> Result<String> {
        let wanted = ResourceSpecifier::Topic(topic);
        let told = self.runtime.block_on(self.admin.describe_configs([&wanted], &Self::options()))?;
        let told = told.into_iter().next().with_context(|| format!("{topic} is not described"))?;
        let told = told.map_err(|code| anyhow::anyhow!("{topic} is not described: {code}"))?;
        let value = told.get(name).and_then(|entry| entry.value.clone());
        value.with_context(|| format!("{topic} has no {name}"))
    }

    /// Adds partitions up to a total.
    ///
    /// # Errors
    /// When the broker refuses.
    pub fn grow(&self, topic: &str, total: usize) -> Result<()> {
        let grown = [NewPartitions::new(topic, total)];
        for grown in self.runtime.block_on(self.admin.create_partitions(&grown, &Self::options()))? {
            grown.map_err(|(topic, code)| anyhow::anyhow!("{topic} did not grow: {code}"))?;
        }
        self.until_there(topic, i32::try_from(total)?)
    }

    /// Deletes a topic.
    ///
    /// # Errors
    /// When the broker refuses.
    pub fn delete(&self, topic: &str) -> Result<()> {
        for deleted in self.runtime.block_on(self.admin.delete_topics(&[topic], &Self::options()))? {
            deleted.map_err(|(topic, code)| anyhow::anyhow!("{topic} was not deleted: {code}"))?;
        }
        Ok(())
    }

    /// Deletes a partition's records below an offset.
    ///
    /// # Errors
    /// When the broker refuses.
    pub fn delete_records(&self, topic: &str, partition: i32, before: i64) -> Result<()> {
        let mut wanted = TopicPartitionList::new();
        wanted.add_partition_offset(topic, partition, Offset::Offset(before))?;
        let deleted = self.runtime.block_on(self.admin.delete_records(&wanted, &Self::options()))?;
        for element in deleted.elements() {
            element.error()?;
        }
        Ok(())
    }

    /// Writes values with keys to one partition, and waits until all are acknowledged.
    ///
    /// # Errors
    /// When one is not.
    pub fn write(&self, topic: &str, partition: i32, records: &[(String, String)]) -> Result<()> {
        let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
            .set("bootstrap.servers", &self.bootstrap)
            .set("enable.idempotence", "true")
            .set("linger.ms", "1")
            .create()?;
        for (key, value) in records {
            let record: BaseRecord<'_, str, str> =
                BaseRecord::to(topic).partition(partition).key(key.as_str()).payload(value.as_str());
            producer.send(record).map_err(|(error, _)| error)?;
        }
        producer.flush(LIMIT)?;
        ensure!(producer.in_flight_count() == 0, "{topic}: not everything was written");
        Ok(())
    }

    /// The end of each partition, in order.
    ///
    /// # Errors
    /// When the broker does not say.
    pub fn ends(&self, topic: &str) -> Result<Vec<i64>> {
        Ok(Onlooker::new(&self.bootstrap).ends(topic)?.into_values().collect())
    }
}

/// Numbered events of several keys: `(key, value)`, round the keys.
#[must_use]
pub fn numbered(prefix: &str, numbers: std::ops::Range<usize>, keys: usize) -> Vec<(String, String)> {
    let one =
        |number: usize| (format!("{prefix}-key-{}", number % keys.max(1)), format!("{prefix}-{number}"));
    numbers.map(one).collect()
}

/// The values of each key, in order.
#[must_use]
pub fn by_key(records: &[(String, String)]) -> Vec<(String, Vec<String>)> {
    let mut keys: Vec<(String, Vec<String>)> = Vec::new();
    for (key, value) in records {
        match keys.iter_mut().find(|(known, _)| known == key) {
            Some((_, values)) => values.push(value.clone()),
            None => keys.push((key.clone(), vec![value.clone()])),
        }
    }
    keys
}
