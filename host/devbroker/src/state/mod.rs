//! What the broker knows, behind one lock.
//!
//! Ownership: every connection task holds an [`Shared`] in an `Arc`. All state lies in one mutex
//! that is held for the time of a look-up or an append, **never across an await**. One lock is
//! enough for a development broker and leaves no order of locks to get wrong.
//!
//! Who waits: a fetch without enough data waits on `data_arrived`; every append, every end of a
//! transaction, and every removal of a topic, wakes all of them. JoinGroup and SyncGroup wait on channels of their own (`group`).

mod topics;
mod transactions;

use std::collections::{BTreeMap, HashMap};
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
use crate::store::{Entry, Folder, Journal};
use crate::topic::Topic;
use crate::transaction::{self, Transactions};

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
    pub(crate) transactions: Transactions,
    /// Bytes of all batches.
    pub(crate) bytes: u64,
    limits: Limits,
    folder: Option<Folder>,
    journal: Option<Journal>,
    next_producer_id: i64,
    reserved_producer_ids: i64,
    /// When a refusal for want of room was last logged: a producer that retries must not flood the log.
    pub(crate) refusal_logged: Option<Instant>,
    transactions_looked_at: Instant,
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
            transactions: Transactions::new(options.limits.transactional_producers),
            bytes: 0,
            limits: options.limits,
            folder: None,
            journal: None,
            next_producer_id: 0,
            reserved_producer_ids: 0,
            refusal_logged: None,
            transactions_looked_at: Instant::now(),
        };
        if let Some(path) = &options.data {
            state.restore(Folder::open(path)?)?;
        }
        Ok(state)
    }

    fn restore(&mut self, folder: Folder) -> Result<(), BrokerError> {
        let path = folder.journal();
        let mut reserved = 0_i64;
        let mut starts = HashMap::new();
        Journal::read(&path, |entry| match entry {
            Entry::ProducerIds { below } => reserved = reserved.max(below),
            Entry::RecordsDeleted { topic, partition, before } => {
                starts.insert((topic, partition), before);
            }
            Entry::Transaction { name, entry } => self.restore_transaction(&name, entry),
            other => self.groups.restore(other),
        })?;
        self.restore_topics(&folder, &starts)?;
        self.next_producer_id = reserved;
        self.reserved_producer_ids = reserved;
        self.groups.retain_topics(|topic| self.topics.contains_key(topic));
        self.folder = Some(folder);
        let entries = self.journal_entries();
        self.journal = Some(Journal::write(&path, &entries).map_err(|e| BrokerError::data(&path, e))?);
        self.recover_transactions();
        Ok(())
    }

    fn restore_topics(
        &mut self,
        folder: &Folder,
        starts: &HashMap<(Uuid, i32), i64>,
    ) -> Result<(), BrokerError> {
        for described in folder.topics()? {
            let id = described.id;
            let load = |number: usize| {
                let start = i32::try_from(number).ok().and_then(|n| starts.get(&(id, n))).copied();
                let producers = self.limits.partition_producers;
                Partition::load(folder.log(id, number), producers, start.unwrap_or(0))
            };
            let partitions = (0..described.partitions).map(load).collect::<Result<Vec<_>, _>>()?;
            let topic = Topic { id, partitions, config: TopicConfig::restored(described.config) };
            self.bytes += topic.bytes();
            self.topics.insert(described.name, topic);
        }
        Ok(())
    }

    fn journal_entries(&self) -> Vec<Entry> {
        let mut entries = self.groups.entries();
        entries.extend(self.topics.values().flat_map(Topic::deleted_records));
        let transaction = |(name, entry): (&str, &transaction::Entry)| Entry::Transaction {
            name: name.to_owned(),
            entry: entry.clone(),
        };
        entries.extend(self.transactions.iter().map(transaction));
        entries.push(Entry::ProducerIds { below: self.reserved_producer_ids });
        entries
    }

    /// Writes an entry to the journal, if there is one. A journal that has grown is first rewritten with what
    /// holds up to now: the entry is not yet part of that, so it has to come after it.
    pub(crate) fn record(&mut self, entry: &Entry) -> Result<(), ResponseError> {
        let failed = |error: std::io::Error| {
            tracing::error!(%error, "the offsets journal cannot be written");
            ResponseError::KafkaStorageError
        };
        let due = self.journal.as_ref().and_then(|journal| journal.rewrite_due().map(ToOwned::to_owned));
        if let Some(path) = due {
            let entries = self.journal_entries();
            self.journal = Some(Journal::write(&path, &entries).map_err(failed)?);
        }
        let Some(journal) = &mut self.journal else { return Ok(()) };
        journal.append(entry).map_err(failed)
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
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
