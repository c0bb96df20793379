//! Somebody looks at the partitions: asked by message, answered by the polling thread in its turn.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use keylane_engine::{Control, Ownership, TopicPartition};
use rdkafka::consumer::BaseConsumer;
use tokio::sync::{mpsc, oneshot};

use super::Doorbell;
use super::commits::Committer;
use super::feed::Feed;
use super::group::Group;
use super::takes::Takes;
use crate::native::known_high_watermark;

/// Questions that may wait for the polling thread. Who comes when they are that many waits for room, and
/// for no longer than [`LOOK_LIMIT`] altogether, so nothing is to be measured.
const LOOKS_WAITING: usize = 8;
/// The longest wait for its answer: it may be draining partitions.
const LOOK_LIMIT: Duration = Duration::from_secs(10);

/// How one partition stands, as the intake knows it.
#[derive(Debug, Clone)]
pub struct PartitionLook {
    /// Which.
    pub partition: TopicPartition,
    /// `waiting` (its start is not settled, the membership is to be proven anew, or it is to be taken in the
    /// handler's database), `reading`, `asking` (its position is said not to be in the log), `halted` (by
    /// its policy) or `faulted`.
    pub phase: String,
    /// Why it waits, is halted or is not read any more.
    pub fault: Option<String>,
    /// What the group's coordinator is known to have.
    pub committed: Option<i64>,
    /// The offset after the newest record, as of the latest fetch.
    pub end: Option<i64>,
    /// Records that are not ended yet.
    pub lag: Option<u64>,
    /// The way to its owner, if it has one.
    pub control: Option<Control>,
}

type Answer = oneshot::Sender<Vec<PartitionLook>>;

/// The end of those who look. Cheap to clone; it does not keep the intake alive.
#[derive(Debug, Clone)]
pub struct Looker {
    questions: mpsc::Sender<Answer>,
    doorbell: Arc<Doorbell>,
}

/// The polling thread's end.
pub(super) struct Looks {
    questions: mpsc::Receiver<Answer>,
}

pub(super) fn looks(doorbell: Arc<Doorbell>) -> (Looker, Looks) {
    let (sender, questions) = mpsc::channel(LOOKS_WAITING);
    (Looker { questions: sender, doorbell }, Looks { questions })
}

impl Looker {
    /// How each partition stands, by topic and number. Empty where the polling thread is gone, or does not
    /// answer in time.
    pub async fn look(&self) -> Vec<PartitionLook> {
        let (answer, answered) = oneshot::channel();
        let asked = async {
            self.questions.send(answer).await.ok()?;
            self.doorbell.ring();
            answered.await.ok()
        };
        tokio::time::timeout(LOOK_LIMIT, asked).await.ok().flatten().unwrap_or_default()
    }
}

/// Partitions that wait, and what is known of that.
pub(super) struct Waiting<'a> {
    pub(super) partitions: &'a BTreeSet<TopicPartition>,
    pub(super) takes: Option<&'a Takes>,
    /// What all of them wait for.
    pub(super) waiting_for: Option<&'a str>,
}

impl Waiting<'_> {
    fn look_at(&self, partition: &TopicPartition) -> PartitionLook {
        let takes = self.takes;
        let trouble = takes.and_then(|takes| takes.trouble_of(partition)).or(self.waiting_for);
        let is_refused = takes.is_some_and(|takes| takes.is_refused(partition));
        PartitionLook {
            partition: partition.clone(),
            phase: if is_refused { "faulted" } else { "waiting" }.to_owned(),
            fault: trouble.map(str::to_owned),
            committed: None,
            end: None,
            lag: None,
            control: None,
        }
    }
}

impl Looks {
    /// Answers everybody who asks.
    pub(super) fn answer(
        &mut self,
        consumer: &BaseConsumer<Group>,
        feeds: &[Feed],
        waiting: &Waiting<'_>,
        commits: &Committer,
    ) {
        while let Ok(answer) = self.questions.try_recv() {
            let read = feeds.iter().map(|feed| look_at(consumer, feed, commits));
            let wait = waiting.partitions.iter().map(|partition| waiting.look_at(partition));
            let mut all: Vec<PartitionLook> = read.chain(wait).collect();
            all.sort_by(|one, other| one.partition.cmp(&other.partition));
            // Who has stopped waiting is not told.
            let _unheard = answer.send(all);
        }
    }
}

fn look_at(consumer: &BaseConsumer<Group>, feed: &Feed, commits: &Committer) -> PartitionLook {
    let end = known_high_watermark(consumer, &feed.partition);
    let phase = match (&feed.fault, &feed.trouble, feed.inbox.ownership()) {
        (Some(_), ..) => "faulted",
        (None, Some(_), _) => "asking",
        (None, None, Ownership::Halted { .. }) => "halted",
        (None, None, _) => "reading",
    };
    PartitionLook {
        partition: feed.partition.clone(),
        phase: phase.to_owned(),
        fault: feed.stopped().or_else(|| feed.trouble.as_ref().map(|trouble| trouble.reason.clone())),
        committed: commits.stand(feed.token).map(|stand| stand.offset),
        end,
        lag: feed.inbox.lag(end),
        control: Some(feed.inbox.control()),
    }
}
