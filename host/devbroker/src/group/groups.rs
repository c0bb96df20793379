//! All groups, and the offsets they have committed, in open transactions too.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kafka_protocol::ResponseError;

use super::{Group, Phase};
use crate::options::BrokerOptions;
use crate::store::Entry;

/// An offset as a group committed it, or as a transaction will.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Committed {
    pub(crate) offset: i64,
    pub(crate) metadata: String,
    /// Its place among all offsets that were given. Of two for one partition the later one holds, whichever
    /// of their transactions ends last.
    order: u64,
}

/// Whose offset it is: group, topic, partition.
pub(crate) type Place = (String, String, i32);

/// The groups by name, at most `limit` of them.
#[derive(Debug)]
pub(crate) struct Groups {
    groups: BTreeMap<String, Group>,
    /// Offsets given in transactions that are open, by the producer's number.
    pending: BTreeMap<i64, BTreeMap<Place, Committed>>,
    /// How many offsets were given.
    given: u64,
    limit: usize,
    member_limit: usize,
    first_delay: Duration,
}

impl Groups {
    pub(crate) fn new(options: &BrokerOptions) -> Self {
        Self {
            groups: BTreeMap::new(),
            pending: BTreeMap::new(),
            given: 0,
            limit: options.limits.groups,
            member_limit: options.limits.group_members,
            first_delay: Duration::from_millis(options.first_rebalance_delay_ms),
        }
    }

    pub(crate) fn get(&self, id: &str) -> Option<&Group> {
        self.groups.get(id)
    }

    pub(crate) fn get_mut(&mut self, id: &str) -> Option<&mut Group> {
        self.groups.get_mut(id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Group)> {
        self.groups.iter().map(|(id, group)| (id.as_str(), group))
    }

    pub(crate) fn len(&self) -> usize {
        self.groups.len()
    }

    /// The group with this name, made if need be. At the limit, groups that hold nothing give way.
    pub(crate) fn ensure(&mut self, id: &str, now: Instant) -> Result<&mut Group, ResponseError> {
        if !self.groups.contains_key(id) && self.groups.len() >= self.limit {
            self.groups.retain(|_, group| !group.is_bare());
            if self.groups.len() >= self.limit {
                tracing::error!(
                    limit = self.limit,
                    group = id,
                    "the development broker refuses one more consumer group"
                );
                return Err(ResponseError::GroupMaxSizeReached);
            }
        }
        let new = || Group::new(self.first_delay, self.member_limit, now);
        Ok(self.groups.entry(id.to_owned()).or_insert_with(new))
    }

    /// Removes a group that has no members.
    pub(crate) fn remove(&mut self, id: &str) {
        self.groups.remove(id);
    }

    /// What time alone brings about, in all groups. The broker's ticker calls it.
    pub(crate) fn expire(&mut self, now: Instant) {
        self.groups.values_mut().for_each(|group| group.expire(now));
    }

    /// Commits an offset.
    pub(crate) fn commit(&mut self, place: Place, offset: i64, metadata: String) {
        let committed = self.give(offset, metadata);
        self.set(place, committed);
    }

    /// Keeps an offset until the producer's transaction ends.
    pub(crate) fn pend(&mut self, producer_id: i64, place: Place, offset: i64, metadata: String) {
        let committed = self.give(offset, metadata);
        self.pending.entry(producer_id).or_default().insert(place, committed);
    }

    fn give(&mut self, offset: i64, metadata: String) -> Committed {
        self.given += 1;
        Committed { offset, metadata, order: self.given }
    }

    fn set(&mut self, (group, topic, partition): Place, committed: Committed) {
        let new = || Group::new(self.first_delay, self.member_limit, Instant::now());
        let group = self.groups.entry(group).or_insert_with(new);
        group.offsets.insert((topic, partition), committed);
    }

    /// A producer's transaction has ended: its offsets hold, or are forgotten.
    pub(crate) fn settle(&mut self, producer_id: i64, commit: bool) {
        let pending = self.pending.remove(&producer_id).filter(|_| commit).unwrap_or_default();
        for ((group, topic, partition), committed) in pending {
            let place = (topic, partition);
            let standing = self.groups.get(&group).and_then(|group| group.offsets.get(&place));
            if standing.is_none_or(|standing| standing.order < committed.order) {
                self.set((group, place.0, place.1), committed);
            }
        }
    }

    /// Whether an open transaction may still change this offset.
    pub(crate) fn is_unstable(&self, place: &Place) -> bool {
        self.pending.values().any(|pending| pending.contains_key(place))
    }

    /// Forgets offsets of topics that are gone.
    pub(crate) fn retain_topics(&mut self, keep: impl Fn(&str) -> bool) {
        for group in self.groups.values_mut() {
            group.offsets.retain(|(topic, _), _| keep(topic));
        }
        for pending in self.pending.values_mut() {
            pending.retain(|(_, topic, _), _| keep(topic));
        }
    }

    /// Applies an entry of the journal.
    pub(crate) fn restore(&mut self, entry: Entry) {
        match entry {
            Entry::Committed { group, topic, partition, offset, metadata } => {
                self.commit((group, topic, partition), offset, metadata);
            }
            Entry::Pending { producer_id, group, topic, partition, offset, metadata } => {
                self.pend(producer_id, (group, topic, partition), offset, metadata);
            }
            Entry::GroupDeleted { group } => {
                self.groups.remove(&group);
            }
            Entry::TopicDeleted { topic } => self.retain_topics(|name| name != topic),
            Entry::ProducerIds { .. } | Entry::RecordsDeleted { .. } | Entry::Transaction { .. } => {}
        }
    }

    /// All offsets, as a journal of their own, in the order in which they were given.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        let mut ordered = Vec::new();
        for (group, (topic, partition), committed) in
            self.groups.iter().flat_map(|(id, group)| group.offsets.iter().map(move |(at, c)| (id, at, c)))
        {
            let entry = Entry::Committed {
                group: group.clone(),
                topic: topic.clone(),
                partition: *partition,
                offset: committed.offset,
                metadata: committed.metadata.clone(),
            };
            ordered.push((committed.order, entry));
        }
        for (producer_id, (group, topic, partition), committed) in
            self.pending.iter().flat_map(|(id, pending)| pending.iter().map(move |(at, c)| (id, at, c)))
        {
            let entry = Entry::Pending {
                producer_id: *producer_id,
                group: group.clone(),
                topic: topic.clone(),
                partition: *partition,
                offset: committed.offset,
                metadata: committed.metadata.clone(),
            };
            ordered.push((committed.order, entry));
        }
        ordered.sort_by_key(|(order, _)| *order);
        ordered.into_iter().map(|(_, entry)| entry).collect()
    }
}

impl Group {
    /// Why it cannot be deleted, if it cannot.
    pub(crate) fn check_deletable(&self) -> Result<(), ResponseError> {
        if self.phase == Phase::Empty { Ok(()) } else { Err(ResponseError::NonEmptyGroup) }
    }
}
