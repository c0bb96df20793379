//! The coordinator of transactions, by Kafka's rules for producers that end them in EndTxn up to version 4.
//!
//! It only judges: each request is answered by an error, or by what the producer's entry becomes. The state
//! writes that to the journal first and keeps it then, so a killed broker knows all that it has answered.
//! An entry that was ended still names the partitions without their marker; whoever ends a transaction, the
//! broker's ticker and the next start all write what is missing.
//!
//! Who owns: the state, under its lock. Who waits: nobody; a producer that comes too early is told to come
//! again. What bounds: the entries of [`Limits`](crate::Limits), each with at most the broker's partitions and
//! groups, and each open transaction's own time-out.

mod entry;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use kafka_protocol::ResponseError;
use uuid::Uuid;

use entry::NONE;
pub(crate) use entry::{Entry, Phase};

/// The longest a transaction may take (Kafka's `transaction.max.timeout.ms`), in milliseconds.
const LONGEST_MS: i32 = 900_000;
/// From this epoch on a producer gets another number: the last one is kept for fencing it.
const LAST_EPOCH: i16 = i16::MAX - 1;

/// How a producer names itself in a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claimed<'a> {
    pub(crate) name: &'a str,
    pub(crate) producer_id: i64,
    pub(crate) epoch: i16,
}

/// What is to be done to let a producer in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Admitted {
    /// Keep a new entry with a number that nobody had before, and answer with it.
    Fresh,
    /// Keep this entry and answer with it.
    Keep(Entry),
    /// Answer with this one; it is kept already.
    Again(Entry),
    /// Keep this entry, in which the open transaction is aborted, and tell the producer to come again.
    AbortFirst(Entry),
}

/// All transactional producers by name.
#[derive(Debug)]
pub(crate) struct Transactions {
    entries: BTreeMap<String, Kept>,
    limit: usize,
    changes: u64,
}

#[derive(Debug)]
struct Kept {
    entry: Entry,
    /// Of all changes, the number of its last one.
    changed: u64,
}

impl Transactions {
    pub(crate) fn new(limit: usize) -> Self {
        Self { entries: BTreeMap::new(), limit, changes: 0 }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Entry> {
        self.entries.get(name).map(|kept| &kept.entry)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries.iter().map(|(name, kept)| (name.as_str(), &kept.entry))
    }

    /// Keeps an entry that the journal has.
    pub(crate) fn keep(&mut self, name: &str, entry: Entry) {
        self.changes += 1;
        self.entries.insert(name.to_owned(), Kept { entry, changed: self.changes });
    }

    /// A marker was written.
    pub(crate) fn marked(&mut self, name: &str, partition: (Uuid, i32)) {
        if let Some(kept) = self.entries.get_mut(name) {
            kept.entry.partitions.remove(&partition);
        }
    }

    /// InitProducerId. `known` is the number and epoch that the producer believes to have, if it says so
    /// (KIP-360).
    pub(crate) fn admit(
        &mut self,
        name: &str,
        timeout_ms: i32,
        known: Option<(i64, i16)>,
    ) -> Result<Admitted, ResponseError> {
        if name.is_empty() {
            return Err(ResponseError::InvalidRequest);
        }
        if !(1..=LONGEST_MS).contains(&timeout_ms) {
            return Err(ResponseError::InvalidTransactionTimeout);
        }
        let Some(entry) = self.get(name).cloned() else {
            self.make_room(name)?;
            return Ok(Admitted::Fresh);
        };
        if known.is_some_and(|(id, _)| id != entry.producer_id) {
            return Err(ResponseError::ProducerFenced);
        }
        if entry.is_ending() {
            return Err(ResponseError::ConcurrentTransactions);
        }
        if entry.phase == Phase::Open {
            return Ok(Admitted::AbortFirst(entry.fenced()));
        }
        let last_epoch = match known {
            None => NONE,
            Some((_, epoch)) if epoch == entry.epoch => epoch,
            Some((_, epoch)) if epoch == entry.last_epoch => return Ok(Admitted::Again(entry)),
            Some(_) => return Err(ResponseError::ProducerFenced),
        };
        if entry.epoch >= LAST_EPOCH {
            return Ok(Admitted::Fresh);
        }
        let epoch = entry.epoch + 1;
        let next = Entry { epoch, last_epoch, timeout_ms, phase: Phase::Empty, ..entry };
        Ok(Admitted::Keep(next))
    }

    /// At the limit, the producer that was idle for longest gives way. Should it come back, it is not known.
    fn make_room(&mut self, name: &str) -> Result<(), ResponseError> {
        while self.entries.len() >= self.limit {
            let is_idle = |entry: &Entry| entry.phase != Phase::Open && !entry.is_ending();
            let idle = self.entries.iter().filter(|(_, kept)| is_idle(&kept.entry));
            let oldest = idle.min_by_key(|(_, kept)| kept.changed).map(|(name, _)| name.clone());
            let Some(oldest) = oldest else {
                tracing::error!(
                    limit = self.limit,
                    transactional_id = name,
                    "the development broker refuses one more transactional producer"
                );
                return Err(ResponseError::PolicyViolation);
            };
            self.entries.remove(&oldest);
        }
        Ok(())
    }

    /// The entry of a producer that is who it says, with no markers missing.
    fn of(&self, claimed: Claimed<'_>) -> Result<&Entry, ResponseError> {
        let entry = self.owned(claimed)?;
        if entry.is_ending() { Err(ResponseError::ConcurrentTransactions) } else { Ok(entry) }
    }

    fn owned(&self, claimed: Claimed<'_>) -> Result<&Entry, ResponseError> {
        if claimed.name.is_empty() {
            return Err(ResponseError::InvalidRequest);
        }
        let entry = self.get(claimed.name).filter(|entry| entry.producer_id == claimed.producer_id);
        let entry = entry.ok_or(ResponseError::InvalidProducerIdMapping)?;
        if entry.epoch == claimed.epoch { Ok(entry) } else { Err(ResponseError::ProducerFenced) }
    }

    /// AddPartitionsToTxn: the entry with these partitions, or `None` if it has them.
    pub(crate) fn add_partitions(
        &self,
        claimed: Claimed<'_>,
        partitions: &[(Uuid, i32)],
        now_ms: i64,
    ) -> Result<Option<Entry>, ResponseError> {
        let entry = self.of(claimed)?;
        if entry.phase == Phase::Open && partitions.iter().all(|one| entry.partitions.contains(one)) {
            return Ok(None);
        }
        let mut next = entry.opened(now_ms);
        next.partitions.extend(partitions);
        Ok(Some(next))
    }

    /// AddOffsetsToTxn: the entry with this group, or `None` if it has it.
    pub(crate) fn add_group(
        &self,
        claimed: Claimed<'_>,
        group: &str,
        now_ms: i64,
    ) -> Result<Option<Entry>, ResponseError> {
        let entry = self.of(claimed)?;
        if entry.phase == Phase::Open && entry.groups.contains(group) {
            return Ok(None);
        }
        let mut next = entry.opened(now_ms);
        next.groups.insert(group.to_owned());
        Ok(Some(next))
    }

    /// Whether a transactional batch may begin to be written to a partition.
    pub(crate) fn may_write(
        &self,
        claimed: Claimed<'_>,
        partition: (Uuid, i32),
    ) -> Result<(), ResponseError> {
        self.takes_part(claimed, |entry| entry.partitions.contains(&partition))
    }

    /// Whether offsets of a group may be committed in the producer's transaction.
    pub(crate) fn may_commit(&self, claimed: Claimed<'_>, group: &str) -> Result<(), ResponseError> {
        self.takes_part(claimed, |entry| entry.groups.contains(group))
    }

    fn takes_part(&self, claimed: Claimed<'_>, has: impl Fn(&Entry) -> bool) -> Result<(), ResponseError> {
        let entry = self.owned(claimed).map_err(|error| match error {
            // What a log's leader, or a group's coordinator, says of an old epoch.
            ResponseError::ProducerFenced => ResponseError::InvalidProducerEpoch,
            other => other,
        })?;
        if entry.phase == Phase::Open && has(entry) { Ok(()) } else { Err(ResponseError::InvalidTxnState) }
    }

    /// EndTxn: the ended entry, or `None` if it has ended just so before.
    pub(crate) fn end(&self, claimed: Claimed<'_>, commit: bool) -> Result<Option<Entry>, ResponseError> {
        let entry = self.owned(claimed)?;
        match (entry.phase, commit) {
            (Phase::Open, _) => Ok(Some(entry.ended(commit))),
            (Phase::Committed, true) | (Phase::Aborted, false) if entry.is_ending() => {
                Err(ResponseError::ConcurrentTransactions)
            }
            (Phase::Committed, true) | (Phase::Aborted, false) => Ok(None),
            (Phase::Empty | Phase::Committed | Phase::Aborted, _) => Err(ResponseError::InvalidTxnState),
        }
    }

    /// The open transactions whose time is up, aborted.
    pub(crate) fn expired(&self, now_ms: i64) -> Vec<(String, Entry)> {
        let late = |entry: &Entry| {
            entry.phase == Phase::Open && now_ms >= entry.started_ms.saturating_add(entry.timeout_ms.into())
        };
        self.iter().filter(|(_, e)| late(e)).map(|(name, e)| (name.to_owned(), e.fenced())).collect()
    }

    /// The names of those with markers missing.
    pub(crate) fn ending(&self) -> Vec<String> {
        self.iter().filter(|(_, entry)| entry.is_ending()).map(|(name, _)| name.to_owned()).collect()
    }

    /// How many transactions are open.
    pub(crate) fn open(&self) -> usize {
        self.iter().filter(|(_, entry)| entry.phase == Phase::Open).count()
    }

    /// Whether this producer has an open transaction with this partition in it.
    pub(crate) fn is_open(&self, producer_id: i64, partition: (Uuid, i32)) -> bool {
        self.iter().any(|(_, entry)| {
            entry.phase == Phase::Open
                && entry.producer_id == producer_id
                && entry.partitions.contains(&partition)
        })
    }
}
