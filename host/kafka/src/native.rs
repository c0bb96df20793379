//! The few calls that the client's safe interface lacks, each wrapped so that its callers need no
//! unsafe code. The only place of this room with any.
//!
//! - [`CommitQueue`]: commits with an answer. The safe interface offers either a call that blocks for as
//!   long as the coordinator is away, or one that never says what became of it.
//! - [`committed`]: what the group has committed, its metadata as bytes. The safe interface panics on
//!   metadata that is not UTF-8, and any program of the same group may have written it.
//! - [`PartitionQueue`]: one partition's records, and where its log ends. The safe interface hides the
//!   offset of the end, without which what was compacted away could never be told from what is to come.
//! - [`Inquiries`]: topic ids, offsets and settings of the group, asked without blocking.
//! - [`event_of`]: a record's headers. The safe interface panics on a name that is not UTF-8.
//! - [`leader_epoch_of`] and [`set_leader_epoch`]: the leader that a record was written under, told where
//!   positions are set and committed (KIP-320). The safe interface knows none.
//! - [`is_member`]: the safe interface tells nobody of a membership without partitions in a group of KIP-848.
//! - [`known_high_watermark`]: what the client already knows from its fetches.

#![allow(unsafe_code, reason = "calls into librdkafka that its safe wrapper lacks or gets wrong")]

mod commit;
mod inquiry;
mod member;
mod partition_queue;
mod queue;
mod record;

pub(crate) use commit::{
    CommitAnswer, CommitQueue, Committed, Handed, PartitionAnswer, committed, list_of, set_leader_epoch,
};
pub(crate) use inquiry::{Answer, Extreme, Inquiries, SessionTimes, TopicFacts};
pub(crate) use member::is_member;
pub(crate) use partition_queue::{Fetched, PartitionQueue, known_high_watermark};
pub(crate) use queue::Ring;
pub(crate) use record::{event_of, leader_epoch_of};

use rdkafka::bindings as raw;
use rdkafka::error::RDKafkaErrorCode as Code;

/// None where there is no error.
fn told(code: raw::rd_kafka_resp_err_t) -> Option<Code> {
    match Code::from(code) {
        Code::NoError => None,
        error => Some(error),
    }
}

/// The elements of a list; none where there is no list.
///
/// # Safety
/// `list` is null or a list that stays alive and unchanged for as long as the answer is used.
unsafe fn elements<'a>(
    list: *const raw::rd_kafka_topic_partition_list_t,
) -> &'a [raw::rd_kafka_topic_partition_t] {
    // SAFETY: promised by the caller.
    let Some(list) = (unsafe { list.as_ref() }) else { return &[] };
    let count = usize::try_from(list.cnt).unwrap_or(0);
    if count == 0 || list.elems.is_null() {
        return &[];
    }
    // SAFETY: the list says that `elems` holds `cnt` elements.
    unsafe { std::slice::from_raw_parts(list.elems, count) }
}

/// A NUL-terminated string of the client's; empty where there is none.
///
/// # Safety
/// `text` is null or NUL-terminated and stays alive during the call.
unsafe fn text_of(text: *const std::ffi::c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: promised by the caller.
    unsafe { std::ffi::CStr::from_ptr(text) }.to_string_lossy().into_owned()
}
