//! One partition's queue: its records, where its log ends, and what went wrong with it.

use std::ffi::CString;
use std::ptr::null_mut;
use std::sync::Arc;

use keylane_engine::{Event, TopicPartition};
use rdkafka::bindings as raw;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::RDKafkaErrorCode as Code;

use super::queue::{Queue, Ring};
use super::record::{Record, copy, leader_epoch};
use super::{text_of, told};

/// What stands next in a partition's queue.
#[derive(Debug)]
pub(crate) enum Fetched {
    Record {
        event: Event,
        leader_epoch: Option<i32>,
    },
    /// The client has read everything up to here, and there is no more for now. What lies below and never
    /// came was compacted away, belongs to an aborted transaction, or is the marker of one.
    End {
        offset: i64,
    },
    Error {
        code: Code,
        /// The client's own words.
        reason: String,
    },
}

/// The queue of one partition, split off from the client's common one. Only one of a partition may be
/// used at a time: two share one place for the callback.
///
/// It keeps its consumer alive; drop it before the consumer is to leave its group.
pub(crate) struct PartitionQueue<C: ConsumerContext> {
    /// Dropped before the consumer.
    queue: Queue,
    partition: TopicPartition,
    _consumer: Arc<BaseConsumer<C>>,
}

impl<C: ConsumerContext> PartitionQueue<C> {
    /// Splits the queue off. To be called before the partition is assigned, so that none of its records
    /// can come through the common queue. None for a name that no topic can have.
    pub(crate) fn split(
        consumer: &Arc<BaseConsumer<C>>,
        partition: TopicPartition,
        ring: Ring,
    ) -> Option<Self> {
        let topic = CString::new(&*partition.topic).ok()?;
        // SAFETY: the client is alive, the string NUL-terminated, and the reference handed out our own.
        let mut queue = unsafe {
            let client = consumer.client().native_ptr();
            let queue = raw::rd_kafka_queue_get_partition(client, topic.as_ptr(), partition.partition);
            let queue = Queue::adopt(queue)?;
            raw::rd_kafka_queue_forward(queue.ptr(), null_mut());
            queue
        };
        queue.ring_on_news(ring);
        Some(Self { queue, partition, _consumer: consumer.clone() })
    }

    /// What stands next, if anything does. Never blocks. Of the polling thread only.
    ///
    /// One record at a time: the call for many moves the client's position past the end of the log when
    /// it meets one (librdkafka before 2.13.2), and the next pause would skip a record.
    pub(crate) fn poll(&self) -> Option<Fetched> {
        // SAFETY: the queue is alive; what it hands out is our own and lives no longer than this call.
        let record = unsafe { Record::adopt(raw::rd_kafka_consume_queue(self.queue.ptr(), 0)) }?;
        let message = record.get();
        Some(match told(message.err) {
            None => {
                Fetched::Record { event: copy(&self.partition, message), leader_epoch: leader_epoch(message) }
            }
            Some(Code::PartitionEOF) => Fetched::End { offset: message.offset },
            Some(code) => Fetched::Error {
                code,
                // SAFETY: the words live as long as the message.
                reason: unsafe { text_of(raw::rd_kafka_message_errstr(message)) },
            },
        })
    }
}

/// The offset after the newest record, as the latest fetch told it. None before the first.
pub(crate) fn known_high_watermark<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    partition: &TopicPartition,
) -> Option<i64> {
    let topic = CString::new(&*partition.topic).ok()?;
    let (mut low, mut high) = (-1, -1);
    // SAFETY: the client is alive and the string is NUL-terminated. Nothing is kept.
    let code = unsafe {
        raw::rd_kafka_get_watermark_offsets(
            consumer.client().native_ptr(),
            topic.as_ptr(),
            partition.partition,
            &raw mut low,
            &raw mut high,
        )
    };
    (told(code).is_none() && high >= 0).then_some(high)
}
