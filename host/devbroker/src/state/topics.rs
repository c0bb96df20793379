//! What is done to topics: created, grown, set, emptied from the front, deleted.

use kafka_protocol::ResponseError;
use uuid::Uuid;

use super::{Refused, State};
use crate::config::TopicConfig;
use crate::partition::Partition;
use crate::store::{Described, Entry};
use crate::topic::{Topic, is_valid_name, random_id};

/// In DeleteRecords: up to the end of the partition.
const UP_TO_THE_END: i64 = -1;

impl State {
    /// The topic with this id.
    pub(crate) fn topic_by_id(&self, id: Uuid) -> Option<(&str, &Topic)> {
        self.topics.iter().find(|(_, topic)| topic.id == id).map(|(name, topic)| (name.as_str(), topic))
    }

    /// Checks that a topic could be created, and creates it unless `only_check`.
    pub(crate) fn create_topic(
        &mut self,
        name: &str,
        partitions: i32,
        config: TopicConfig,
        only_check: bool,
    ) -> Result<Uuid, Refused> {
        let count = self.check_new_topic(name, partitions)?;
        if only_check {
            return Ok(Uuid::nil());
        }
        let id = random_id();
        self.describe(id, name, count, &config)?;
        let new = |n| self.new_partition(id, n);
        let topic = Topic { id, partitions: (0..count).map(new).collect(), config };
        self.topics.insert(name.to_owned(), topic);
        tracing::info!(topic = name, partitions = count, %id, "created a topic");
        Ok(id)
    }

    fn check_new_topic(&self, name: &str, partitions: i32) -> Result<usize, Refused> {
        if !is_valid_name(name) {
            let why = format!("Topic name is invalid: '{name}'");
            return Err((ResponseError::InvalidTopicException, why));
        }
        if self.topics.contains_key(name) {
            return Err((ResponseError::TopicAlreadyExists, format!("Topic '{name}' already exists.")));
        }
        let count = usize::try_from(partitions).ok().filter(|n| *n > 0).ok_or_else(|| {
            (ResponseError::InvalidPartitions, "Number of partitions must be larger than 0.".to_owned())
        })?;
        if self.topics.len() >= self.limits.topics {
            return Err(self.refused(format!("the limit of {} topics is reached", self.limits.topics)));
        }
        self.check_partitions(count)?;
        Ok(count)
    }

    fn check_partitions(&self, more: usize) -> Result<(), Refused> {
        let total: usize = self.topics.values().map(|t| t.partitions.len()).sum();
        if total.saturating_add(more) <= self.limits.partitions {
            return Ok(());
        }
        Err(self.refused(format!("the limit of {} partitions is reached", self.limits.partitions)))
    }

    fn refused(&self, limit: String) -> Refused {
        tracing::error!(%limit, "the development broker refuses a request");
        (ResponseError::PolicyViolation, format!("development broker: {limit}"))
    }

    fn new_partition(&self, id: Uuid, number: usize) -> Partition {
        let file = self.folder.as_ref().map(|folder| folder.log(id, number));
        Partition::new(file, self.limits.partition_producers)
    }

    fn describe(&self, id: Uuid, name: &str, partitions: usize, config: &TopicConfig) -> Result<(), Refused> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let config = config.given().clone();
        folder.describe(&Described { id, name: name.to_owned(), partitions, config }).map_err(|error| {
            tracing::error!(topic = name, %error, "cannot write a topic's description");
            (ResponseError::KafkaStorageError, error.to_string())
        })
    }

    /// Adds partitions up to `total`.
    pub(crate) fn grow_topic(&mut self, name: &str, total: i32, only_check: bool) -> Result<(), Refused> {
        let Some(topic) = self.topics.get(name) else {
            let why = "This server does not host this topic-partition.".to_owned();
            return Err((ResponseError::UnknownTopicOrPartition, why));
        };
        let (id, old, config) = (topic.id, topic.partitions.len(), topic.config.clone());
        let new = usize::try_from(total).unwrap_or(0);
        if new <= old {
            let why = format!(
                "The topic {name} currently has {old} partition(s); {total} would not be an increase."
            );
            return Err((ResponseError::InvalidPartitions, why));
        }
        self.check_partitions(new - old)?;
        if only_check {
            return Ok(());
        }
        self.describe(id, name, new, &config)?;
        let added: Vec<_> = (old..new).map(|n| self.new_partition(id, n)).collect();
        if let Some(topic) = self.topics.get_mut(name) {
            topic.partitions.extend(added);
        }
        Ok(())
    }

    /// Removes a topic with its records and with every group's offsets in it.
    pub(crate) fn delete_topic(&mut self, name: &str) -> Result<(), ResponseError> {
        let topic = self.topics.get(name).ok_or(ResponseError::UnknownTopicOrPartition)?;
        let (id, bytes) = (topic.id, topic.bytes());
        self.record(&Entry::TopicDeleted { topic: name.to_owned() })?;
        if let Some(folder) = &self.folder {
            folder.remove(id).map_err(|error| {
                tracing::error!(topic = name, %error, "cannot remove a topic's files");
                ResponseError::KafkaStorageError
            })?;
        }
        self.topics.remove(name);
        self.bytes = self.bytes.saturating_sub(bytes);
        self.groups.retain_topics(|topic| topic != name);
        tracing::info!(topic = name, %id, "deleted a topic");
        Ok(())
    }

    /// Gives a topic other settings.
    pub(crate) fn set_topic(
        &mut self,
        name: &str,
        config: TopicConfig,
        only_check: bool,
    ) -> Result<(), Refused> {
        let Some(topic) = self.topics.get(name) else {
            let why = "This server does not host this topic-partition.".to_owned();
            return Err((ResponseError::UnknownTopicOrPartition, why));
        };
        if only_check {
            return Ok(());
        }
        self.describe(topic.id, name, topic.partitions.len(), &config)?;
        if let Some(topic) = self.topics.get_mut(name) {
            topic.config = config;
        }
        Ok(())
    }

    /// Deletes a partition's records below an offset; -1 stands for its end. Answers the first offset that is
    /// left. The journal has it before the records go, so a crash in between deletes them at the next start.
    pub(crate) fn delete_records(
        &mut self,
        name: &str,
        index: i32,
        before: i64,
    ) -> Result<i64, ResponseError> {
        let unknown = ResponseError::UnknownTopicOrPartition;
        let topic = self.topics.get(name).ok_or(unknown)?;
        let partition = topic.partition(index).ok_or(unknown)?;
        if !topic.config.deletes() {
            return Err(ResponseError::PolicyViolation);
        }
        let (start, end) = (partition.start_offset(), partition.end_offset());
        let before = if before == UP_TO_THE_END { end } else { before };
        if !(0..=end).contains(&before) {
            return Err(ResponseError::OffsetOutOfRange);
        }
        if before <= start {
            return Ok(start);
        }
        self.record(&Entry::RecordsDeleted { topic: topic.id, partition: index, before })?;
        if let Some(partition) = self.topics.get_mut(name).and_then(|topic| topic.partition_mut(index)) {
            self.bytes = self.bytes.saturating_sub(partition.delete_before(before));
        }
        tracing::info!(topic = name, partition = index, from = start, before, "deleted records");
        Ok(before)
    }
}
