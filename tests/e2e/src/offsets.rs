//! When all work is done: seen by a plain client, because asking Kafka's tools again and again would
//! start a JVM for each look.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use keylane_test_support::waiting;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::{Offset, TopicPartitionList};

use crate::broker::{Position, Subscription};

/// How long one question to the broker may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// How long a coordinator may be on its way.
const COORDINATOR_LIMIT: Duration = Duration::from_secs(30);

/// Answers that mean: ask again.
fn is_passing(code: Option<Code>) -> bool {
    use Code::{CoordinatorLoadInProgress, CoordinatorNotAvailable, NotCoordinator};
    matches!(code, Some(CoordinatorLoadInProgress | CoordinatorNotAvailable | NotCoordinator))
}

/// Looks at groups without being a member of them.
pub struct Onlooker {
    bootstrap: String,
    groups: BTreeMap<String, BaseConsumer>,
}

impl Onlooker {
    /// For this broker, `host:port`.
    #[must_use]
    pub fn new(bootstrap: &str) -> Self {
        Self { bootstrap: bootstrap.to_owned(), groups: BTreeMap::new() }
    }

    fn client(&mut self, group: &str) -> Result<&BaseConsumer> {
        if !self.groups.contains_key(group) {
            let client = ClientConfig::new()
                .set("bootstrap.servers", &self.bootstrap)
                .set("group.id", group)
                .set("allow.auto.create.topics", "false")
                .create()?;
            self.groups.insert(group.to_owned(), client);
        }
        self.groups.get(group).context("no client")
    }

    /// The end of each partition of a topic. Markers of transactions count there as records do.
    ///
    /// # Errors
    /// When the broker does not say.
    pub fn ends(&mut self, topic: &str) -> Result<BTreeMap<i32, i64>> {
        let client = self.client("onlooker")?;
        let metadata = client.fetch_metadata(Some(topic), ANSWER_LIMIT)?;
        let topic_metadata = metadata.topics().first().context("no such topic")?;
        let partitions = topic_metadata.partitions().iter().map(|partition| partition.id());
        partitions
            .map(|partition| {
                let (_, end) = client.fetch_watermarks(topic, partition, ANSWER_LIMIT)?;
                Ok((partition, end))
            })
            .collect()
    }

    /// How far groups are: ends first, then what is committed.
    ///
    /// # Errors
    /// When the broker does not say.
    pub fn positions(&mut self, subscriptions: &[Subscription]) -> Result<Vec<Position>> {
        let mut positions = Vec::new();
        for Subscription { group, topics } in subscriptions {
            let mut wanted = TopicPartitionList::new();
            let mut ends = BTreeMap::new();
            for topic in topics {
                for (partition, end) in self.ends(topic)? {
                    wanted.add_partition(topic, partition);
                    ends.insert((topic.clone(), partition), end);
                }
            }
            let committed = self.committed(group, &wanted)?;
            for ((topic, partition), end) in ends {
                let found = committed.find_partition(&topic, partition).map(|element| element.offset());
                let committed = if let Some(Offset::Offset(offset)) = found { Some(offset) } else { None };
                positions.push(Position { group: group.clone(), topic, partition, committed, end });
            }
        }
        Ok(positions)
    }

    /// What a group has committed. A broker that just got its first group, or a new coordinator for it, asks
    /// to be asked again.
    fn committed(&mut self, group: &str, wanted: &TopicPartitionList) -> Result<TopicPartitionList> {
        let client = self.client(group)?;
        waiting::until("the group's coordinator answers", COORDINATOR_LIMIT, || {
            match client.committed_offsets(wanted.clone(), ANSWER_LIMIT) {
                Ok(committed) => Ok(Some(committed)),
                Err(error) if is_passing(error.rdkafka_error_code()) => Ok(None),
                Err(error) => Err(error.into()),
            }
        })
    }

    /// Waits until every group has committed up to every end, twice in a row with the same ends. What a
    /// handler without a database publishes is in its topic before the event is committed, so nothing is on
    /// its way then; of one with a database it may lie in the outbox still.
    ///
    /// # Errors
    /// When that does not come within the limit, with what was missing.
    pub fn until_all_is_done(&mut self, subscriptions: &[Subscription], limit: Duration) -> Result<()> {
        let mut before: Option<Vec<Position>> = None;
        let mut missing = String::new();
        let waited = waiting::until("all groups are done", limit, || {
            let now = self.positions(subscriptions)?;
            let behind: Vec<_> =
                now.iter().filter(|position| position.committed != Some(position.end)).collect();
            missing = format!("{behind:?}");
            let quiet = behind.is_empty() && before.as_ref() == Some(&now);
            before = behind.is_empty().then_some(now);
            Ok(quiet.then_some(()))
        });
        waited.with_context(|| format!("behind: {missing}"))
    }
}
