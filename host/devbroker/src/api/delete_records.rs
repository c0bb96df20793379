//! DeleteRecords: the low watermark of partitions is raised.

use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use kafka_protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse};

use crate::state::{Shared, State};

/// What stands in the place of a low watermark beside an error.
const NO_LOW_WATERMARK: i64 = -1;

pub(super) fn answer(shared: &Shared, request: DeleteRecordsRequest) -> DeleteRecordsResponse {
    let mut state = shared.lock();
    let topics = request.topics.into_iter().map(|topic| in_topic(&mut state, topic)).collect();
    DeleteRecordsResponse::default().with_topics(topics)
}

fn in_topic(state: &mut State, topic: DeleteRecordsTopic) -> DeleteRecordsTopicResult {
    let one = |wanted: DeleteRecordsPartition| {
        let result = DeleteRecordsPartitionResult::default().with_partition_index(wanted.partition_index);
        match state.delete_records(&topic.name, wanted.partition_index, wanted.offset) {
            Ok(start) => result.with_low_watermark(start),
            Err(error) => result.with_low_watermark(NO_LOW_WATERMARK).with_error_code(error.code()),
        }
    };
    let partitions = topic.partitions.into_iter().map(one).collect();
    DeleteRecordsTopicResult::default().with_name(topic.name).with_partitions(partitions)
}
