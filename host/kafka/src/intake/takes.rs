//! Taking partitions in the handler's database, where its progress is the truth.
//!
//! A partition that the group gave is read only when it is taken there too: the take raises its epoch, so
//! that whoever had it before writes nothing more, and answers how far it is. In this order, each step for
//! as long as the partition waits:
//!
//! 1. the membership is proven, by an acknowledged commit of what the group has: a host that slept through
//!    its own replacement must not take anything away from its successor;
//! 2. the partition is taken, or, if the database knows no start of it, the starts of its whole topic are
//!    settled there, and it is taken after that;
//! 3. what the database holds is compared with the log, if it holds more than a floor;
//! 4. the partition is given to the client at the floor, and its owner gets the fence; it is read when the
//!    client knows the leader by whom the log is checked there ([`super::checks`]).
//!
//! Who owns: the polling thread owns all of this; each question is a task of the runtime, which owns nothing
//! but its part of it. Who waits: the tasks. The thread looks at their answers in each turn and never waits
//! for one. Who wakes: the end of a task rings. What bounds: [`asking::TAKES_AT_ONCE`] takes at once, one
//! settling for each topic, and the lease's term for each; a failure is followed by a pause
//! ([`setbacks`]). A partition that is revoked, lost or given up meanwhile drops its take, which breaks the
//! task off. Should its transaction be committed all the same, the next owner takes the partition once more:
//! the epoch tells it.
//!
//! A take counts only where, when its answer is seen, the lease holds, and the topic is still the one that
//! the partition was taken under. Else it is forgotten and the partition begins again with the first step.

mod answers;
pub(super) mod asking;
mod setbacks;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use keylane_engine::{Claims, ClaimsError, Hold, Lease, Token, TopicId, TopicPartition};

use self::asking::{Asker, Question};
use self::setbacks::Setbacks;
use super::shared::Doorbell;
use super::start::{Offer, Take, Want};
use super::topics::TopicWatch;
use crate::health::PartitionFault;

/// Why a partition is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Trouble {
    /// An operator has to see to it.
    Refused(String),
    /// The database does not answer, or not as it should. It is tried again.
    Database(String),
    /// It was given up a moment ago, for this reason.
    Overtaken(String),
}

impl Trouble {
    fn of(error: ClaimsError) -> Self {
        match error {
            ClaimsError::Refused(words) => Self::Refused(words),
            other => Self::Database(other.to_string()),
        }
    }

    fn words(&self) -> &str {
        let (Self::Refused(words) | Self::Database(words) | Self::Overtaken(words)) = self;
        words
    }
}

/// Where a partition is on its way.
enum Step {
    /// It is to be asked about.
    Due,
    /// The starts of its topic are being settled.
    Settling,
    Taking {
        take: Take,
        question: Question<Option<Hold>>,
    },
    /// Taken; what has ended is compared with the log, which was asked about at the time.
    Taken {
        take: Take,
        asked: Option<Instant>,
    },
}

/// One partition that waits.
struct Pending {
    step: Step,
    want: Want,
    not_before: Option<Instant>,
    trouble: Option<Trouble>,
}

impl Pending {
    fn new() -> Self {
        Self { step: Step::Due, want: Want::Take, not_before: None, trouble: None }
    }

    /// The token of the take that is under way, if one is.
    fn token(&self) -> Option<Token> {
        match &self.step {
            Step::Due | Step::Settling => None,
            Step::Taking { take, .. } | Step::Taken { take, .. } => Some(take.token),
        }
    }
}

/// The starts of one topic that are being settled.
struct Settling {
    topic_id: TopicId,
    question: Question<BTreeMap<i32, i64>>,
}

/// Owned by the polling thread.
pub(super) struct Takes {
    asker: Asker,
    pending: BTreeMap<TopicPartition, Pending>,
    settling: BTreeMap<Arc<str>, Settling>,
    setbacks: Setbacks,
}

impl Takes {
    pub(super) fn new(
        claims: Arc<dyn Claims>,
        runtime: tokio::runtime::Handle,
        doorbell: Arc<Doorbell>,
        group: &str,
    ) -> Self {
        Self {
            asker: Asker::new(claims, runtime, doorbell, group),
            pending: BTreeMap::new(),
            settling: BTreeMap::new(),
            setbacks: Setbacks::default(),
        }
    }

    /// Which database this is about.
    pub(super) fn database(&self) -> &str {
        self.asker.database()
    }

    /// The partition is given up: nothing of it is remembered. Answers the token of its take, if one was
    /// under way.
    pub(super) fn forget(&mut self, partition: &TopicPartition) -> Option<Token> {
        self.setbacks.forget(partition);
        self.pending.remove(partition)?.token()
    }

    /// The partition was dropped, because another host has it in the database or nobody knows how it stands.
    pub(super) fn overtaken(&mut self, partition: &TopicPartition, reason: &str, now: Instant) {
        self.set_back(partition, Trouble::Overtaken(reason.to_owned()), now);
    }

    /// What is to be asked about now, of those that wait and whose topic's id is known.
    pub(super) fn due(
        &self,
        waiting: &BTreeSet<TopicPartition>,
        topics: &TopicWatch,
        now: Instant,
    ) -> BTreeMap<TopicPartition, Want> {
        let mut due = BTreeMap::new();
        for partition in waiting {
            let Some(topic_id) = topics.id_of(&partition.topic) else { continue };
            let want = match self.pending.get(partition) {
                None => Want::Take,
                Some(Pending { step: Step::Due, not_before, want, .. })
                    if not_before.is_none_or(|at| now >= at) =>
                {
                    want.under(topic_id)
                }
                Some(_) => continue,
            };
            due.insert(partition.clone(), want);
        }
        due
    }

    /// Takes a partition whose membership is proven.
    pub(super) fn take(&mut self, take: Take, lease: &Arc<Lease>) {
        let question = self.asker.take(&take.partition, take.topic_id, lease);
        let pending = self.pending.entry(take.partition.clone()).or_insert_with(Pending::new);
        pending.step = Step::Taking { take, question };
    }

    /// Settles the starts of a topic, and has these of its partitions wait for that. A settling that is
    /// under way for the same topic is not begun twice.
    pub(super) fn settle(&mut self, offer: Offer, partitions: &[TopicPartition], lease: &Lease) {
        let Offer { topic, topic_id, starts } = offer;
        if self.settling.get(&topic).is_none_or(|settling| settling.topic_id != topic_id) {
            let question = self.asker.settle(&topic, topic_id, starts, lease);
            self.settling.insert(topic, Settling { topic_id, question });
        }
        for partition in partitions {
            self.pending.entry(partition.clone()).or_insert_with(Pending::new).step = Step::Settling;
        }
    }

    /// This partition does not start before somebody sees to it. It is looked at again now and then.
    pub(super) fn refuse(&mut self, partition: &TopicPartition, reason: String, now: Instant) {
        self.set_back(partition, Trouble::Refused(reason), now);
    }

    fn set_back(&mut self, partition: &TopicPartition, trouble: Trouble, now: Instant) {
        let pause = self.setbacks.note(partition, now);
        self.wait(partition, trouble, now + pause);
    }

    fn wait(&mut self, partition: &TopicPartition, trouble: Trouble, until: Instant) {
        let pending = self.pending.entry(partition.clone()).or_insert_with(Pending::new);
        let is_news = pending.trouble.as_ref() != Some(&trouble);
        let reason = trouble.words();
        match &trouble {
            Trouble::Refused(_) if is_news => {
                tracing::error!(%partition, reason, "the partition does not start until somebody sees to it");
            }
            Trouble::Database(_) if is_news => {
                tracing::warn!(%partition, reason, "the partition is not taken in the database; trying again");
            }
            _ => tracing::debug!(%partition, reason, "the partition waits"),
        }
        pending.step = Step::Due;
        pending.not_before = Some(until);
        pending.trouble = Some(trouble);
    }

    /// Partitions that do not start before somebody sees to them.
    pub(super) fn refused(&self) -> Vec<PartitionFault> {
        let fault = |(partition, pending): (&TopicPartition, &Pending)| match &pending.trouble {
            Some(Trouble::Refused(reason)) => {
                Some(PartitionFault { partition: partition.clone(), reason: reason.clone() })
            }
            _ => None,
        };
        self.pending.iter().filter_map(fault).collect()
    }

    /// Whether this one is among them.
    pub(super) fn is_refused(&self, partition: &TopicPartition) -> bool {
        let pending = self.pending.get(partition);
        pending.is_some_and(|pending| matches!(pending.trouble, Some(Trouble::Refused(_))))
    }

    /// What is the matter with the database, if partitions wait for it.
    pub(super) fn database_trouble(&self) -> Option<&str> {
        self.pending.values().find_map(|pending| match &pending.trouble {
            Some(Trouble::Database(reason)) => Some(reason.as_str()),
            _ => None,
        })
    }

    /// Why a partition waits, if its take met with something.
    pub(super) fn trouble_of(&self, partition: &TopicPartition) -> Option<&str> {
        self.pending.get(partition)?.trouble.as_ref().map(Trouble::words)
    }
}
