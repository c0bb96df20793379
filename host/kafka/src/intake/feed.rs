//! One assigned partition between the client's queue and its owner's inbox.
//!
//! Each partition has a queue of its own, split off before the partition is assigned. A partition whose
//! inbox is full is simply not polled: its queue fills to its limits, the client stops fetching it, and
//! nothing else notices. The alternative is one queue for all and `pause` for the full one. A pause
//! throws away what was prefetched and fetches it again from the application's position, and what stands
//! in the common queue before the pause must be held somewhere all the same. Measured on Apache Kafka 4.3,
//! 8 partitions of 150,000 records of 200 bytes, one of which takes 2,000 records every 20 ms: with queues
//! of their own 3.2 s, 1.3 s of CPU and 280 MiB received; with `pause` 31 s for the slow partition, 1.9 s
//! of CPU and 410 MiB received.

use std::sync::Arc;
use std::time::Instant;

use keylane_engine::{
    Delivery, Event, Inbox, LeaderEpochs, LogPosition, Ownership, Parting as OwnerParting, Progress, Token,
    TopicId, TopicPartition,
};
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::message::BorrowedMessage;

use super::group::Group;
use super::loss::{Loss, MEND};
use crate::native::{self, Fetched, PartitionQueue};

/// The most records one partition hands over before the others get their turn.
const BATCH_RECORDS: usize = 256;
/// The most bytes of keys and values in one batch; the last record may pass it.
const BATCH_BYTES: usize = 512 * 1024;

/// The position is not in the log, says the broker. Whether that is so, and why, is asked before anything
/// is decided: the word may be a late one of an earlier assignment, or the topic may be another one now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    /// The client's own words.
    pub(super) reason: String,
    /// The log was cut and may have been written on: where it ends says nothing any more.
    pub(super) is_cut: bool,
    /// When it was asked about, if it was.
    pub(super) asked: Option<Instant>,
}

impl Trouble {
    /// Between the last record and the floor there were only markers, or what was compacted away.
    fn cut_at(offset: i64) -> Self {
        Self { reason: format!("a record at {offset}, where none was read"), is_cut: true, asked: None }
    }
}

/// One assignment of one partition. Owned by the polling thread; dropping it tells the owner that the
/// partition is gone.
pub(super) struct Feed {
    pub(super) partition: TopicPartition,
    pub(super) token: Token,
    pub(super) topic_id: TopicId,
    /// Dropped before the inbox: it must be silent when the partition is assigned anew. None only while
    /// another one is made.
    queue: Option<PartitionQueue<Group>>,
    pub(super) inbox: Inbox,
    /// Read and not delivered yet: what an inbox without room gave back.
    held: Vec<Event>,
    /// The offset after the last one that the client has passed.
    pub(super) next: i64,
    /// What the owner knows of it.
    told_next: i64,
    pub(super) trouble: Option<Trouble>,
    /// To be set with its leader before anything is read, so that the client asks the broker whether the log was
    /// cut below. It may lie below what is read first: what comes from there is passed over.
    pub(super) unchecked: Option<LogPosition>,
    /// Of what comes below it nothing was a record when it was read.
    floor: i64,
    /// Passed by the last change of the position, and not told yet.
    loss: Option<Loss>,
    /// Why this partition is not read any more.
    pub(super) fault: Option<String>,
    /// What an operator can do where records cannot be read.
    pub(super) mend: &'static str,
}

/// What is left of a feed that was given up: its last word to the coordinator.
pub(super) struct Parting {
    pub(super) partition: TopicPartition,
    pub(super) token: Token,
    pub(super) progress: Progress,
    /// The leaders of what was read.
    pub(super) epochs: Arc<LeaderEpochs>,
    /// Another host may have the partition: its progress is not to be committed.
    pub(super) is_lost: bool,
    /// Tells when its owner, and all that ran, is gone.
    pub(super) owner: OwnerParting,
}

impl Feed {
    /// A feed that reads from `start` on.
    pub(super) fn new(
        inbox: Inbox,
        token: Token,
        topic_id: TopicId,
        queue: PartitionQueue<Group>,
        start: i64,
    ) -> Self {
        Self {
            partition: inbox.partition().clone(),
            token,
            topic_id,
            queue: Some(queue),
            inbox,
            held: Vec::new(),
            next: start,
            told_next: start,
            trouble: None,
            unchecked: None,
            floor: start,
            loss: None,
            fault: None,
            mend: MEND,
        }
    }

    /// Moves at most one batch from the client to the owner. Answers how many records moved.
    pub(super) fn serve(&mut self) -> usize {
        if self.fault.is_some() || self.trouble.is_some() || self.unchecked.is_some() {
            return 0;
        }
        match self.inbox.ownership() {
            Ownership::Faulted => {
                self.stop_reading("its owner stopped on a fault of the host; see the log before this line");
                return 0;
            }
            // The thread sees to it.
            ownership if ownership.is_lost() => return 0,
            _ => {}
        }
        if !self.inbox.has_room() {
            return 0;
        }
        let mut events = std::mem::take(&mut self.held);
        let passed = self.read_into(&mut events);
        self.deliver(events) + passed
    }

    fn deliver(&mut self, events: Vec<Event>) -> usize {
        let records = events.len();
        if records == 0 && self.next == self.told_next {
            return 0;
        }
        let next = self.next;
        match self.inbox.deliver(Delivery { events, next }) {
            Ok(()) => {
                self.told_next = next;
                if let Some(loss) = self.loss.take() {
                    loss.tell(&self.partition);
                }
                records
            }
            Err(refused) => {
                self.held = refused.events;
                0
            }
        }
    }

    /// Answers how many records were passed over, because what comes first lies above them.
    fn read_into(&mut self, events: &mut Vec<Event>) -> usize {
        let (mut bytes, mut passed) = (0, 0);
        while events.len() + passed < BATCH_RECORDS && bytes < BATCH_BYTES {
            match self.queue.as_ref().and_then(PartitionQueue::poll) {
                None => break,
                Some(Fetched::Record { event, leader_epoch }) => {
                    bytes += event.weight_bytes();
                    self.note(event.offset, leader_epoch);
                    if event.offset < self.next {
                        if event.offset < self.floor {
                            self.trouble = Some(Trouble::cut_at(event.offset));
                            break;
                        }
                        passed += 1;
                        continue;
                    }
                    self.next = event.offset + 1;
                    events.push(event);
                }
                // The log's end may lie behind records that never come, the marker of a transaction among
                // them. A word of an earlier assignment may lie before.
                Some(Fetched::End { offset }) => {
                    self.inbox.leader_epochs().reach(offset);
                    self.next = self.next.max(offset);
                }
                Some(Fetched::Error { code, reason }) => {
                    self.fail(code, reason);
                    if self.fault.is_some() || self.trouble.is_some() {
                        break;
                    }
                }
            }
        }
        passed
    }

    fn note(&self, offset: i64, leader_epoch: Option<i32>) {
        self.inbox.leader_epochs().note(offset, leader_epoch);
    }

    /// Has the log checked at this place, at or below the floor, before anything is read.
    pub(super) fn check_at(&mut self, position: LogPosition, floor: i64) {
        // Who ends before anything is read tells the leader that was known before.
        self.note(position.offset - 1, Some(position.leader_epoch));
        self.inbox.leader_epochs().reach(floor);
        (self.unchecked, self.floor) = (Some(position), floor);
    }

    /// Looks for errors before anything is read. A record that stands before them is passed over: it will be
    /// fetched again from the place that is to be checked, or from [`Self::next`].
    pub(super) fn hear_errors(&mut self) {
        for _ in 0..BATCH_RECORDS {
            match self.queue.as_ref().and_then(PartitionQueue::poll) {
                None => return,
                Some(Fetched::Record { .. } | Fetched::End { .. }) => {}
                Some(Fetched::Error { code, reason }) => self.fail(code, reason),
            }
        }
    }

    fn fail(&mut self, code: Code, reason: String) {
        match failure(code) {
            Failure::Position => {
                let is_cut = tells_of_truncation(code, &reason);
                self.trouble = Some(Trouble { reason, is_cut, asked: None });
            }
            Failure::Unreadable => {
                let (at, mend) = (self.next, self.mend);
                self.stop_reading(&format!(
                    "offset {at} is damaged, or of a kind that this client cannot read. {mend} ({reason})"
                ));
            }
            Failure::Passing => {
                tracing::warn!(partition = %self.partition, %code, reason, "reading failed; the client tries again");
            }
        }
    }

    /// The client's queue is taken away, to be made anew; what was read and not delivered stays.
    pub(super) fn put_queue_down(&mut self) {
        self.queue = None;
    }

    /// Reads on from `next` with a new queue. The owner goes on: it learns that nothing below will come, and
    /// what was lost there is told with the next delivery. Of a log that begins behind what was read nothing is
    /// left to check.
    pub(super) fn read_on(&mut self, queue: PartitionQueue<Group>, next: i64, loss: Option<Loss>) {
        if loss.is_some() {
            self.unchecked = None;
        }
        self.queue = Some(queue);
        self.next = next;
        self.loss = loss;
        self.trouble = None;
    }

    /// Whether the client fetches this partition.
    pub(super) fn is_fetched(&self) -> bool {
        self.queue.is_some()
    }

    /// Tells the partition's owner to end; what runs is being broken off. Answers its last word.
    pub(super) fn part(self) -> Parting {
        let Self { partition, token, queue, inbox, .. } = self;
        drop(queue);
        let is_lost = inbox.ownership().is_lost();
        let (progress, epochs) = (inbox.progress(), inbox.leader_epochs().clone());
        Parting { partition, token, progress, epochs, is_lost, owner: inbox.part() }
    }

    /// A record that came through the client's common queue. It stands before those in the own queue.
    pub(super) fn hold(&mut self, message: &BorrowedMessage<'_>) {
        let event = native::event_of(&self.partition, message);
        self.note(event.offset, native::leader_epoch_of(message));
        self.next = event.offset + 1;
        self.held.push(event);
    }

    /// What was delivered goes on and is committed; nothing further is read.
    pub(super) fn stop_reading(&mut self, reason: &str) {
        tracing::error!(partition = %self.partition, reason, "the partition is not read any more");
        metrics::counter!("keylane_kafka_partition_faults_total", "topic" => self.partition.topic.to_string())
            .increment(1);
        self.fault = Some(reason.to_owned());
        self.trouble = None;
    }

    /// Why this partition does not go on, if it does not: its own fault, or its policy's word.
    pub(super) fn stopped(&self) -> Option<String> {
        match (&self.fault, self.inbox.ownership()) {
            (Some(fault), _) => Some(fault.clone()),
            (None, Ownership::Halted { reason }) => Some(format!("halted: {reason}")),
            (None, _) => None,
        }
    }
}

/// What an error of a partition's queue means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    /// The position is not in the log.
    Position,
    /// What lies there cannot be read, and the client would pass over it.
    Unreadable,
    /// The client tries again by itself.
    Passing,
}

fn failure(code: Code) -> Failure {
    match code {
        Code::AutoOffsetReset | Code::OffsetOutOfRange | Code::LogTruncation => Failure::Position,
        Code::BadMessage | Code::BadCompression | Code::NotImplemented => Failure::Unreadable,
        _ => Failure::Passing,
    }
}

/// The client finds a truncated log by its leader epochs (KIP-320), and says so in words only when it has
/// no offset to go back to.
fn tells_of_truncation(code: Code, reason: &str) -> bool {
    code == Code::LogTruncation || reason.contains("log truncation")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_truncated_log_is_told_from_a_position_outside_of_it() {
        let words = "Partition log truncation detected at offset 100 (leader epoch 3)";
        assert!(tells_of_truncation(Code::AutoOffsetReset, words));
        assert!(tells_of_truncation(Code::LogTruncation, ""));
        assert!(!tells_of_truncation(
            Code::AutoOffsetReset,
            "fetch failed due to requested offset not available"
        ));
    }

    #[test]
    fn what_would_be_skipped_stops_the_partition() {
        for lost in [Code::AutoOffsetReset, Code::OffsetOutOfRange, Code::LogTruncation] {
            assert_eq!(failure(lost), Failure::Position, "{lost:?}");
        }
        for damaged in [Code::BadMessage, Code::BadCompression, Code::NotImplemented] {
            assert_eq!(failure(damaged), Failure::Unreadable, "{damaged:?}");
        }
        for passing in [Code::BrokerTransportFailure, Code::TopicAuthorizationFailed] {
            assert_eq!(failure(passing), Failure::Passing, "{passing:?}");
        }
    }
}
