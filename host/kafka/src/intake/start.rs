//! Where a partition starts: at what the group has committed, and if it never did, at the handler's
//! `start`, settled once and stored before the first event is delivered. A retry topic always starts at
//! its beginning.
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
//! Nothing of a partition runs before this member has proven that it is in its group: what a partition
//! starts with is committed as it was found, and acknowledged. So a host that slept through its own
//! replacement learns of that here, and not from its first commit of new progress.
//!
//! All this is for handlers whose progress the group's commit is. Where a database has it, `beside` settles
//! the start.
//!
//! What remains: ownership may move between reading and storing. The store then carries an old
//! generation and is refused. If the coordinator itself was away meanwhile, a late store can set a
//! partition back, which repeats events and loses none.

mod beside;
mod lookup;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use keylane_engine::{
    Fence, GapSet, LogPosition, RestoredNote, Token, TopicId, TopicPartition, payload_of, restore,
};
use rdkafka::consumer::BaseConsumer;

pub(super) use self::beside::{Offer, Want};
use self::lookup::Asks;
use super::commits::{Committer, Item};
use super::group::Group;
use super::topics::TopicWatch;
use crate::config::{ConsumerConfig, Start};
use crate::native::{self, Committed, Handed};

/// The longest one request may take. The thread waits for it, so it is short; it is tried again.
pub(super) const REQUEST_LIMIT: Duration = Duration::from_secs(2);

/// A partition whose start is settled and proven.
#[derive(Debug, Clone)]
pub(super) struct Take {
    pub(super) partition: TopicPartition,
    pub(super) token: Token,
    pub(super) topic_id: TopicId,
    /// From the group's commit, or from the database that the fence is of.
    pub(super) restored: GapSet,
    /// The ownership in the handler's database, where it has one.
    pub(super) fence: Option<Fence>,
    /// Below it nothing is to come: the group's commit, or the floor.
    pub(super) floor: i64,
    /// A place by which it is seen whether the log was cut since.
    pub(super) position: Option<LogPosition>,
    /// Why it is not to be read although it is taken.
    pub(super) fault: Option<String>,
}

/// Where a partition's start comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// From the group's commit.
    Committed,
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
    committed: bool,
    topic_has_commits: bool,
    owns_first_partition: bool,
}

fn origin(start: Start, known: Known) -> Origin {
    match start {
        _ if known.committed => Origin::Committed,
        Start::Earliest => Origin::Beginning,
        _ if known.topic_has_commits => Origin::Beginning,
        _ if known.owns_first_partition => Origin::Start,
        _ => Origin::Elsewhere,
    }
}

/// Settles the starts of one consumer's partitions. Each call is a few bounded requests.
pub(super) struct Starter<'a> {
    pub(super) consumer: &'a BaseConsumer<Group>,
    pub(super) config: &'a ConsumerConfig,
    pub(super) topics: &'a TopicWatch,
    /// All partitions this member owns, settled or not.
    pub(super) owned: &'a BTreeSet<TopicPartition>,
    /// The database that has the handler's progress, where one has it.
    pub(super) database: Option<&'a str>,
}

/// What is to be committed for a partition, and what it starts with then.
struct Plan {
    item: Item,
    take: Take,
}

/// What came of settling: what may be taken, and why the rest waits.
pub(super) struct Settled {
    pub(super) takes: Vec<Take>,
    pub(super) waiting_for: Option<String>,
}

type Commits = BTreeMap<TopicPartition, Committed>;

impl Starter<'_> {
    /// Settles what can be settled of `waiting` now. The rest stays for a later call.
    pub(super) fn settle(
        &self,
        waiting: &BTreeSet<TopicPartition>,
        commits: &mut Committer,
    ) -> Result<Settled, String> {
        // Without its topic's id nothing can be said of a partition.
        let known: BTreeSet<_> =
            waiting.iter().filter(|one| self.topics.id_of(&one.topic).is_some()).cloned().collect();
        let mut waiting_for = self.topics.trouble().map(str::to_owned);
        if known.is_empty() {
            return Ok(Settled { takes: Vec::new(), waiting_for });
        }
        let scope = self.scope(&known)?;
        let committed = self.committed(&scope)?;
        let mut plans: Vec<Plan> =
            known.iter().filter_map(|one| self.plan_committed(one, committed.get(one)?)).collect();
        match self.plan_starts(&known, &scope, &committed) {
            Ok(starts) => plans.extend(starts),
            // Those that have a commit need not wait for one without a leader.
            Err(reason) if !plans.is_empty() => waiting_for = Some(reason),
            Err(reason) => return Err(reason),
        }
        if plans.is_empty() {
            return Ok(Settled { takes: Vec::new(), waiting_for });
        }
        let (takes, failed) = prove(plans, &known, commits);
        Ok(Settled { takes, waiting_for: failed.or(waiting_for) })
    }

    /// A partition goes on from the group's commit. What is committed to prove the membership means what
    /// was found, in our own words if they were not ours.
    fn plan_committed(&self, partition: &TopicPartition, committed: &Committed) -> Option<Plan> {
        let topic_id = self.topics.id_of(&partition.topic)?;
        let Committed { offset, metadata, leader_epoch } = committed;
        let restored = restore(*offset, metadata, topic_id);
        let payload: Arc<str> = match &restored.note {
            RestoredNote::Ours => String::from_utf8_lossy(metadata).into(),
            RestoredNote::OtherTopic(former) => {
                tracing::error!(
                    %partition, %former, now = %topic_id, committed = offset,
                    "the topic was deleted and made again: what was committed belongs to the former one; \
                     the new one is read from 0"
                );
                String::from_utf8_lossy(metadata).into()
            }
            RestoredNote::OfDatabase(_) if self.database.is_some() => {
                String::from_utf8_lossy(metadata).into()
            }
            RestoredNote::OfDatabase(database) => {
                tracing::warn!(
                    %partition, offset, %database,
                    "the group's commit was made beside a database, which this handler no longer has: it goes \
                     on from the offset, and what had ended above it is done again"
                );
                payload_of(&restored.gap, topic_id).0
            }
            RestoredNote::Empty => payload_of(&restored.gap, topic_id).0,
            RestoredNote::Unreadable => {
                tracing::warn!(
                    %partition, offset,
                    "the metadata beside the group's commit is not keylane's, or damaged: nothing above the \
                     offset counts as done"
                );
                payload_of(&restored.gap, topic_id).0
            }
        };
        let is_of_this_topic = !matches!(restored.note, RestoredNote::OtherTopic(_));
        let mut plan = plan(partition, *offset, payload, topic_id, restored.gap);
        if let Some(leader_epoch) = leader_epoch.filter(|_| is_of_this_topic) {
            plan.item.handed.leader_epoch = Some(leader_epoch);
            plan.take.position = Some(LogPosition { offset: *offset, leader_epoch });
        }
        Some(plan)
    }

    /// What this member has to store, looked up.
    fn plan_starts(
        &self,
        known: &BTreeSet<TopicPartition>,
        scope: &BTreeSet<TopicPartition>,
        committed: &Commits,
    ) -> Result<Vec<Plan>, String> {
        let asks = self.to_store(known, scope, committed);
        if asks.is_empty() {
            return Ok(Vec::new());
        }
        let starts = lookup::offsets(self.consumer, asks)?;
        let mut plans = Vec::with_capacity(starts.len());
        for (partition, offset) in starts {
            let start = self.start_of(&partition.topic);
            tracing::info!(%partition, offset, ?start, "first start of the group here");
            if let Some(topic_id) = self.topics.id_of(&partition.topic) {
                let gap = GapSet::at(offset);
                let (payload, _whole) = payload_of(&gap, topic_id);
                plans.push(plan(&partition, offset, payload, topic_id, gap));
            }
        }
        Ok(plans)
    }

    /// A topic that was made anew under a known name is read from its beginning, whatever `start` says: it
    /// was subscribed to when its first record came.
    fn start_of(&self, topic: &str) -> Start {
        if self.topics.is_remade(topic) { Start::Earliest } else { self.config.start_of(topic) }
    }

    /// What is to be looked at: with `earliest` the partitions themselves, else their whole topics.
    fn scope(&self, waiting: &BTreeSet<TopicPartition>) -> Result<BTreeSet<TopicPartition>, String> {
        let mut scope = waiting.clone();
        let topics: BTreeSet<_> = waiting.iter().map(|partition| partition.topic.clone()).collect();
        for topic in topics.into_iter().filter(|topic| self.config.start_of(topic) != Start::Earliest) {
            scope.extend(lookup::partitions(self.consumer, &topic)?);
        }
        Ok(scope)
    }

    fn committed(&self, scope: &BTreeSet<TopicPartition>) -> Result<Commits, String> {
        let found = native::committed(self.consumer, scope, REQUEST_LIMIT)
            .map_err(|reason| format!("the group's commits could not be read: {reason}"))?;
        Ok(found.into_iter().filter_map(|(partition, commit)| Some((partition, commit?))).collect())
    }

    /// What this member has to store, with what to ask the broker for each.
    fn to_store(
        &self,
        waiting: &BTreeSet<TopicPartition>,
        scope: &BTreeSet<TopicPartition>,
        committed: &Commits,
    ) -> Asks {
        let mut asks = Asks::new();
        for partition in waiting {
            let topic = &partition.topic;
            // The rule by which one member settles is the same for all; only what it asks for is not.
            let start = self.config.start_of(topic);
            let known = Known {
                committed: committed.contains_key(partition),
                topic_has_commits: committed.keys().any(|other| other.topic == *topic),
                owns_first_partition: self
                    .owned
                    .contains(&TopicPartition { topic: topic.clone(), partition: 0 }),
            };
            match origin(start, known) {
                Origin::Committed | Origin::Elsewhere => {}
                Origin::Beginning => drop(asks.insert(partition.clone(), rdkafka::Offset::Beginning)),
                Origin::Start => {
                    let whole_topic = scope.iter().filter(|other| other.topic == *topic);
                    asks.extend(
                        whole_topic.map(|other| (other.clone(), lookup::asked(self.start_of(topic)))),
                    );
                }
            }
        }
        asks
    }
}

/// Commits what is planned, and answers what of it may be taken: the wanted partitions of which the
/// coordinator has it. And why it has not the others.
fn prove(
    plans: Vec<Plan>,
    wanted: &BTreeSet<TopicPartition>,
    commits: &mut Committer,
) -> (Vec<Take>, Option<String>) {
    let items = plans.iter().map(|plan| plan.item.clone()).collect();
    let (proven, failed) = commits.prove(items, REQUEST_LIMIT);
    let mut takes = Vec::new();
    for plan in plans {
        if wanted.contains(&plan.take.partition) && proven.contains(&plan.take.token) {
            takes.push(plan.take);
        } else {
            commits.forget(plan.take.token);
        }
    }
    let failed = failed.map(|reason| format!("what the partitions start with is not committed: {reason}"));
    (takes, failed)
}

fn plan(
    partition: &TopicPartition,
    offset: i64,
    payload: Arc<str>,
    topic_id: TopicId,
    restored: GapSet,
) -> Plan {
    let token = Token::fresh();
    let handed = Handed { partition: partition.clone(), offset, payload, leader_epoch: None };
    let partition = partition.clone();
    let (fence, position, fault) = (None, None, None);
    let take = Take { partition, token, topic_id, restored, fence, floor: offset, position, fault };
    Plan { item: Item { token, handed }, take }
}

#[cfg(test)]
mod tests;
