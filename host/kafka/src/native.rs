//! The few calls that the client's safe interface lacks, each wrapped so that its callers need no
//! unsafe code. The only file of this room with any.
//!
//! - Commits with an answer: the safe interface offers either a call that blocks for as long as the
//!   coordinator is away, or one that never says what became of it.
//! - Header names: the safe interface panics on one that is not UTF-8, and any producer may write one.
//! - High watermarks that the client already knows from its fetches.

#![allow(unsafe_code, reason = "calls into librdkafka that its safe wrapper lacks or gets wrong")]

use std::ffi::{CStr, CString};
use std::ptr::{NonNull, null_mut};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use keylane_engine::Header;
use rdkafka::TopicPartitionList;
use rdkafka::bindings as raw;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::message::BorrowedMessage;

/// What the coordinator said of one partition of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartitionAnswer {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) error: Option<Code>,
}

/// What the coordinator said of one commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommitAnswer {
    /// An error of the whole commit.
    pub(crate) error: Option<Code>,
    pub(crate) partitions: Vec<PartitionAnswer>,
}

/// Hands commits to the client and takes the answers. Handing over never blocks.
///
/// It keeps its consumer alive; drop it before the consumer is to leave its group.
pub(crate) struct CommitQueue<C: ConsumerContext> {
    queue: NonNull<raw::rd_kafka_queue_t>,
    consumer: Arc<BaseConsumer<C>>,
}

// SAFETY: librdkafka's queues may be used and destroyed from any thread.
unsafe impl<C: ConsumerContext> Send for CommitQueue<C> {}

impl<C: ConsumerContext> CommitQueue<C> {
    /// None only where the client has no memory for it.
    pub(crate) fn new(consumer: Arc<BaseConsumer<C>>) -> Option<Self> {
        // SAFETY: the client lives at least as long as `consumer`, which this value holds.
        let queue = unsafe { raw::rd_kafka_queue_new(consumer.client().native_ptr()) };
        NonNull::new(queue).map(|queue| Self { queue, consumer })
    }

    /// Hands over the offsets. Exactly one answer will follow, however late.
    pub(crate) fn hand_over(&self, offsets: &TopicPartitionList) -> Result<(), Code> {
        // SAFETY: client, list and queue are alive; the client copies the list before it returns, and
        // without a callback the answer comes as an event on the queue.
        let code = unsafe {
            raw::rd_kafka_commit_queue(
                self.consumer.client().native_ptr(),
                offsets.ptr(),
                self.queue.as_ptr(),
                None,
                null_mut(),
            )
        };
        told(code).map_or(Ok(()), Err)
    }

    /// The next answer, if one comes within the limit.
    pub(crate) fn answer(&self, limit: Duration) -> Option<CommitAnswer> {
        let limit_ms = i32::try_from(limit.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the queue is alive, and the event is owned here until it is destroyed below.
        let event = NonNull::new(unsafe { raw::rd_kafka_queue_poll(self.queue.as_ptr(), limit_ms) })?;
        // SAFETY: the event is alive. Lists that belong to it are read before it is destroyed.
        unsafe {
            let is_commit = raw::rd_kafka_event_type(event.as_ptr()) == raw::RD_KAFKA_EVENT_OFFSET_COMMIT;
            let answer = is_commit.then(|| CommitAnswer {
                error: told(raw::rd_kafka_event_error(event.as_ptr())),
                partitions: partitions_of(raw::rd_kafka_event_topic_partition_list(event.as_ptr())),
            });
            raw::rd_kafka_event_destroy(event.as_ptr());
            answer
        }
    }
}

impl<C: ConsumerContext> Drop for CommitQueue<C> {
    fn drop(&mut self) {
        // SAFETY: made by `new`, destroyed once, and the client is still alive.
        unsafe { raw::rd_kafka_queue_destroy(self.queue.as_ptr()) }
    }
}

fn told(code: raw::rd_kafka_resp_err_t) -> Option<Code> {
    match Code::from(code) {
        Code::NoError => None,
        error => Some(error),
    }
}

/// # Safety
/// `list` is null or a list that stays alive during the call.
unsafe fn partitions_of(list: *mut raw::rd_kafka_topic_partition_list_t) -> Vec<PartitionAnswer> {
    // SAFETY: promised by the caller.
    let Some(list) = (unsafe { list.as_ref() }) else { return Vec::new() };
    let count = usize::try_from(list.cnt).unwrap_or(0);
    if count == 0 || list.elems.is_null() {
        return Vec::new();
    }
    // SAFETY: the list says that `elems` holds `cnt` elements. Their metadata is not looked at.
    let elements = unsafe { std::slice::from_raw_parts(list.elems, count) };
    elements
        .iter()
        .map(|element| PartitionAnswer {
            // SAFETY: a topic is always a NUL-terminated string.
            topic: unsafe { CStr::from_ptr(element.topic) }.to_string_lossy().into_owned(),
            partition: element.partition,
            offset: element.offset,
            error: told(element.err),
        })
        .collect()
}

/// A record's headers, in order. A name that is not UTF-8 is shown with replacement characters.
pub(crate) fn headers_of(message: &BorrowedMessage<'_>) -> Vec<Header> {
    let mut headers = null_mut();
    // SAFETY: the message is alive, and the headers it hands out belong to it.
    let code = unsafe { raw::rd_kafka_message_headers(message.ptr(), &raw mut headers) };
    if told(code).is_some() || headers.is_null() {
        return Vec::new();
    }
    // SAFETY: as above.
    let count = unsafe { raw::rd_kafka_header_cnt(headers) };
    (0..count).filter_map(|index| header_at(message, headers, index)).collect()
}

/// `_owner` is what `headers` belongs to: it must be alive.
fn header_at(
    _owner: &BorrowedMessage<'_>,
    headers: *const raw::rd_kafka_headers_t,
    index: usize,
) -> Option<Header> {
    let (mut name, mut value, mut length) = (std::ptr::null(), std::ptr::null(), 0);
    // SAFETY: the headers belong to the message; name and value stay valid as long as they do.
    unsafe {
        let code =
            raw::rd_kafka_header_get_all(headers, index, &raw mut name, &raw mut value, &raw mut length);
        if told(code).is_some() || name.is_null() {
            return None;
        }
        let name = CStr::from_ptr(name).to_string_lossy().into_owned();
        let value = (!value.is_null())
            .then(|| Bytes::copy_from_slice(std::slice::from_raw_parts(value.cast::<u8>(), length)));
        Some(Header { name, value })
    }
}

/// The offset after the newest record, as the latest fetch told it. None before the first.
pub(crate) fn known_high_watermark<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    partition: i32,
) -> Option<i64> {
    let topic = CString::new(topic).ok()?;
    let (mut low, mut high) = (-1, -1);
    // SAFETY: the client is alive and the string is NUL-terminated. Nothing is kept.
    let code = unsafe {
        raw::rd_kafka_get_watermark_offsets(
            consumer.client().native_ptr(),
            topic.as_ptr(),
            partition,
            &raw mut low,
            &raw mut high,
        )
    };
    (told(code).is_none() && high >= 0).then_some(high)
}
