//! Where a partition starts: at what the group has committed, and if it never did, at the handler's
//! `start`, settled once and stored before the first event is delivered.
//!
//! Kafka cannot store an offset only if there is none, so two members that settle the same partition at
//! once could overwrite each other: one would move the group past what the other is about to handle.
//! Therefore only one member may settle, by what the group itself makes exclusive:
//!
//! - A partition without a commit in a topic that has some was added later. It starts at its beginning,
//!   and its owner alone stores that.
//! - In a topic without any commit, the owner of its first partition settles all partitions and stores
//!   them in one commit, which becomes visible as a whole. The others wait for theirs to appear.
//! - `earliest` needs no agreement: both rules give the beginning, so each owner stores its own.
//!
//! What remains: ownership may move between reading and storing. The store then carries an old
//! generation and is refused. If the coordinator itself was away meanwhile, a late store can set a
//! partition back, which repeats events and loses none.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use keylane_engine::TopicPartition;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};

use super::commits::Committer;
use super::group::Group;
use crate::config::Start;

/// The longest one request may take. The thread waits for it, so it is short; it is tried again.
pub(super) const REQUEST_LIMIT: Duration = Duration::from_secs(2);

/// Partitions and the offset each is to be read from.
pub(super) type Settled = Vec<(TopicPartition, i64)>;

/// Where a partition's start comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// From the group's commit.
    Committed(i64),
    /// The beginning of the partition, to be stored by its owner.
    Beginning,
    /// The handler's `start`, to be stored for all partitions of the topic.
    Start,
    /// Another member will store it.
    Elsewhere,
}

/// What is known of a partition when its start is asked for.
#[derive(Debug, Clone, Copy)]
struct Known {
    committed: Option<i64>,
    topic_has_commits: bool,
    owns_first_partition: bool,
}

fn origin(start: Start, known: Known) -> Origin {
    match (known.committed, start) {
        (Some(offset), _) => Origin::Committed(offset),
        (None, Start::Earliest) => Origin::Beginning,
        (None, _) if known.topic_has_commits => Origin::Beginning,
        (None, _) if known.owns_first_partition => Origin::Start,
        (None, _) => Origin::Elsewhere,
    }
}

/// What to ask the broker for. It knows the beginning and the end as timestamps of their own.
fn asked(start: Start) -> Offset {
    match start {
        Start::Earliest => Offset::Beginning,
        Start::Latest => Offset::End,
        Start::TimestampMs(at_ms) => Offset::Offset(at_ms.max(0)),
    }
}

/// Settles the starts of one consumer's partitions. Each call is a few bounded requests.
pub(super) struct Starter<'a> {
    pub(super) consumer: &'a BaseConsumer<Group>,
    pub(super) start: Start,
    /// All partitions this member owns, settled or not.
    pub(super) owned: &'a BTreeSet<TopicPartition>,
}

impl Starter<'_> {
    /// Settles what can be settled of `waiting` now. The rest stays for a later call.
    pub(super) fn settle(
        &self,
        waiting: &BTreeSet<TopicPartition>,
        commits: &mut Committer,
    ) -> Result<Settled, String> {
        let scope = self.scope(waiting)?;
        let mut committed = self.committed(&scope)?;
        let asked = self.to_store(waiting, &scope, &committed);
        if !asked.is_empty() {
            match self.store(asked, commits) {
                Ok(starts) => committed.extend(starts),
                // Those that have a commit need not wait for one without a leader.
                Err(reason) if waiting.iter().any(|one| committed.contains_key(one)) => {
                    tracing::warn!(reason, "some starts are not settled; trying again");
                }
                Err(reason) => return Err(reason),
            }
        }
        Ok(waiting
            .iter()
            .filter_map(|partition| committed.get(partition).map(|offset| (partition.clone(), *offset)))
            .collect())
    }

    /// Looks up the starts asked for and stores them in the group.
    fn store(
        &self,
        asked: BTreeMap<TopicPartition, Offset>,
        commits: &mut Committer,
    ) -> Result<Settled, String> {
        let starts = self.offsets(asked)?;
        for (partition, offset) in &starts {
            tracing::info!(%partition, offset, start = ?self.start, "first start of the group here");
        }
        commits.store(&starts, REQUEST_LIMIT)?;
        Ok(starts)
    }

    /// What is to be looked at: with `earliest` the partitions themselves, else their whole topics.
    fn scope(&self, waiting: &BTreeSet<TopicPartition>) -> Result<BTreeSet<TopicPartition>, String> {
        let mut scope = waiting.clone();
        if self.start == Start::Earliest {
            return Ok(scope);
        }
        let topics: BTreeSet<_> = waiting.iter().map(|partition| partition.topic.clone()).collect();
        for topic in topics {
            let metadata = self
                .consumer
                .fetch_metadata(Some(&topic), REQUEST_LIMIT)
                .map_err(|error| format!("the partitions of {topic:?} are unknown: {error}"))?;
            for told in metadata.topics().iter().filter(|told| told.error().is_none()) {
                scope.extend(
                    told.partitions()
                        .iter()
                        .map(|one| TopicPartition { topic: topic.clone(), partition: one.id() }),
                );
            }
        }
        Ok(scope)
    }

    /// The group's commits. Whether a partition has none is only known when the coordinator says so:
    /// any error fails the whole call.
    fn committed(&self, scope: &BTreeSet<TopicPartition>) -> Result<BTreeMap<TopicPartition, i64>, String> {
        let mut list = TopicPartitionList::with_capacity(scope.len());
        for partition in scope {
            list.add_partition(&partition.topic, partition.partition);
        }
        let list = self
            .consumer
            .committed_offsets(list, REQUEST_LIMIT)
            .map_err(|error| format!("the group's commits could not be read: {error}"))?;
        let mut committed = BTreeMap::new();
        for element in list.elements() {
            let partition = TopicPartition { topic: element.topic().into(), partition: element.partition() };
            element
                .error()
                .map_err(|error| format!("the commit of {partition} could not be read: {error}"))?;
            match element.offset() {
                Offset::Offset(offset) => drop(committed.insert(partition, offset)),
                Offset::Invalid => {}
                other => return Err(format!("the commit of {partition} is no offset: {other:?}")),
            }
        }
        Ok(committed)
    }

    /// What this member has to store, with what to ask the broker for each.
    fn to_store(
        &self,
        waiting: &BTreeSet<TopicPartition>,
        scope: &BTreeSet<TopicPartition>,
        committed: &BTreeMap<TopicPartition, i64>,
    ) -> BTreeMap<TopicPartition, Offset> {
        let mut asks = BTreeMap::new();
        for partition in waiting {
            let topic = &partition.topic;
            let known = Known {
                committed: committed.get(partition).copied(),
                topic_has_commits: committed.keys().any(|other| other.topic == *topic),
                owns_first_partition: self
                    .owned
                    .contains(&TopicPartition { topic: topic.clone(), partition: 0 }),
            };
            match origin(self.start, known) {
                Origin::Committed(_) | Origin::Elsewhere => {}
                Origin::Beginning => drop(asks.insert(partition.clone(), Offset::Beginning)),
                Origin::Start => {
                    let whole_topic = scope.iter().filter(|other| other.topic == *topic);
                    asks.extend(whole_topic.map(|other| (other.clone(), asked(self.start))));
                }
            }
        }
        asks
    }

    /// Turns questions into offsets. No record at that time or later means the end.
    fn offsets(&self, asks: BTreeMap<TopicPartition, Offset>) -> Result<Settled, String> {
        let (found, at_end) = self.look_up(&asks)?;
        let asks_end: BTreeMap<_, _> = at_end.into_iter().map(|partition| (partition, Offset::End)).collect();
        let (ends, unknown) =
            if asks_end.is_empty() { (Vec::new(), Vec::new()) } else { self.look_up(&asks_end)? };
        match unknown.first() {
            Some(partition) => Err(format!("the broker does not know the end of {partition}")),
            None => Ok(found.into_iter().chain(ends).collect()),
        }
    }

    /// One question to the brokers: the offsets found, and the partitions where there is none.
    fn look_up(
        &self,
        asks: &BTreeMap<TopicPartition, Offset>,
    ) -> Result<(Settled, Vec<TopicPartition>), String> {
        let mut list = TopicPartitionList::with_capacity(asks.len());
        for (partition, ask) in asks {
            list.add_partition_offset(&partition.topic, partition.partition, *ask)
                .map_err(|error| format!("{partition}: {error}"))?;
        }
        let list = self
            .consumer
            .offsets_for_times(list, REQUEST_LIMIT)
            .map_err(|error| format!("the brokers' offsets could not be read: {error}"))?;
        let (mut found, mut none) = (Vec::new(), Vec::new());
        for element in list.elements() {
            let partition = TopicPartition { topic: element.topic().into(), partition: element.partition() };
            element
                .error()
                .map_err(|error| format!("the offsets of {partition} could not be read: {error}"))?;
            match element.offset() {
                Offset::Offset(offset) => found.push((partition, offset)),
                _ => none.push(partition),
            }
        }
        Ok((found, none))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRESH: Known = Known { committed: None, topic_has_commits: false, owns_first_partition: false };

    #[test]
    fn a_commit_is_never_overwritten() {
        for start in [Start::Earliest, Start::Latest, Start::TimestampMs(5)] {
            for owns_first_partition in [false, true] {
                let known = Known { committed: Some(7), topic_has_commits: true, owns_first_partition };
                assert_eq!(origin(start, known), Origin::Committed(7));
            }
        }
    }

    #[test]
    fn only_the_first_partitions_owner_settles_a_fresh_topic() {
        for start in [Start::Latest, Start::TimestampMs(5)] {
            assert_eq!(origin(start, FRESH), Origin::Elsewhere);
            assert_eq!(origin(start, Known { owns_first_partition: true, ..FRESH }), Origin::Start);
        }
    }

    #[test]
    fn a_partition_added_later_starts_at_its_beginning() {
        for owns_first_partition in [false, true] {
            let known = Known { topic_has_commits: true, owns_first_partition, ..FRESH };
            assert_eq!(origin(Start::Latest, known), Origin::Beginning);
        }
    }

    #[test]
    fn earliest_needs_nobody_else() {
        assert_eq!(origin(Start::Earliest, FRESH), Origin::Beginning);
    }

    #[test]
    fn a_time_before_the_epoch_is_the_epoch() {
        assert_eq!(asked(Start::TimestampMs(-1)), Offset::Offset(0));
        assert_eq!(asked(Start::Latest), Offset::End);
    }
}
