//! Starts beside a handler's database, which settles them: what the group has committed is a report, or was
//! made before there was a database.
//!
//! Any member may settle: what stands in the database is never overwritten, and whoever comes first settles
//! all partitions of a topic in one transaction. So nobody waits for the owner of the first partition. What
//! is offered, where nothing stands:
//!
//! - the group's committed offset, if it was committed without a database;
//! - where the group has nothing, what `start` resolves to; in a topic of which the group has something the
//!   beginning, since the partition was added later;
//! - where the group's commit was made beside this very database, which nevertheless does not know the topic,
//!   what `start` resolves to, and the beginning instead of the end. The topic was made anew, and the
//!   database will say 0 whatever is offered; or the database was set back to before the handler's first
//!   event, and what was done since is as if it had not been.
//!
//! A commit beside another database is refused: one of the two is not the handler's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use keylane_engine::{GapSet, RestoredNote, TopicId, TopicPartition, payload_beside, restore};

use super::super::commits::Committer;
use super::lookup::{self, Asks};
use super::{Plan, Starter, Take, plan, prove};
use crate::config::Start;
use crate::native::Committed;

/// What a partition that waits to be taken needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Want {
    /// To be taken; whether its start is settled is not known.
    Take,
    /// Its start, under this id of its topic.
    Settle { topic_id: TopicId },
    /// To be taken: its start was settled, or stood, at this floor.
    Settled { topic_id: TopicId, floor: i64 },
}

impl Want {
    /// What is wanted under this id: what was learnt under another one says nothing.
    pub(in super::super) fn under(self, now: TopicId) -> Self {
        match self {
            Self::Settle { topic_id } | Self::Settled { topic_id, .. } if topic_id.contradicts(&now) => {
                Self::Take
            }
            same => same,
        }
    }
}

/// Starts of all partitions of a topic, for the database to settle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Offer {
    pub(in super::super) topic: Arc<str>,
    pub(in super::super) topic_id: TopicId,
    pub(in super::super) starts: Vec<(i32, i64)>,
}

/// What is to be done next.
#[derive(Default)]
pub(in super::super) struct Prepared {
    /// The membership is proven: these may be taken.
    pub(in super::super) takes: Vec<Take>,
    /// Topics to be settled, each with the partitions that wait for it.
    pub(in super::super) offers: Vec<(Offer, Vec<TopicPartition>)>,
    /// These must not start, and why.
    pub(in super::super) refused: Vec<(TopicPartition, String)>,
    /// Why the rest waits.
    pub(in super::super) waiting_for: Option<String>,
}

/// Why there is no offer.
enum NoOffer {
    Refused(String),
    Later(String),
}

impl From<String> for NoOffer {
    fn from(reason: String) -> Self {
        Self::Later(reason)
    }
}

impl Starter<'_> {
    /// Proves the membership for what is due, and looks up what the database is to be asked.
    pub(in super::super) fn prepare(
        &self,
        due: &BTreeMap<TopicPartition, Want>,
        commits: &mut Committer,
    ) -> Result<Prepared, String> {
        let mut prepared = Prepared::default();
        let wanted: BTreeSet<TopicPartition> = due.keys().cloned().collect();
        let committed = self.committed(&wanted)?;
        let mut plans = Vec::new();
        let mut to_settle: BTreeMap<Arc<str>, Vec<TopicPartition>> = BTreeMap::new();
        for (partition, want) in due {
            let found = committed.get(partition);
            if let Some(reason) = found.and_then(|found| self.refusal(partition, found)) {
                prepared.refused.push((partition.clone(), reason));
                continue;
            }
            match (want, found) {
                (Want::Settle { .. }, _) | (Want::Take, None) => {
                    to_settle.entry(partition.topic.clone()).or_default().push(partition.clone());
                }
                (_, Some(found)) => plans.extend(self.plan_committed(partition, found)),
                (Want::Settled { topic_id, floor }, None) => {
                    plans.push(self.plan_settled(partition, *topic_id, *floor));
                }
            }
        }
        if !plans.is_empty() {
            (prepared.takes, prepared.waiting_for) = prove(plans, &wanted, commits);
        }
        for (topic, partitions) in to_settle {
            match self.offer(&topic, &partitions) {
                Ok(offer) => prepared.offers.push((offer, partitions)),
                Err(NoOffer::Later(reason)) => prepared.waiting_for = Some(reason),
                Err(NoOffer::Refused(reason)) => {
                    let refused = partitions.into_iter().map(|partition| (partition, reason.clone()));
                    prepared.refused.extend(refused);
                }
            }
        }
        Ok(prepared)
    }

    fn plan_settled(&self, partition: &TopicPartition, topic_id: TopicId, floor: i64) -> Plan {
        let payload = payload_beside(self.database.unwrap_or_default());
        plan(partition, floor, payload, topic_id, GapSet::at(floor))
    }

    /// Why nothing may begin beside this commit, if so.
    fn refusal(&self, partition: &TopicPartition, found: &Committed) -> Option<String> {
        let ours = self.database?;
        let topic_id = self.topics.id_of(&partition.topic)?;
        match restore(found.offset, &found.metadata, topic_id).note {
            RestoredNote::OfDatabase(other) if *other != *ours => Some(format!(
                "the group's commit of {partition} was made beside the database {other}, and this handler's \
                 database is {ours}: one of them is not the handler's, and progress of one says nothing of the \
                 other. Set the database's address right; if the handler is to begin in this one where the \
                 group's offset {} stands, set the offset with kafka-consumer-groups --reset-offsets while no \
                 host runs",
                found.offset
            )),
            _ => None,
        }
    }

    /// Where all partitions of a topic start, as far as it is this room's to say.
    fn offer(&self, topic: &Arc<str>, partitions: &[TopicPartition]) -> Result<Offer, NoOffer> {
        let later = || NoOffer::Later(format!("the id of the topic {topic:?} is not told"));
        let topic_id = self.topics.id_of(topic).ok_or_else(later)?;
        let mut scope: BTreeSet<TopicPartition> =
            lookup::partitions(self.consumer, topic)?.into_iter().collect();
        scope.extend(partitions.iter().cloned());
        let committed = self.committed(&scope)?;
        let (mut starts, mut asks) = (Vec::with_capacity(scope.len()), Asks::new());
        for partition in scope {
            let start = match committed.get(&partition) {
                None if committed.is_empty() => self.start_of(topic),
                None => Start::Earliest,
                Some(found) => {
                    if let Some(reason) = self.refusal(&partition, found) {
                        return Err(NoOffer::Refused(reason));
                    }
                    let restored = restore(found.offset, &found.metadata, topic_id);
                    if !matches!(restored.note, RestoredNote::OfDatabase(_)) {
                        tell_of_gap(&partition, &restored.gap);
                        starts.push((partition.partition, restored.gap.base));
                        continue;
                    }
                    tracing::warn!(
                        %partition, committed = found.offset,
                        "the group's commit was made beside this database, which does not know the topic: it \
                         was made anew, or the database was set back. What was committed is not gone by"
                    );
                    self.start_again_of(topic)
                }
            };
            asks.insert(partition, lookup::asked(start));
        }
        if !asks.is_empty() {
            let found = lookup::offsets(self.consumer, asks)?;
            starts.extend(found.into_iter().map(|(partition, offset)| (partition.partition, offset)));
        }
        tracing::info!(%topic, ?starts, "starts are offered to the handler's database");
        Ok(Offer { topic: topic.clone(), topic_id, starts })
    }

    /// Where a topic starts that was read before: not at its end, which has moved since.
    fn start_again_of(&self, topic: &str) -> Start {
        match self.start_of(topic) {
            Start::Latest => Start::Earliest,
            other => other,
        }
    }
}

/// What had ended above the group's offset before there was a database. The database is offered one offset for each
/// partition, so this is done once more, and what it gave out is given out once more.
fn tell_of_gap(partition: &TopicPartition, gap: &GapSet) {
    if let Some(last) = gap.ended.last() {
        tracing::warn!(
            %partition,
            offset = gap.base,
            last = last.end - 1,
            "some records above the group's offset had been handled before the handler had its database; they are \
             handled once more. A handler that is stopped while no key waits leaves none"
        );
    }
}
