//! All groups, and the offsets they have committed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kafka_protocol::ResponseError;

use super::{Group, Phase};
use crate::options::BrokerOptions;
use crate::store::Entry;

/// An offset as a group committed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Committed {
    pub(crate) offset: i64,
    pub(crate) metadata: String,
}

/// The groups by name, at most `limit` of them.
#[derive(Debug)]
pub(crate) struct Groups {
    groups: BTreeMap<String, Group>,
    limit: usize,
    member_limit: usize,
    first_delay: Duration,
}

impl Groups {
    pub(crate) fn new(options: &BrokerOptions) -> Self {
        Self {
            groups: BTreeMap::new(),
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

    /// Forgets offsets of topics that are gone.
    pub(crate) fn retain_topics(&mut self, keep: impl Fn(&str) -> bool) {
        for group in self.groups.values_mut() {
            group.offsets.retain(|(topic, _), _| keep(topic));
        }
    }

    /// Applies an entry of the journal.
    pub(crate) fn restore(&mut self, entry: Entry) {
        match entry {
            Entry::Committed { group, topic, partition, offset, metadata } => {
                let new = || Group::new(self.first_delay, self.member_limit, Instant::now());
                let group = self.groups.entry(group).or_insert_with(new);
                group.offsets.insert((topic, partition), Committed { offset, metadata });
            }
            Entry::GroupDeleted { group } => {
                self.groups.remove(&group);
            }
            Entry::TopicDeleted { topic } => self.retain_topics(|name| name != topic),
            Entry::ProducerIds { .. } | Entry::RecordsDeleted { .. } => {}
        }
    }

    /// All offsets, as a journal of their own.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        let of_group = |(id, group): (&String, &Group)| {
            let entry = |((topic, partition), committed): (&(String, i32), &Committed)| Entry::Committed {
                group: id.clone(),
                topic: topic.clone(),
                partition: *partition,
                offset: committed.offset,
                metadata: committed.metadata.clone(),
            };
            group.offsets.iter().map(entry).collect::<Vec<_>>()
        };
        self.groups.iter().flat_map(of_group).collect()
    }
}

impl Group {
    /// Why it cannot be deleted, if it cannot.
    pub(crate) fn check_deletable(&self) -> Result<(), ResponseError> {
        if self.phase == Phase::Empty { Ok(()) } else { Err(ResponseError::NonEmptyGroup) }
    }
}
