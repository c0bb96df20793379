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
use std::time::Duration;

use bytes::BytesMut;
use keylane_engine::{Event, Inbox, Ownership, Timestamp, TimestampKind, TopicPartition};
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::message::BorrowedMessage;
use rdkafka::{Message, Timestamp as ClientTimestamp};

use super::Doorbell;
use super::group::Group;
use crate::native;

/// The most records one partition hands over before the others get their turn.
const BATCH_RECORDS: usize = 256;
/// The most bytes of keys and values in one batch; the last record may pass it.
const BATCH_BYTES: usize = 512 * 1024;

/// One assignment of one partition. Owned by the polling thread; dropping it tells the owner that the
/// partition is gone.
pub(super) struct Feed {
    pub(super) partition: TopicPartition,
    /// Dropped before the inbox: it must be silent when the partition is assigned anew.
    queue: PartitionQueue<Group>,
    pub(super) inbox: Inbox,
    /// Read and not delivered yet: what an inbox without room gave back.
    held: Vec<Event>,
    /// The offset after the last one read.
    next: i64,
    /// What the group's coordinator is known to have.
    pub(super) acknowledged: Option<i64>,
    /// Why this partition is not read any more.
    pub(super) fault: Option<String>,
}

impl Feed {
    /// A feed that starts at `start`, which is what the group has committed.
    pub(super) fn new(
        inbox: Inbox,
        mut queue: PartitionQueue<Group>,
        start: i64,
        doorbell: Arc<Doorbell>,
    ) -> Self {
        queue.set_nonempty_callback(move || doorbell.ring());
        Self {
            partition: inbox.partition().clone(),
            queue,
            inbox,
            held: Vec::new(),
            next: start,
            acknowledged: Some(start),
            fault: None,
        }
    }

    /// How far this partition is: every offset below has ended.
    pub(super) fn position(&self) -> i64 {
        self.inbox.position().watermark.or(self.acknowledged).unwrap_or(self.next)
    }

    /// The position, where the coordinator does not have it yet.
    pub(super) fn uncommitted(&self) -> Option<i64> {
        self.inbox.position().watermark.filter(|watermark| Some(*watermark) != self.acknowledged)
    }

    /// Moves at most one batch from the client to the owner. Answers how many records moved.
    pub(super) fn serve(&mut self) -> usize {
        if self.fault.is_some() {
            return 0;
        }
        if self.inbox.ownership() == Ownership::Faulted {
            self.stop_reading("its owner stopped on a fault of the host; see the log before this line");
            return 0;
        }
        if !self.inbox.has_room() {
            return 0;
        }
        let mut batch = std::mem::take(&mut self.held);
        self.read_into(&mut batch);
        let records = batch.len();
        if records == 0 {
            return 0;
        }
        match self.inbox.deliver(batch) {
            Ok(()) => records,
            Err(batch) => {
                self.held = batch;
                0
            }
        }
    }

    fn read_into(&mut self, batch: &mut Vec<Event>) {
        let mut bytes = 0;
        while batch.len() < BATCH_RECORDS && bytes < BATCH_BYTES {
            match self.queue.poll(Duration::ZERO) {
                None => return,
                Some(Ok(message)) => {
                    bytes += message.key_len() + message.payload_len();
                    self.next = message.offset() + 1;
                    batch.push(event_of(&self.partition, &message));
                }
                Some(Err(error)) => {
                    if let Some(fault) = fault(error.rdkafka_error_code()) {
                        let told = format!(
                            "offset {} {fault}. Nothing is skipped silently: set the group's offset with \
                             kafka-consumer-groups --reset-offsets, then restart ({error})",
                            self.next
                        );
                        self.stop_reading(&told);
                        return;
                    }
                    tracing::warn!(partition = %self.partition, %error, "reading failed; the client tries again");
                }
            }
        }
    }

    /// Ends the partition's owner, and waits for that. Answers whether it has ended in time.
    pub(super) fn close(self, limit: Duration) -> bool {
        let Self { queue, inbox, .. } = self;
        drop(queue);
        inbox.close(limit)
    }

    /// A record that came through the client's common queue. It stands before those in the own queue.
    pub(super) fn hold(&mut self, message: &BorrowedMessage<'_>) {
        self.next = message.offset() + 1;
        self.held.push(event_of(&self.partition, message));
    }

    /// What was delivered goes on and is committed; nothing further is read.
    fn stop_reading(&mut self, reason: &str) {
        tracing::error!(partition = %self.partition, reason, "the partition is not read any more");
        metrics::counter!("keylane_kafka_partition_faults_total", "topic" => self.partition.topic.to_string())
            .increment(1);
        self.fault = Some(reason.to_owned());
    }
}

/// What is wrong with the position itself or with what lies there, if reading on would skip records:
/// the client passes over a batch that it cannot read.
fn fault(code: Option<Code>) -> Option<&'static str> {
    match code? {
        Code::AutoOffsetReset | Code::OffsetOutOfRange | Code::LogTruncation => {
            Some("is not in the log: records were lost to retention, or the topic was made anew")
        }
        Code::BadMessage | Code::BadCompression | Code::NotImplemented => {
            Some("is damaged, or of a kind that this client cannot read")
        }
        _ => None,
    }
}

/// Copies a record out of the client's memory: one allocation for key and value together.
fn event_of(partition: &TopicPartition, message: &BorrowedMessage<'_>) -> Event {
    let mut body = BytesMut::with_capacity(message.key_len() + message.payload_len());
    body.extend_from_slice(message.key().unwrap_or_default());
    body.extend_from_slice(message.payload().unwrap_or_default());
    let mut body = body.freeze();
    Event {
        source: partition.clone(),
        offset: message.offset(),
        timestamp: timestamp_of(message.timestamp()),
        key: message.key().map(|key| body.split_to(key.len())),
        value: message.payload().map(|_| body),
        headers: native::headers_of(message),
    }
}

fn timestamp_of(timestamp: ClientTimestamp) -> Option<Timestamp> {
    match timestamp {
        ClientTimestamp::NotAvailable => None,
        ClientTimestamp::CreateTime(at_ms) => Some(Timestamp { at_ms, kind: TimestampKind::CreateTime }),
        ClientTimestamp::LogAppendTime(at_ms) => {
            Some(Timestamp { at_ms, kind: TimestampKind::LogAppendTime })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_skipped_is_a_fault() {
        for lost in [Code::AutoOffsetReset, Code::OffsetOutOfRange, Code::BadMessage, Code::BadCompression] {
            assert!(fault(Some(lost)).is_some(), "{lost:?}");
        }
        for passing in [Code::BrokerTransportFailure, Code::TopicAuthorizationFailed] {
            assert!(fault(Some(passing)).is_none(), "{passing:?}");
        }
        assert!(fault(None).is_none());
    }
}
