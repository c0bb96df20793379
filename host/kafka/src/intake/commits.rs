//! Commits of how far the partitions are, and the proof of life they are.
//!
//! The polling thread hands them over itself. So the check that a partition is owned, the reading of
//! its progress and the hand-over are one step that no revocation can come between, without any lock:
//! revocations are handled by the same thread. What is committed is one value, the owner's progress, and
//! only if it carries the token of the assignment that the thread knows. The answers come later, on a
//! queue of their own, so a coordinator that is away holds nobody up. A commit that fails is repeated by
//! the next one.
//!
//! For a handler in cuts ([`cuts`]) progress is committed by transactions, together with records. Then what is
//! committed here is only what partitions start with, and what the coordinator has already, as a proof of
//! life where no transaction is under way.
//!
//! An acknowledged commit proves that this member was in its group when it was sent, so each one renews
//! the lease, counted from its sending. Where nothing moves, the unchanged progress is committed every
//! third of the session time-out.

mod answers;
mod closed;
pub(super) mod cuts;
mod cutting;
mod refusals;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use keylane_engine::{LeaderEpochs, Lease, Progress, Token, TopicPartition};
use metrics::Gauge;
use rdkafka::consumer::{BaseConsumer, Consumer};

use self::answers::{is_passing, is_rebalance, went_astray, why};
use self::cuts::Cuts;
use super::feed::{Feed, Parting};
use super::group::Group;
use crate::native::{CommitAnswer, CommitQueue, Handed};

/// Unchanged progress is committed this often within one session time-out.
const PROOFS_PER_SESSION: u32 = 3;
/// The pause before a final commit that came amid a change of the group is tried again.
const FINAL_RETRY: Duration = Duration::from_millis(50);

/// What the coordinator is known to have of one assignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stand {
    pub(super) offset: i64,
    pub(super) payload: Arc<str>,
    pub(super) leader_epoch: Option<i32>,
}

/// One partition's part of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) token: Token,
    pub(super) handed: Handed,
}

/// A commit that was handed over and is not answered.
struct Sent {
    number: usize,
    /// By the boot clock.
    at: Duration,
    items: Vec<Item>,
}

/// Owned by the polling thread.
pub(super) struct Committer {
    queue: CommitQueue<Group>,
    consumer: Arc<BaseConsumer<Group>>,
    group: String,
    interval: Duration,
    next_at: Instant,
    lease: Arc<Lease>,
    /// When the last commit was sent, by the boot clock.
    last_sent: Option<Duration>,
    /// Whether the last answer acknowledged nothing.
    proof_failed: bool,
    /// Whether a commit failed on its way, and none was acknowledged since.
    astray: bool,
    number: usize,
    /// Not answered yet: at most one of the regular commits, and a final one for each change of the group
    /// that came meanwhile.
    sent: VecDeque<Sent>,
    in_flight: Gauge,
    /// By the token of each assignment that was proven and not forgotten.
    stands: BTreeMap<Token, Stand>,
    /// For a handler in cuts.
    cuts: Option<Cuts>,
}

impl Committer {
    pub(super) fn new(
        queue: CommitQueue<Group>,
        consumer: Arc<BaseConsumer<Group>>,
        group: String,
        interval: Duration,
        lease: Arc<Lease>,
        cuts: Option<Cuts>,
    ) -> Self {
        Self {
            queue,
            consumer,
            in_flight: metrics::gauge!("keylane_kafka_commits_in_flight", "group" => group.clone()),
            group,
            interval,
            next_at: Instant::now() + interval,
            lease,
            last_sent: None,
            proof_failed: false,
            astray: false,
            number: 0,
            sent: VecDeque::new(),
            stands: BTreeMap::new(),
            cuts,
        }
    }

    pub(super) fn lease(&self) -> &Arc<Lease> {
        &self.lease
    }

    /// Another session time-out than was thought. To be called before anything is committed.
    pub(super) fn replace_lease(&mut self, lease: Arc<Lease>) {
        self.lease = lease;
    }

    /// What the coordinator is known to have of this assignment.
    pub(super) fn stand(&self, token: Token) -> Option<&Stand> {
        self.stands.get(&token)
    }

    /// This assignment is over.
    pub(super) fn forget(&mut self, token: Token) {
        self.stands.remove(&token);
        // A late answer would bring it back.
        for sent in &mut self.sent {
            sent.items.retain(|item| item.token != token);
        }
    }

    /// Takes the answers that came, and commits what has moved if the time has come, or everything if
    /// another proof of life is due.
    pub(super) fn turn<'a>(&mut self, feeds: impl Iterator<Item = &'a Feed> + Clone, now: Instant) {
        self.take_answers(Duration::ZERO);
        let due = self.proof_is_due(now);
        if self.cuts.is_some() && !self.turn_cuts(feeds.clone(), due, now) {
            return;
        }
        if !self.sent.is_empty() || (now < self.next_at && !due) || self.is_lost() {
            return;
        }
        self.next_at = now + self.interval;
        let wanted = feeds.filter(|feed| !feed.inbox.ownership().is_lost());
        let items: Vec<Item> = wanted
            .filter_map(|feed| match self.cuts {
                None => {
                    let epochs = feed.inbox.leader_epochs();
                    self.item(&feed.partition, feed.token, (feed.inbox.progress(), epochs), due)
                }
                Some(_) => self.unchanged(feed),
            })
            .collect();
        if let Err(reason) = self.hand_over(items) {
            tracing::warn!(group = self.group, reason, "the commit was not taken; it is repeated");
        }
    }

    /// A proof that failed is tried again at the next interval.
    fn proof_is_due(&self, now: Instant) -> bool {
        let pause = self.lease.term() / PROOFS_PER_SESSION;
        ((self.proof_failed || self.astray) && now >= self.next_at)
            || self.last_sent.is_none_or(|at| self.lease.now().saturating_sub(at) >= pause)
    }

    /// Whether the group has given everything to others already, though the thread was not told yet.
    fn is_lost(&self) -> bool {
        self.consumer.assignment_lost()
    }

    /// What to commit of this progress: nothing where the coordinator has it, unless `unchanged` too is
    /// wanted; and nothing where it is of another assignment.
    fn item(
        &self,
        partition: &TopicPartition,
        token: Token,
        (progress, epochs): (Progress, &LeaderEpochs),
        unchanged: bool,
    ) -> Option<Item> {
        let item = checked(partition, token, progress, epochs)?;
        let known = self.stand(token).is_some_and(|stand| stand.is(&item.handed));
        (unchanged || !known).then_some(item)
    }

    /// What the coordinator has of this partition.
    fn unchanged(&self, feed: &Feed) -> Option<Item> {
        // After a cut in doubt the coordinator may have more than is known: what is known would take it back.
        if self.cuts.as_ref().is_some_and(|cuts| cuts.set_back.contains_key(&feed.partition)) {
            return None;
        }
        let Stand { offset, payload, leader_epoch } = self.stand(feed.token)?.clone();
        Some(Item {
            token: feed.token,
            handed: Handed { partition: feed.partition.clone(), offset, payload, leader_epoch },
        })
    }

    /// Commits the final progress of partitions that are about to be given up, and waits for the answer;
    /// tries again where the group is only changing. Answers whether the coordinator has everything.
    pub(super) fn finish(&mut self, partings: &[Parting], limit: Duration) -> bool {
        let until = Instant::now() + limit;
        self.await_answers(until);
        loop {
            let missing = self.missing(partings);
            if missing.is_empty() || self.cuts.is_some() {
                return missing.is_empty();
            }
            let Err((reason, passing)) = self.try_final(missing, until) else { continue };
            if passing && Instant::now() + FINAL_RETRY < until {
                std::thread::sleep(FINAL_RETRY);
                continue;
            }
            let group = self.group.as_str();
            tracing::warn!(group, reason, "final progress is not committed; its events repeat");
            return false;
        }
    }

    fn missing(&self, partings: &[Parting]) -> Vec<Item> {
        partings
            .iter()
            .filter(|one| !one.is_lost)
            .filter_map(|one| {
                self.item(&one.partition, one.token, (one.progress.clone(), &one.epochs), false)
            })
            .collect()
    }

    /// One try of a final commit. A failure says why, and whether the next try may fare better.
    fn try_final(&mut self, items: Vec<Item>, until: Instant) -> Result<(), (String, bool)> {
        if self.is_lost() {
            return Err(("the partitions belong to others already".to_owned(), false));
        }
        self.hand_over(items).map_err(|reason| (reason, false))?;
        let answers = self.await_answers(until);
        let reason = why(&answers);
        match (self.sent.is_empty(), reason.is_empty()) {
            (true, true) if !answers.is_empty() => Ok(()),
            (_, true) => Err(("the coordinator does not answer".to_owned(), false)),
            (_, false) => Err((reason, answers.iter().all(is_passing))),
        }
    }

    /// Commits what partitions start with, and waits for the answer: it stores new starts, and proves the
    /// membership before anything of these partitions runs. Answers the tokens of what the coordinator
    /// has, and why it has not the others.
    pub(super) fn prove(&mut self, items: Vec<Item>, limit: Duration) -> (Vec<Token>, Option<String>) {
        let until = Instant::now() + limit;
        self.await_answers(until);
        if self.is_lost() {
            return (Vec::new(), Some("the group has given the partitions to others".to_owned()));
        }
        if !self.sent.is_empty() {
            return (Vec::new(), Some("the coordinator does not answer a commit".to_owned()));
        }
        if let Err(reason) = self.hand_over(items.clone()) {
            return (Vec::new(), Some(reason));
        }
        let answers = self.await_answers(until);
        let proven: Vec<Token> = items
            .iter()
            .filter(|item| self.stand(item.token).is_some_and(|stand| stand.is(&item.handed)))
            .map(|item| item.token)
            .collect();
        let reason = match why(&answers) {
            _ if proven.len() == items.len() => None,
            reason if reason.is_empty() => Some("the coordinator does not answer".to_owned()),
            reason => Some(reason),
        };
        (proven, reason)
    }

    fn hand_over(&mut self, items: Vec<Item>) -> Result<(), String> {
        if items.is_empty() {
            return Ok(());
        }
        let handed: Vec<Handed> = items.iter().map(|item| item.handed.clone()).collect();
        self.number += 1;
        let sent = Sent { number: self.number, at: self.lease.now(), items };
        self.queue.hand_over(sent.number, &handed)?;
        self.last_sent = Some(sent.at);
        self.sent.push_back(sent);
        self.in_flight.set(self.sent.len() as f64);
        Ok(())
    }

    fn await_answers(&mut self, until: Instant) -> Vec<CommitAnswer> {
        let mut answers = Vec::new();
        while !self.sent.is_empty() {
            let came = self.take_answers(until.saturating_duration_since(Instant::now()));
            if came.is_empty() {
                break;
            }
            answers.extend(came);
        }
        answers
    }

    /// Takes what has come; waits up to `limit` for the first.
    fn take_answers(&mut self, limit: Duration) -> Vec<CommitAnswer> {
        let mut answers = Vec::new();
        let mut wait = limit;
        while !self.sent.is_empty() {
            let Some(answer) = self.queue.answer(wait) else { break };
            wait = Duration::ZERO;
            self.note(&answer);
            answers.push(answer);
        }
        answers
    }

    fn note(&mut self, answer: &CommitAnswer) {
        self.count(answer);
        self.astray |= went_astray(answer);
        let Some(place) = self.sent.iter().position(|sent| sent.number == answer.number) else { return };
        let sent = self.sent.remove(place).filter(|sent| !sent.items.is_empty());
        self.in_flight.set(self.sent.len() as f64);
        let Some(sent) = sent else { return };
        let mut acknowledged = false;
        for item in sent.items.into_iter().filter(|item| answer.has(&item.handed.partition)) {
            acknowledged = true;
            self.stands.insert(item.token, item.handed.into());
        }
        self.proof_failed = !acknowledged;
        self.astray &= !acknowledged;
        if acknowledged {
            self.lease.renew(sent.at);
        }
    }

    fn count(&self, answer: &CommitAnswer) {
        let failed = why(std::slice::from_ref(answer));
        let outcome = if failed.is_empty() { "ok" } else { "failed" };
        metrics::counter!("keylane_kafka_commits_total", "group" => self.group.clone(), "outcome" => outcome)
            .increment(1);
        let group = self.group.as_str();
        if is_rebalance(answer.error) {
            tracing::info!(group, failed, "a commit came amid a rebalance; it is repeated");
        } else if !failed.is_empty() {
            tracing::warn!(group, failed, "a commit failed; it is repeated");
        }
    }
}

/// What is not answered now nobody waits for any more.
impl Drop for Committer {
    fn drop(&mut self) {
        self.in_flight.set(0.0);
    }
}

impl From<Handed> for Stand {
    fn from(Handed { offset, payload, leader_epoch, .. }: Handed) -> Self {
        Self { offset, payload, leader_epoch }
    }
}

impl Stand {
    fn is(&self, handed: &Handed) -> bool {
        self.offset == handed.offset && self.payload == handed.payload
    }
}

/// The progress as a part of a commit, if it is of the assignment that the thread knows. It tells the leader
/// where that is known of the offset itself: whoever takes the partition asks the broker by it whether the log
/// was cut below.
fn checked(
    partition: &TopicPartition,
    token: Token,
    progress: Progress,
    epochs: &LeaderEpochs,
) -> Option<Item> {
    if progress.token != token {
        tracing::error!(%partition, found = %progress.token, expected = %token, "progress of another assignment was dropped");
        metrics::counter!("keylane_kafka_progress_dropped_total", "topic" => partition.topic.to_string())
            .increment(1);
        return None;
    }
    let Progress { offset, payload, .. } = progress;
    let position = epochs.position_at(offset).filter(|position| position.offset == offset);
    let leader_epoch = position.map(|position| position.leader_epoch);
    Some(Item { token, handed: Handed { partition: partition.clone(), offset, payload, leader_epoch } })
}

#[cfg(test)]
mod tests;
