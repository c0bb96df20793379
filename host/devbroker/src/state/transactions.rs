//! What transactional producers do: let in, given partitions and groups, ended by themselves or by time.

use std::time::{Duration, Instant};

use kafka_protocol::ResponseError;
use uuid::Uuid;

use super::{State, now_ms};
use crate::group::Place;
use crate::store::Entry;
use crate::transaction::{self, Admitted, Claimed, Phase};

/// How often it is looked for transactions whose time is up and for markers that are missing: a full disk is
/// not to fill the log (Kafka looks every 10 s).
const LOOK_EVERY: Duration = Duration::from_millis(500);

impl State {
    /// Lets a transactional producer in: its number and epoch.
    pub(crate) fn admit_producer(
        &mut self,
        name: &str,
        timeout_ms: i32,
        known: Option<(i64, i16)>,
    ) -> Result<(i64, i16), ResponseError> {
        let entry = match self.transactions.admit(name, timeout_ms, known)? {
            Admitted::Again(entry) => return Ok((entry.producer_id, entry.epoch)),
            Admitted::Fresh => transaction::Entry::new(self.new_producer_id()?, timeout_ms),
            Admitted::Keep(entry) => entry,
            Admitted::AbortFirst(entry) => {
                tracing::info!(
                    transactional_id = name,
                    "aborted the transaction of a producer that was replaced"
                );
                self.keep(name, entry)?;
                return Err(ResponseError::ConcurrentTransactions);
            }
        };
        let given = (entry.producer_id, entry.epoch);
        self.keep(name, entry)?;
        Ok(given)
    }

    /// Adds partitions to a transaction; the first ones open it.
    pub(crate) fn add_to_transaction(
        &mut self,
        claimed: Claimed<'_>,
        partitions: &[(Uuid, i32)],
    ) -> Result<(), ResponseError> {
        match self.transactions.add_partitions(claimed, partitions, now_ms())? {
            Some(entry) => self.keep(claimed.name, entry),
            None => Ok(()),
        }
    }

    /// Adds a group whose offsets the transaction will commit.
    pub(crate) fn add_group_to_transaction(
        &mut self,
        claimed: Claimed<'_>,
        group: &str,
    ) -> Result<(), ResponseError> {
        match self.transactions.add_group(claimed, group, now_ms())? {
            Some(entry) => self.keep(claimed.name, entry),
            None => Ok(()),
        }
    }

    /// Keeps an offset until its transaction ends.
    pub(crate) fn commit_in_transaction(
        &mut self,
        producer_id: i64,
        (group, topic, partition): Place,
        offset: i64,
        metadata: String,
    ) -> Result<(), ResponseError> {
        let entry = Entry::Pending { producer_id, group, topic, partition, offset, metadata };
        self.record(&entry)?;
        self.groups.restore(entry);
        Ok(())
    }

    /// Ends a transaction.
    pub(crate) fn end_transaction(
        &mut self,
        claimed: Claimed<'_>,
        commit: bool,
    ) -> Result<(), ResponseError> {
        match self.transactions.end(claimed, commit)? {
            Some(entry) => self.keep(claimed.name, entry),
            None => Ok(()),
        }
    }

    /// Aborts what took too long and writes markers that are missing, every [`LOOK_EVERY`]. Answers whether
    /// readers may see more. The broker's ticker calls it.
    pub(crate) fn expire_transactions(&mut self) -> bool {
        if self.transactions_looked_at.elapsed() < LOOK_EVERY {
            return false;
        }
        self.transactions_looked_at = Instant::now();
        let expired = self.transactions.expired(now_ms());
        let ending = self.transactions.ending();
        for (name, entry) in &expired {
            // What the journal does not take now is tried again at the next look.
            if self.keep(name, entry.clone()).is_ok() {
                let timeout_ms = entry.timeout_ms;
                tracing::warn!(
                    transactional_id = name,
                    timeout_ms,
                    "aborted a transaction that took too long"
                );
                metrics::counter!("keylane_devbroker_transactions_timed_out").increment(1);
            }
        }
        ending.iter().for_each(|name| self.write_markers(name));
        !expired.is_empty() || !ending.is_empty()
    }

    /// Keeps what became of a producer. From the moment the journal has it, a transaction that has ended in
    /// it has ended: offsets and markers follow, at the next start if not now.
    fn keep(&mut self, name: &str, entry: transaction::Entry) -> Result<(), ResponseError> {
        self.record(&Entry::Transaction { name: name.to_owned(), entry: entry.clone() })?;
        self.restore_transaction(name, entry);
        self.write_markers(name);
        Ok(())
    }

    /// Takes an entry of the journal, a new one or one that is read at the start.
    pub(super) fn restore_transaction(&mut self, name: &str, entry: transaction::Entry) {
        match entry.phase {
            Phase::Committed => self.groups.settle(entry.producer_id, true),
            Phase::Aborted => self.groups.settle(entry.producer_id, false),
            Phase::Empty | Phase::Open => {}
        }
        self.transactions.keep(name, entry);
    }

    /// Writes the markers of an ended transaction to the partitions that have none. One that cannot be
    /// written, because a disk is full, stays among the missing ones.
    fn write_markers(&mut self, name: &str) {
        let Some(entry) = self.transactions.get(name).filter(|entry| entry.is_ending()).cloned() else {
            return;
        };
        for (topic, index) in entry.partitions {
            if self.mark((topic, index), (entry.producer_id, entry.epoch), entry.phase == Phase::Committed) {
                self.transactions.marked(name, (topic, index));
            }
        }
    }

    /// Writes one marker. A partition that is gone needs none.
    fn mark(&mut self, (topic, index): (Uuid, i32), (producer_id, epoch): (i64, i16), commit: bool) -> bool {
        let found = self.topics.values_mut().find(|found| found.id == topic);
        let Some(partition) = found.and_then(|topic| topic.partition_mut(index)) else { return true };
        match partition.end_transaction(producer_id, epoch, commit, now_ms()) {
            Ok(appended) => {
                self.bytes += appended.grown;
                true
            }
            Err(_logged) => false,
        }
    }

    /// At the start, when journal and logs are read: a transaction that was ended before the crash has no
    /// marker in the partitions where it is still open, and gets it; in the others the marker stands. What is
    /// open in a log without the journal knowing of it, as a loss of power may leave it, is aborted.
    pub(super) fn recover_transactions(&mut self) {
        let of = |id: Uuid, numbers: std::ops::Range<i32>| numbers.map(move |number| (id, number));
        let partitions: Vec<(Uuid, i32)> =
            self.topics.values().flat_map(|topic| of(topic.id, topic.indexes())).collect();
        let ended: Vec<(String, transaction::Entry)> = self
            .transactions
            .iter()
            .filter(|(_, entry)| entry.is_ending())
            .map(|(name, entry)| (name.to_owned(), entry.clone()))
            .collect();
        for (name, entry) in ended {
            for &(topic, index) in &entry.partitions {
                let found = self.topic_by_id(topic).and_then(|(_, topic)| topic.partition(index));
                if !found.is_some_and(|partition| partition.is_open(entry.producer_id)) {
                    self.transactions.marked(&name, (topic, index));
                }
            }
            self.write_markers(&name);
        }
        for (topic, index) in partitions {
            let found = self.topic_by_id(topic).and_then(|(_, topic)| topic.partition(index));
            for (producer_id, epoch) in
                found.map(crate::partition::Partition::open_producers).unwrap_or_default()
            {
                if !self.transactions.is_open(producer_id, (topic, index)) {
                    tracing::warn!(%topic, partition = index, producer_id, "aborted a transaction that nobody can end");
                    self.mark((topic, index), (producer_id, epoch), false);
                }
            }
        }
    }
}
