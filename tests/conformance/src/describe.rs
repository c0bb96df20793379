//! What `rd_kafka_DescribeTopics` tells: the one way for a librdkafka client to learn a topic's id.

#![allow(unsafe_code, reason = "rust-rdkafka does not expose it")]

use std::ffi::{CStr, CString};
use std::ptr;

use anyhow::{Context, bail};
use rdkafka::bindings as raw;
use rdkafka::consumer::BaseConsumer;
use rdkafka::consumer::Consumer;
use uuid::Uuid;

use crate::Target;
use crate::clients::{PATIENCE, consumer};

/// A topic as the client sees it.
#[derive(Debug)]
pub(crate) struct Description {
    /// The name of the error, if there is one.
    pub(crate) error: Option<String>,
    pub(crate) id: Uuid,
    pub(crate) partitions: usize,
}

/// Describes one topic.
pub(crate) fn describe(target: &Target, topic: &str) -> anyhow::Result<Description> {
    let client = consumer(target, "describe", &[])?;
    let name = CString::new(topic)?;
    // SAFETY: the client outlives every object made from it here; each is destroyed once, and nothing that
    // belongs to the event is used after the event is destroyed.
    unsafe {
        let queue = raw::rd_kafka_queue_new(client.client().native_ptr());
        let described = ask(&client, &name, queue);
        raw::rd_kafka_queue_destroy(queue);
        described
    }
}

/// # Safety
/// The queue belongs to the client.
unsafe fn ask(
    client: &BaseConsumer,
    name: &CStr,
    queue: *mut raw::rd_kafka_queue_t,
) -> anyhow::Result<Description> {
    let timeout = i32::try_from(PATIENCE.as_millis())?;
    // SAFETY: as promised by the caller; the collection holds one pointer to a string that outlives the call.
    unsafe {
        let mut names = [name.as_ptr()];
        let topics = raw::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len());
        raw::rd_kafka_DescribeTopics(client.client().native_ptr(), topics, ptr::null(), queue);
        raw::rd_kafka_TopicCollection_destroy(topics);
        let event = raw::rd_kafka_queue_poll(queue, timeout);
        if event.is_null() {
            bail!("DescribeTopics was not answered");
        }
        let described = read(event);
        raw::rd_kafka_event_destroy(event);
        described
    }
}

/// # Safety
/// The event is the answer to DescribeTopics.
unsafe fn read(event: *mut raw::rd_kafka_event_t) -> anyhow::Result<Description> {
    // SAFETY: as promised by the caller; what is read belongs to the event.
    unsafe {
        let code = raw::rd_kafka_event_error(event);
        if code != raw::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            bail!("DescribeTopics failed: {code:?}");
        }
        let mut count = 0;
        let result = raw::rd_kafka_event_DescribeTopics_result(event);
        let topics = raw::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        let topic = *topics.as_ref().filter(|_| count == 1).context("not one topic")?;
        let code = raw::rd_kafka_error_code(raw::rd_kafka_TopicDescription_error(topic));
        let known = code == raw::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;
        let error = (!known).then(|| format!("{:?}", rdkafka::types::RDKafkaErrorCode::from(code)));
        let id = raw::rd_kafka_TopicDescription_topic_id(topic);
        let (high, low) = if id.is_null() {
            (0, 0)
        } else {
            (
                raw::rd_kafka_Uuid_most_significant_bits(id).cast_unsigned(),
                raw::rd_kafka_Uuid_least_significant_bits(id).cast_unsigned(),
            )
        };
        let mut partitions = 0;
        if known {
            raw::rd_kafka_TopicDescription_partitions(topic, &raw mut partitions);
        }
        Ok(Description { error, id: Uuid::from_u64_pair(high, low), partitions })
    }
}
