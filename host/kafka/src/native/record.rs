//! A record out of the client's memory.

use std::ffi::CStr;
use std::ptr::{NonNull, null, null_mut};

use bytes::{Bytes, BytesMut};
use keylane_engine::{Event, Header, Timestamp, TimestampKind, TopicPartition};
use rdkafka::bindings as raw;
use rdkafka::message::BorrowedMessage;

use super::told;

/// A record of the client's, destroyed with this value.
pub(super) struct Record(NonNull<raw::rd_kafka_message_t>);

impl Record {
    /// Takes over what the client has just handed out.
    ///
    /// # Safety
    /// `message` is null or the caller's own, and its client outlives the answer.
    pub(super) unsafe fn adopt(message: *mut raw::rd_kafka_message_t) -> Option<Self> {
        NonNull::new(message).map(Self)
    }

    pub(super) fn get(&self) -> &raw::rd_kafka_message_t {
        // SAFETY: owned by this value.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        // SAFETY: owned by this value, destroyed once.
        unsafe { raw::rd_kafka_message_destroy(self.0.as_ptr()) }
    }
}

/// Copies a record out of the client's memory.
pub(crate) fn event_of(partition: &TopicPartition, message: &BorrowedMessage<'_>) -> Event {
    // SAFETY: the message is alive during the call.
    copy(partition, unsafe { &*message.ptr() })
}

/// The epoch of the leader that took the record, where the broker tells it.
pub(crate) fn leader_epoch_of(message: &BorrowedMessage<'_>) -> Option<i32> {
    // SAFETY: the message is alive during the call.
    leader_epoch(unsafe { &*message.ptr() })
}

pub(super) fn leader_epoch(message: &raw::rd_kafka_message_t) -> Option<i32> {
    // SAFETY: the message is alive.
    let told = unsafe { raw::rd_kafka_message_leader_epoch(message) };
    (told >= 0).then_some(told)
}

/// One allocation for key and value together.
pub(super) fn copy(partition: &TopicPartition, message: &raw::rd_kafka_message_t) -> Event {
    // SAFETY: the message says how many bytes each holds.
    let (key, value) =
        unsafe { (bytes_at(message.key, message.key_len), bytes_at(message.payload, message.len)) };
    let (key_length, value_length) = (key.map_or(0, <[u8]>::len), value.map_or(0, <[u8]>::len));
    let mut body = BytesMut::with_capacity(key_length + value_length);
    body.extend_from_slice(key.unwrap_or_default());
    body.extend_from_slice(value.unwrap_or_default());
    let mut body = body.freeze();
    Event {
        source: partition.clone(),
        offset: message.offset,
        timestamp: timestamp_of(message),
        key: key.map(|key| body.split_to(key.len())),
        value: value.map(|_| body),
        headers: headers_of(message),
    }
}

/// # Safety
/// `data` is null or holds `length` bytes that live as long as the answer is used.
unsafe fn bytes_at<'a>(data: *const std::ffi::c_void, length: usize) -> Option<&'a [u8]> {
    // SAFETY: promised by the caller.
    (!data.is_null()).then(|| unsafe { std::slice::from_raw_parts(data.cast::<u8>(), length) })
}

fn timestamp_of(message: &raw::rd_kafka_message_t) -> Option<Timestamp> {
    let mut kind = raw::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
    // SAFETY: the message is alive.
    let at_ms = unsafe { raw::rd_kafka_message_timestamp(message, &raw mut kind) };
    let kind = match kind {
        raw::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_CREATE_TIME => TimestampKind::CreateTime,
        raw::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME => TimestampKind::LogAppendTime,
        raw::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE => return None,
    };
    (at_ms != -1).then_some(Timestamp { at_ms, kind })
}

/// In order. A name that is not UTF-8 is shown with replacement characters, and one with a NUL in it up to
/// there: the client tells no length. Kafka's protocol has text there, and so have the clients that write it.
fn headers_of(message: &raw::rd_kafka_message_t) -> Vec<Header> {
    let mut headers = null_mut();
    // SAFETY: the message is alive, and the headers it hands out belong to it.
    let code = unsafe { raw::rd_kafka_message_headers(message, &raw mut headers) };
    if told(code).is_some() || headers.is_null() {
        return Vec::new();
    }
    // SAFETY: as above.
    let count = unsafe { raw::rd_kafka_header_cnt(headers) };
    (0..count).filter_map(|index| header_at(message, headers, index)).collect()
}

/// `_owner` is what `headers` belongs to: it must be alive.
fn header_at(
    _owner: &raw::rd_kafka_message_t,
    headers: *const raw::rd_kafka_headers_t,
    index: usize,
) -> Option<Header> {
    let (mut name, mut value, mut length) = (null(), null(), 0);
    // SAFETY: the headers belong to the message; name and value stay valid as long as they do.
    unsafe {
        let code =
            raw::rd_kafka_header_get_all(headers, index, &raw mut name, &raw mut value, &raw mut length);
        if told(code).is_some() || name.is_null() {
            return None;
        }
        let name = CStr::from_ptr(name).to_string_lossy().into_owned();
        let value = bytes_at(value, length).map(Bytes::copy_from_slice);
        Some(Header { name, value })
    }
}
