//! Whether the coordinator counts a consumer among the members of its group.

use rdkafka::bindings as raw;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};

/// Whether this consumer of a group of KIP-848 has been given an epoch. With the classic protocol the answer
/// to a rebalance says as much, and this is of no use.
pub(crate) fn is_member<C: ConsumerContext>(consumer: &BaseConsumer<C>) -> bool {
    // SAFETY: the client is alive; what it hands out is our own, or null, and is destroyed once.
    unsafe {
        let told = raw::rd_kafka_consumer_group_metadata(consumer.client().native_ptr());
        if told.is_null() {
            return false;
        }
        let epoch = raw::rd_kafka_consumer_group_metadata_generation_id(told);
        raw::rd_kafka_consumer_group_metadata_destroy(told);
        epoch > 0
    }
}
