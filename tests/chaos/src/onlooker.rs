//! Asks the brokers: who leads, what is in sync, where topics end, what the group has committed.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use keylane_test_support::waiting;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::{Metadata, MetadataPartition};
use rdkafka::{Offset, TopicPartitionList};
use tokio::runtime::Runtime;

use crate::fleet::GROUP;

/// How long one answer may take.
pub const ANSWER_LIMIT: Duration = Duration::from_secs(15);
/// Where groups keep their offsets.
const OFFSETS: &str = "__consumer_offsets";

/// A client that is no member of the group.
pub struct Onlooker {
    config: ClientConfig,
    client: BaseConsumer,
    admin: AdminClient<DefaultClientContext>,
    runtime: Runtime,
}

impl Onlooker {
    /// Of these brokers.
    ///
    /// # Errors
    /// When the client cannot be made.
    pub fn new(bootstrap: &str) -> Result<Self> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", bootstrap).set("group.id", GROUP);
        config.set("allow.auto.create.topics", "false").set("enable.auto.commit", "false");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { client: config.create()?, admin: config.create()?, config, runtime })
    }

    /// Makes a topic with these settings.
    ///
    /// # Errors
    /// When the brokers refuse it.
    pub fn make_topic(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) -> Result<()> {
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(3));
        let topic = settings.iter().fold(topic, |topic, (key, value)| topic.set(key, value));
        let made = self.runtime.block_on(self.admin.create_topics([&topic], &options()))?;
        made.into_iter().try_for_each(|made| {
            made.map(drop).map_err(|(topic, code)| anyhow::anyhow!("the topic {topic} was not made: {code}"))
        })
    }

    /// Answers whether a topic has so many partitions, and asks for them if it has not. A broker that dies
    /// meanwhile may add them without an answer, and one that is away may keep the others from adding any.
    ///
    /// # Errors
    /// When the number is none.
    pub fn has_or_gets_partitions(&self, topic: &str, partitions: i32) -> Result<bool> {
        let wanted = NewPartitions::new(topic, usize::try_from(partitions)?);
        if self.leaders(topic).is_ok_and(|leaders| leaders.len() >= wanted.new_partition_count) {
            return Ok(true);
        }
        // The next look tells whether it was done, whatever the answer is.
        let _answer = self.runtime.block_on(self.admin.create_partitions([&wanted], &options()));
        Ok(false)
    }

    /// Deletes the group with all that it has committed. It is gone when this succeeds.
    ///
    /// # Errors
    /// When it is not gone: the coordinator refuses it while a member is in it, and may be on its way.
    pub fn delete_group(&self) -> Result<()> {
        // A client goes on asking the coordinator that it met first, which may be another broker by now.
        let admin: AdminClient<DefaultClientContext> = self.config.create()?;
        let groups = self.runtime.block_on(admin.delete_groups(&[GROUP], &options()))?;
        groups.into_iter().try_for_each(|group| match group {
            Ok(_) | Err((_, RDKafkaErrorCode::GroupIdNotFound)) => Ok(()),
            Err((_, code)) => Err(code).context("the group is not deleted"),
        })
    }

    /// Waits until each broker knows these topics: what one broker has made, another may learn later.
    ///
    /// # Errors
    /// When one does not within the limit.
    pub fn until_known(bootstrap: &str, topics: &[&str], limit: Duration) -> Result<()> {
        for (id, address) in (1..).zip(bootstrap.split(',')) {
            waiting::until(&format!("{address} knows all topics"), limit, || {
                // A new client knows no other broker at first; the answer says whose it is.
                let Ok(metadata) = Self::new(address)?.metadata(None) else { return Ok(None) };
                let known = |name: &&str| {
                    let topic = metadata.topics().iter().find(|topic| topic.name() == *name);
                    topic.is_some_and(|topic| !topic.partitions().is_empty())
                };
                Ok((metadata.orig_broker_id() == id && topics.iter().all(known)).then_some(()))
            })?;
        }
        Ok(())
    }

    fn metadata(&self, topic: Option<&str>) -> Result<Metadata> {
        Ok(self.client.fetch_metadata(topic, ANSWER_LIMIT)?)
    }

    /// The leader of each partition of a topic.
    ///
    /// # Errors
    /// When no broker answers.
    pub fn leaders(&self, topic: &str) -> Result<BTreeMap<i32, i32>> {
        let metadata = self.metadata(Some(topic))?;
        let topic = metadata.topics().first().context("no such topic")?;
        Ok(topic.partitions().iter().map(|partition| (partition.id(), partition.leader())).collect())
    }

    /// The broker that leads most partitions of a topic.
    ///
    /// # Errors
    /// When no broker answers.
    pub fn leads_most(&self, topic: &str) -> Result<i32> {
        let mut counts = BTreeMap::new();
        self.leaders(topic)?.values().for_each(|leader| *counts.entry(*leader).or_insert(0) += 1);
        counts.into_iter().max_by_key(|(_, count)| *count).map(|(leader, _)| leader).context("no leader")
    }

    /// The broker that coordinates the group: the leader of the partition that holds its offsets.
    ///
    /// # Errors
    /// When no broker answers.
    pub fn coordinator(&self) -> Result<i32> {
        let leaders = self.leaders(OFFSETS)?;
        let partition = java_hash(GROUP).unsigned_abs() % u32::try_from(leaders.len())?.max(1);
        leaders.get(&i32::try_from(partition)?).copied().context("no coordinator")
    }

    /// Whether every replica of every partition is in sync.
    ///
    /// # Errors
    /// When no broker answers.
    pub fn is_in_sync(&self) -> Result<bool> {
        let metadata = self.metadata(None)?;
        let in_sync = |partition: &MetadataPartition| {
            partition.leader() >= 0 && partition.isr().len() == partition.replicas().len()
        };
        Ok(metadata.topics().iter().all(|topic| topic.partitions().iter().all(in_sync)))
    }

    /// Where each partition of a topic ends.
    ///
    /// # Errors
    /// When no broker answers.
    pub fn ends(&self, topic: &str) -> Result<BTreeMap<i32, i64>> {
        let end = |partition: i32| {
            let end = waiting::until(&format!("{topic}/{partition} has a leader"), ANSWER_LIMIT, || {
                Ok(end_of(&self.client, topic, partition)?)
            })?;
            Ok((partition, end))
        };
        self.leaders(topic)?.into_keys().map(end).collect()
    }

    /// What the group has committed for so many partitions of a topic; what it has not is left out.
    ///
    /// # Errors
    /// When the coordinator does not answer.
    pub fn committed(&self, topic: &str, partitions: i32) -> Result<BTreeMap<i32, i64>> {
        let mut wanted = TopicPartitionList::new();
        wanted.add_partition_range(topic, 0, partitions - 1);
        let answer = self.client.committed_offsets(wanted, ANSWER_LIMIT)?;
        let offset = |offset| if let Offset::Offset(offset) = offset { Some(offset) } else { None };
        Ok(answer
            .elements()
            .iter()
            .filter_map(|element| Some((element.partition(), offset(element.offset())?)))
            .collect())
    }
}

/// Where a partition ends, as far as this client reads; none while its leader has just changed.
///
/// # Errors
/// When no broker answers.
pub fn end_of(client: &BaseConsumer, topic: &str, partition: i32) -> Result<Option<i64>, KafkaError> {
    match client.fetch_watermarks(topic, partition, ANSWER_LIMIT) {
        Ok((_, end)) => Ok(Some(end)),
        Err(error) => match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::NotLeaderForPartition | RDKafkaErrorCode::LeaderNotAvailable) => Ok(None),
            _ => Err(error),
        },
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(ANSWER_LIMIT)).request_timeout(Some(ANSWER_LIMIT))
}

/// Java's `String.hashCode`, by which Kafka finds a group's partition of offsets.
fn java_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0, |hash: i32, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_text_hashes_as_in_java() {
        assert_eq!(super::java_hash("hello"), 99_162_322);
        assert_eq!(super::java_hash("polygenelubricants"), i32::MIN);
    }
}
