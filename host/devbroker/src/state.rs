//! What the broker knows, behind one lock.
//!
//! Ownership: every connection task holds an [`Shared`] in an `Arc`. All state lies in one mutex
//! that is held for the time of a look-up or an append, **never across an await**. One lock is
//! enough for a development broker and leaves no order of locks to get wrong.
//!
//! Who waits: a fetch without enough data waits on `data_arrived`; every append, and every removal
//! of a topic, wakes all of them. JoinGroup and SyncGroup wait on channels of their own (`group`).

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use kafka_protocol::ResponseError;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::config::TopicConfig;
use crate::error::BrokerError;
use crate::group::Groups;
use crate::options::{BrokerOptions, Limits};
use crate::partition::Partition;
use crate::store::{Described, Entry, Folder, Journal};
use crate::topic::{Topic, is_valid_name, random_id};

/// Producer ids are reserved in the journal this many at a time.
const PRODUCER_ID_BLOCK: i64 = 1_000;

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: BrokerOptions,
    pub(crate) port: u16,
    pub(crate) data_arrived: Notify,
    state: Mutex<State>,
}

/// Topics, groups and files.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) topics: BTreeMap<String, Topic>,
    pub(crate) groups: Groups,
    /// Bytes of all batches.
    pub(crate) bytes: u64,
    limits: Limits,
    folder: Option<Folder>,
    journal: Option<Journal>,
    next_producer_id: i64,
    reserved_producer_ids: i64,
    /// When a refusal for want of room was last logged: a producer that retries must not flood the log.
    pub(crate) refusal_logged: Option<Instant>,
}

/// An error for one topic or group, with a sentence for the client.
pub(crate) type Refused = (ResponseError, String);

impl Shared {
    pub(crate) fn new(options: BrokerOptions, port: u16, state: State) -> Self {
        Self { options, port, data_arrived: Notify::new(), state: Mutex::new(state) }
    }

    /// The state. A panic elsewhere ends its own connection only: each change is small and leaves
    /// the state whole, so a poisoned lock is taken all the same.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The state of a new broker, with what an earlier one left in the data folder.
    pub(crate) fn open(options: &BrokerOptions) -> Result<Self, BrokerError> {
        let mut state = Self {
            topics: BTreeMap::new(),
            groups: Groups::new(options),
            bytes: 0,
            limits: options.limits,
            folder: None,
            journal: None,
            next_producer_id: 0,
            reserved_producer_ids: 0,
            refusal_logged: None,
        };
        if let Some(path) = &options.data {
            state.restore(Folder::open(path)?)?;
        }
        Ok(state)
    }

    fn restore(&mut self, folder: Folder) -> Result<(), BrokerError> {
        for described in folder.topics()? {
            let load = |n| Partition::load(folder.log(described.id, n), self.limits.partition_producers);
            let partitions = (0..described.partitions).map(load).collect::<Result<Vec<_>, _>>()?;
            let config = TopicConfig::restored(described.config);
            let topic = Topic { id: described.id, partitions, config };
            self.bytes += topic.bytes();
            self.topics.insert(described.name, topic);
        }
        let path = folder.journal();
        let mut reserved = 0;
        Journal::read(&path, |entry| match entry {
            Entry::ProducerIds { below } => reserved = below,
            other => self.groups.restore(other),
        })?;
        self.next_producer_id = reserved;
        self.reserved_producer_ids = reserved;
        self.groups.retain_topics(|topic| self.topics.contains_key(topic));
        self.folder = Some(folder);
        let entries = self.journal_entries();
        self.journal = Some(Journal::write(&path, &entries).map_err(|e| BrokerError::data(&path, e))?);
        Ok(())
    }

    fn journal_entries(&self) -> Vec<Entry> {
        let mut entries = self.groups.entries();
        entries.push(Entry::ProducerIds { below: self.reserved_producer_ids });
        entries
    }

    /// Writes an entry to the journal, if there is one, and rewrites a journal that has grown.
    pub(crate) fn record(&mut self, entry: &Entry) -> Result<(), ResponseError> {
        let failed = |error: std::io::Error| {
            tracing::error!(%error, "the offsets journal cannot be written");
            ResponseError::KafkaStorageError
        };
        let Some(journal) = &mut self.journal else { return Ok(()) };
        journal.append(entry).map_err(failed)?;
        if let Some(path) = journal.rewrite_due().map(ToOwned::to_owned) {
            let entries = self.journal_entries();
            self.journal = Some(Journal::write(&path, &entries).map_err(failed)?);
        }
        Ok(())
    }

    /// A producer id that was never given out before, by an earlier run neither.
    pub(crate) fn new_producer_id(&mut self) -> Result<i64, ResponseError> {
        if self.next_producer_id >= self.reserved_producer_ids {
            let below = self.next_producer_id + PRODUCER_ID_BLOCK;
            self.record(&Entry::ProducerIds { below })?;
            self.reserved_producer_ids = below;
        }
        let id = self.next_producer_id;
        self.next_producer_id += 1;
        Ok(id)
    }

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
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
