//! Commits of how far the partitions are.
//!
//! The polling thread hands them over itself. So the check that a partition is owned, the reading of
//! its position and the hand-over are one step that no revocation can come between, without any lock:
//! revocations are handled by the same thread. The answers come later, on a queue of their own, so a
//! coordinator that is away holds nobody up. A commit that fails is repeated by the next one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use keylane_engine::TopicPartition;
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::{Offset, TopicPartitionList};

use super::feed::Feed;
use super::group::Group;
use crate::native::{CommitAnswer, CommitQueue};

/// The commit's metadata: the version of its form. What may follow it later is not written yet.
const METADATA: &str = "1";

/// Owned by the polling thread.
pub(super) struct Committer {
    queue: CommitQueue<Group>,
    interval: Duration,
    next_at: Instant,
    /// Handed over and not answered. At most one of the regular commits is, so it bounds the queue.
    unanswered: usize,
    group: String,
}

impl Committer {
    /// None only where the client has no memory left.
    pub(super) fn new(consumer: Arc<BaseConsumer<Group>>, group: String, interval: Duration) -> Option<Self> {
        let queue = CommitQueue::new(consumer)?;
        Some(Self { queue, interval, next_at: Instant::now() + interval, unanswered: 0, group })
    }

    /// Takes the answers that came, and commits what has moved if the time has come.
    pub(super) fn turn(&mut self, feeds: &mut [Feed], now: Instant) {
        self.take_answers(feeds, Duration::ZERO);
        if now < self.next_at || self.unanswered > 0 {
            return;
        }
        self.next_at = now + self.interval;
        let moved = moved(feeds);
        if let Err(reason) = self.hand_over(&moved) {
            tracing::warn!(group = self.group, reason, "the commit was not taken; it is repeated");
        }
    }

    /// Commits the final positions of partitions that are about to be given up, and waits for the
    /// answer. Answers whether the coordinator has them all.
    pub(super) fn finish(&mut self, feeds: &mut [Feed], limit: Duration) -> bool {
        let until = Instant::now() + limit;
        if let Err(reason) = self.hand_over(&moved(feeds)) {
            tracing::warn!(group = self.group, reason, "the final commit was not taken");
            return false;
        }
        self.await_answers(feeds, until);
        let missing = feeds.iter().filter(|feed| feed.uncommitted().is_some()).count();
        if missing > 0 {
            tracing::warn!(
                group = self.group,
                missing,
                "final positions are not committed; their events repeat"
            );
        }
        missing == 0
    }

    /// Stores where partitions start, and waits for the answer.
    pub(super) fn store(&mut self, starts: &[(TopicPartition, i64)], limit: Duration) -> Result<(), String> {
        let until = Instant::now() + limit;
        self.hand_over(starts)?;
        let answers = self.await_answers(&mut [], until);
        let stored = |partition: &TopicPartition, offset: i64| {
            answers.iter().filter(|answer| answer.error.is_none()).any(|answer| {
                answer.partitions.iter().any(|told| {
                    told.topic == *partition.topic
                        && told.partition == partition.partition
                        && told.offset == offset
                        && told.error.is_none()
                })
            })
        };
        match starts.iter().find(|(partition, offset)| !stored(partition, *offset)) {
            None => Ok(()),
            Some((partition, _)) => {
                Err(format!("the start of {partition} was not stored: {}", why(&answers)))
            }
        }
    }

    fn hand_over(&mut self, positions: &[(TopicPartition, i64)]) -> Result<(), String> {
        if positions.is_empty() {
            return Ok(());
        }
        // The list lives in this call only: one that outlives its consumer keeps it from closing.
        let mut list = TopicPartitionList::with_capacity(positions.len());
        for (partition, offset) in positions {
            let mut element = list.add_partition(&partition.topic, partition.partition);
            element.set_offset(Offset::Offset(*offset)).map_err(|error| error.to_string())?;
            element.set_metadata(METADATA);
        }
        self.queue.hand_over(&list).map_err(|code| code.to_string())?;
        self.unanswered += 1;
        Ok(())
    }

    fn await_answers(&mut self, feeds: &mut [Feed], until: Instant) -> Vec<CommitAnswer> {
        let mut answers = Vec::new();
        while self.unanswered > 0 {
            let left = until.saturating_duration_since(Instant::now());
            let came = self.take_answers(feeds, left);
            if came.is_empty() {
                break;
            }
            answers.extend(came);
        }
        answers
    }

    /// Takes what has come; waits up to `limit` for the first.
    fn take_answers(&mut self, feeds: &mut [Feed], limit: Duration) -> Vec<CommitAnswer> {
        let mut answers = Vec::new();
        let mut wait = limit;
        while self.unanswered > 0 {
            let Some(answer) = self.queue.answer(wait) else { break };
            wait = Duration::ZERO;
            self.unanswered -= 1;
            self.settle(&answer, feeds);
            answers.push(answer);
        }
        answers
    }

    fn settle(&self, answer: &CommitAnswer, feeds: &mut [Feed]) {
        let failed = why(std::slice::from_ref(answer));
        let outcome = if failed.is_empty() { "ok" } else { "failed" };
        metrics::counter!("keylane_kafka_commits_total", "group" => self.group.clone(), "outcome" => outcome)
            .increment(1);
        if !failed.is_empty() {
            let group = self.group.as_str();
            if is_rebalance(answer.error) {
                tracing::info!(group, failed, "a commit came amid a rebalance; it is repeated");
            } else {
                tracing::warn!(group, failed, "a commit failed; it is repeated");
            }
        }
        if answer.error.is_some() {
            return;
        }
        for told in answer.partitions.iter().filter(|told| told.error.is_none()) {
            let feed = feeds.iter_mut().find(|feed| {
                feed.partition.partition == told.partition && *feed.partition.topic == told.topic
            });
            if let Some(feed) = feed {
                feed.acknowledged = Some(told.offset);
            }
        }
    }
}

fn moved(feeds: &[Feed]) -> Vec<(TopicPartition, i64)> {
    feeds
        .iter()
        .filter_map(|feed| feed.uncommitted().map(|position| (feed.partition.clone(), position)))
        .collect()
}

/// What went wrong, in the coordinator's words; empty if nothing did.
fn why(answers: &[CommitAnswer]) -> String {
    let mut words: Vec<String> = answers
        .iter()
        .flat_map(|answer| {
            let whole = answer.error.map(|code| code.to_string());
            let parts = answer.partitions.iter().filter_map(|told| {
                told.error.map(|code| format!("{}[{}]: {code}", told.topic, told.partition))
            });
            whole.into_iter().chain(parts).collect::<Vec<_>>()
        })
        .collect();
    words.dedup();
    words.join("; ")
}

/// Errors that a changing group causes by itself, and that end with the change.
fn is_rebalance(code: Option<Code>) -> bool {
    matches!(
        code,
        Some(
            Code::RebalanceInProgress
                | Code::IllegalGeneration
                | Code::UnknownMemberId
                | Code::AssignmentLost
        )
    )
}
