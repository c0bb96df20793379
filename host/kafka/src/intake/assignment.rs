//! Taking partitions and giving them up.
//!
//! A revocation is acknowledged last: nothing new is begun, what runs may finish up to the drain limit,
//! the rest is broken off and reaped, the final progress is committed, and only then does the client hear
//! that the partitions are free. What is lost already belongs to others: it is dropped at once, and
//! nothing is committed.
//!
//! Partitions are also dropped and taken anew without the group's asking, when the proof of life is out or
//! a topic was made anew. The client has one call for that and for the answer to a revocation. Should a
//! revocation be under way at that moment, the call would be taken for its answer, before anything was
//! drained. So the client's queue is emptied before, and after the call once more: a revocation that is
//! found then counts as a loss.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use keylane_engine::{Assignment, Ownership, TopicPartition, Wake};
use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError as ClientError;
use rdkafka::{Offset, TopicPartitionList};

use super::feed::{Feed, Parting};
use super::group::{Change, Group};
use super::loss::MEND_BESIDE_DATABASE;
use super::parting::{drain, reap};
use super::poller::{FINAL_COMMIT_LIMIT, Failure, Poller, keep_stray};
use super::reasons::gave_up;
use super::start::{Starter, Take};
use crate::native::PartitionQueue;

/// Time between two tries to settle where partitions start.
pub(super) const SETTLE_EVERY: Duration = Duration::from_millis(250);
/// Events of the client that are served at most before a change of the assignment that nobody asked for.
/// A bound on the work, and no store.
const EVENTS_MAX: usize = 1_000;

impl Poller {
    /// Every change is answered exactly once, the empty ones too: the client waits for it, and
    /// fetches nothing for any partition until it comes. Partitions that were given are taken when it is
    /// settled where they start, so the answer to an assignment is empty.
    pub(super) fn answer(&mut self, change: Change) -> Result<(), Failure> {
        let answered = self.answer_now(change);
        self.widths.group_changed(Instant::now());
        answered
    }

    fn answer_now(&mut self, change: Change) -> Result<(), Failure> {
        match change {
            Change::Assigned(partitions) => {
                self.joined = true;
                self.say("assigned", &partitions);
                if !partitions.is_empty() {
                    self.parts.topics.renew();
                }
                self.waiting.extend(partitions);
                self.parts
                    .consumer
                    .incremental_assign(&TopicPartitionList::new())
                    .map_err(|error| Failure::ForGood(format!("the assignment was not accepted: {error}")))
            }
            Change::Revoked { partitions, lost } => {
                self.joined &= !lost;
                self.say(if lost { "lost" } else { "revoked" }, &partitions);
                let given_up = self.give_up(&partitions, lost);
                self.parts
                    .consumer
                    .incremental_unassign(&given_up)
                    .map_err(|error| Failure::ForGood(format!("the revocation was not accepted: {error}")))
            }
        }
    }

    fn say(&self, how: &'static str, partitions: &[TopicPartition]) {
        let group = self.parts.config.group.clone();
        tracing::info!(group, partitions = names(partitions), "{how}");
        metrics::counter!("keylane_kafka_partitions_moved_total", "group" => group, "how" => how)
            .increment(partitions.len() as u64);
    }

    /// Goes on with partitions that wait.
    pub(super) fn settle_waiting(&mut self) -> Result<(), Failure> {
        if self.waiting.is_empty() || !self.changes.is_empty() || self.parts.commits.is_cutting() {
            return Ok(());
        }
        if self.takes.is_some() {
            return self.take_waiting();
        }
        if Instant::now() < self.next_settle {
            return Ok(());
        }
        // Settling may not wait for the next turn: until the ids are there it costs nothing.
        if self.waiting.iter().all(|one| self.parts.topics.id_of(&one.topic).is_none()) {
            self.waiting_for = self.parts.topics.trouble().map(str::to_owned);
            return Ok(());
        }
        let takes = self.settle();
        if takes.is_empty() { Ok(()) } else { self.admit(takes) }
    }

    /// Whether it is to be asked where partitions start, as soon as nothing stands against it.
    pub(super) fn is_due_to_settle(&self, now: Instant) -> bool {
        let is_known = |one: &TopicPartition| self.parts.topics.id_of(&one.topic).is_some();
        now >= self.next_settle && self.waiting.iter().any(is_known)
    }

    /// Settles starts, and answers with what is settled. A failure is tried again later.
    fn settle(&mut self) -> Vec<Take> {
        let mut owned = self.waiting.clone();
        owned.extend(self.feeds.iter().map(|feed| feed.partition.clone()));
        let parts = &mut self.parts;
        let starter = Starter {
            consumer: &parts.consumer,
            config: &parts.config,
            topics: &parts.topics,
            owned: &owned,
            database: None,
        };
        let settled = starter.settle(&self.waiting, &mut parts.commits);
        self.next_settle = Instant::now() + SETTLE_EVERY;
        let (takes, waiting_for) = match settled {
            Ok(settled) => (settled.takes, settled.waiting_for),
            Err(reason) => (Vec::new(), Some(reason)),
        };
        self.wait_for(waiting_for);
        takes
    }

    /// Says what partitions wait for, if it is news.
    pub(super) fn wait_for(&mut self, reason: Option<String>) {
        if let Some(reason) = reason.as_ref().filter(|reason| self.waiting_for.as_ref() != Some(*reason)) {
            tracing::warn!(group = self.parts.config.group, reason, "starts are not settled; trying again");
        }
        self.waiting_for = reason;
    }

    /// Starts reading partitions. Each gets its own queue before the client fetches for it, so that none
    /// of its records can come through the common one.
    pub(super) fn admit(&mut self, takes: Vec<Take>) -> Result<(), Failure> {
        let mut list = TopicPartitionList::with_capacity(takes.len());
        let mut ready = Vec::with_capacity(takes.len());
        // While the starts were settled the group may have gone on.
        self.empty_client_queue(false)?;
        let lost = !self.changes.is_empty() || self.parts.consumer.assignment_lost();
        for take in takes {
            let queue = if lost { None } else { self.queue_of(&take.partition) };
            let (topic, partition) = (&take.partition.topic, take.partition.partition);
            let start = Offset::Offset(take.restored.base);
            match queue {
                Some(queue) if list.add_partition_offset(topic, partition, start).is_ok() => {
                    ready.push((take, queue));
                }
                _ => self.parts.commits.forget(take.token),
            }
        }
        if ready.is_empty() {
            return Ok(());
        }
        self.assign_unasked(&list)?;
        for (take, queue) in ready {
            self.waiting.remove(&take.partition);
            self.begin(take, queue);
        }
        Ok(())
    }

    fn begin(&mut self, take: Take, queue: PartitionQueue<Group>) {
        let Take { partition, token, topic_id, restored, fence, floor, position, fault } = take;
        let doorbell = self.parts.shared.doorbell.clone();
        let wake: Wake = Arc::new(move || doorbell.ring());
        let (start, lease) = (restored.base, self.parts.commits.lease().clone());
        let is_claimed = fence.is_some();
        let refused = self.parts.commits.refused(&partition, topic_id);
        let assignment = Assignment { partition, token, restored, fence, refused, topic_id, lease, wake };
        let inbox = self.parts.owners.assign(assignment);
        let mut feed = Feed::new(inbox, token, topic_id, queue, start);
        if is_claimed {
            feed.mend = MEND_BESIDE_DATABASE;
        }
        // Where an operator had it go on below, the position is of the time before.
        if let Some(position) = position.filter(|position| position.offset <= start) {
            feed.check_at(position, floor);
        }
        if let Some(reason) = fault {
            feed.stop_reading(&reason);
        }
        self.feeds.push(feed);
    }

    pub(super) fn queue_of(&self, partition: &TopicPartition) -> Option<PartitionQueue<Group>> {
        let doorbell = self.parts.shared.doorbell.clone();
        let ring = Box::new(move || doorbell.ring());
        let queue = PartitionQueue::split(&self.parts.consumer, partition.clone(), ring);
        if queue.is_none() {
            tracing::error!(%partition, "the client has no queue for this partition; trying again");
        }
        queue
    }

    /// Puts partitions down: they finish what runs, their final progress is committed, and their
    /// owners end. What is lost already belongs to others, so it is dropped at once.
    fn give_up(&mut self, partitions: &[TopicPartition], lost: bool) -> TopicPartitionList {
        for partition in partitions {
            self.waiting.remove(partition);
            if let Some(token) = self.takes.as_mut().and_then(|takes| takes.forget(partition)) {
                self.parts.commits.forget(token);
            }
        }
        let wanted = |feed: &Feed| partitions.contains(&feed.partition);
        let (gone, list) = self.take_out(wanted);
        let lost = lost || (!gone.is_empty() && !self.parts.commits.lease().holds());
        if !lost {
            let limit = Instant::now() + self.parts.config.drain_limit;
            let until = self.parts.shared.stop_at().map_or(limit, |stop_at| limit.min(stop_at));
            drain(&gone, &self.feeds, &mut self.parts.commits, &self.parts.shared, until);
            self.parts.commits.cut_last(&gone, &self.feeds, FINAL_COMMIT_LIMIT);
        }
        let partings = reap(gone);
        if !lost && self.parts.commits.lease().holds() {
            self.parts.commits.finish(&partings, FINAL_COMMIT_LIMIT);
        }
        self.forget(&partings);
        // Not before: of a partition of which a cut is in doubt nothing more may be cut.
        partitions.iter().for_each(|partition| self.parts.commits.forget_refused(partition));
        list
    }

    /// Takes feeds out, and lists those of them that the client fetches.
    fn take_out(&mut self, wanted: impl Fn(&Feed) -> bool) -> (Vec<Feed>, TopicPartitionList) {
        let (gone, kept): (Vec<Feed>, Vec<Feed>) =
            std::mem::take(&mut self.feeds).into_iter().partition(wanted);
        self.feeds = kept;
        let mut list = TopicPartitionList::with_capacity(gone.len());
        for feed in gone.iter().filter(|feed| feed.is_fetched()) {
            list.add_partition(&feed.partition.topic, feed.partition.partition);
        }
        (gone, list)
    }

    fn forget(&mut self, partings: &[Parting]) {
        for parting in partings {
            self.parts.commits.forget(parting.token);
            self.parts.topics.forget_edges(&parting.partition);
        }
    }

    /// Partitions whose proof of life is out may belong to others: they are dropped, nothing is committed,
    /// and they wait until the membership is proven anew.
    pub(super) fn drop_what_expired(&mut self) -> Result<(), Failure> {
        let holds = self.parts.commits.lease().holds();
        let expired: BTreeSet<TopicPartition> = self
            .feeds
            .iter()
            .filter(|feed| !holds || feed.inbox.ownership() == Ownership::Expired)
            .map(|feed| feed.partition.clone())
            .collect();
        if expired.is_empty() {
            return Ok(());
        }
        let group = self.parts.config.group.clone();
        let term = self.parts.commits.lease().term();
        tracing::error!(
            group,
            ?term,
            partitions = names(&expired),
            "no commit was acknowledged within the session time-out: the partitions may belong to others. \
             They are dropped, and taken anew when a commit is acknowledged"
        );
        metrics::counter!("keylane_kafka_leases_expired_total", "group" => group).increment(1);
        self.drop_and_wait(&expired)
    }

    /// Partitions of topics that were deleted and made again.
    pub(super) fn drop_what_was_made_anew(&mut self) -> Result<(), Failure> {
        let topics = &self.parts.topics;
        let other = |feed: &&Feed| {
            topics.id_of(&feed.partition.topic).is_some_and(|id| id.contradicts(&feed.topic_id))
        };
        let anew: BTreeSet<TopicPartition> =
            self.feeds.iter().filter(other).map(|feed| feed.partition.clone()).collect();
        if anew.is_empty() {
            return Ok(());
        }
        tracing::error!(
            partitions = names(&anew),
            "the topic was deleted and made again: what is buffered belongs to the former one and is dropped"
        );
        self.drop_and_wait(&anew)
    }

    /// Drops partitions as if they were lost, and has them wait to be taken anew.
    pub(super) fn drop_and_wait(&mut self, partitions: &BTreeSet<TopicPartition>) -> Result<(), Failure> {
        self.hear_the_group_out()?;
        // What the group has revoked meanwhile is neither dropped nor waited for.
        let (gone, list) = self.take_out(|feed| partitions.contains(&feed.partition));
        self.waiting.extend(gone.iter().map(|feed| feed.partition.clone()));
        // At once: a revocation that comes in between would be taken as answered by this call.
        self.unassign_unasked(&list)?;
        let partings = reap(gone);
        self.forget(&partings);
        self.next_settle = Instant::now();
        Ok(())
    }

    /// Answers all that the group has said so far. Whoever puts partitions down unasked calls this first
    /// and looks for them again after it: they may be gone, and to put them down twice is an error that
    /// ends the intake.
    pub(super) fn hear_the_group_out(&mut self) -> Result<(), Failure> {
        self.empty_client_queue(false)?;
        while !self.changes.is_empty() {
            for change in std::mem::take(&mut self.changes) {
                self.answer(change)?;
            }
            self.empty_client_queue(false)?;
        }
        Ok(())
    }

    /// Stops fetching partitions that the group has not asked for, right after
    /// [`Self::hear_the_group_out`]. See the head of this file.
    pub(super) fn unassign_unasked(&mut self, list: &TopicPartitionList) -> Result<(), Failure> {
        self.parts
            .consumer
            .incremental_unassign(list)
            .map_err(|error| Failure::ForGood(format!("partitions could not be put down: {error}")))?;
        self.empty_client_queue(true)
    }

    /// Starts fetching partitions outside the answer to an assignment.
    pub(super) fn assign_unasked(&mut self, list: &TopicPartitionList) -> Result<(), Failure> {
        self.parts
            .consumer
            .incremental_assign(list)
            .map_err(|error| Failure::ForGood(format!("partitions could not be taken: {error}")))?;
        // The call also ends the client's memory of a loss that is not told yet.
        self.empty_client_queue(true)
    }

    /// Serves the client until it has nothing more to say.
    fn empty_client_queue(&mut self, in_doubt: bool) -> Result<(), Failure> {
        for _ in 0..EVENTS_MAX {
            match self.parts.consumer.poll(Duration::ZERO) {
                // A change of the group ends a poll like an empty queue does: the notes tell them apart.
                None => {
                    let before = self.changes.len();
                    self.hear_changes(in_doubt);
                    if self.changes.len() == before {
                        return Ok(());
                    }
                }
                Some(Ok(message)) => keep_stray(&mut self.feeds, &message),
                Some(Err(ClientError::MessageConsumptionFatal(code))) => {
                    return Err(gave_up(code));
                }
                Some(Err(error)) => self.parts.lookout.heard(&error),
            }
        }
        Ok(())
    }
}

pub(super) fn names<'a>(partitions: impl IntoIterator<Item = &'a TopicPartition>) -> String {
    partitions.into_iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}
