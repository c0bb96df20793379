//! A foreign client that writes bytes where text belongs. The protocol's own types would forbid it, so
//! it goes past the safe interface.

#![allow(unsafe_code, reason = "the safe interface only takes text")]

use std::ffi::CString;
use std::ptr::{null, null_mut};

use rdkafka::bindings as raw;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::producer::{BaseProducer, Producer};
use rdkafka::{Offset, TopicPartitionList};

/// Commits partition 0 with this metadata.
pub fn commit(consumer: &BaseConsumer, topic: &str, offset: i64, metadata: &[u8]) {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Offset(offset)).unwrap();
    // SAFETY: the list has one element, and frees metadata as memory of the client's own allocator.
    unsafe {
        let copy = raw::rd_kafka_mem_malloc(null_mut(), metadata.len());
        std::ptr::copy_nonoverlapping(metadata.as_ptr(), copy.cast::<u8>(), metadata.len());
        let element = (*list.ptr()).elems;
        (*element).metadata = copy;
        (*element).metadata_size = metadata.len();
    }
    consumer.commit(&list, CommitMode::Sync).unwrap();
}

/// Writes a record without key and value, with one header of this name.
pub fn produce(producer: &BaseProducer, topic: &str, header: &[u8], value: &[u8]) {
    let (topic, header) = (CString::new(topic).unwrap(), CString::new(header).unwrap());
    let length = isize::try_from(value.len()).unwrap();
    // SAFETY: types and order of the arguments are those the client documents; it copies all of them.
    let code = unsafe {
        raw::rd_kafka_producev(
            producer.client().native_ptr(),
            raw::rd_kafka_vtype_t::RD_KAFKA_VTYPE_TOPIC,
            topic.as_ptr(),
            raw::rd_kafka_vtype_t::RD_KAFKA_VTYPE_HEADER,
            header.as_ptr(),
            value.as_ptr(),
            length,
            raw::rd_kafka_vtype_t::RD_KAFKA_VTYPE_OPAQUE,
            null::<u8>(),
            raw::rd_kafka_vtype_t::RD_KAFKA_VTYPE_END,
        )
    };
    assert_eq!(code, raw::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR);
}
