//! ListOffsets: the first offset, the next one, or the first at or after a time.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::{ListOffsetsRequest, ListOffsetsResponse};

use crate::partition::Partition;
use crate::state::Shared;

const READ_COMMITTED: i8 = 1;
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
/// From this version on the answer tells the leader's epoch.
const TELLS_EPOCH: i16 = 4;

pub(super) fn answer(shared: &Shared, version: i16, request: ListOffsetsRequest) -> ListOffsetsResponse {
    let state = shared.lock();
    let committed = request.isolation_level == READ_COMMITTED;
    let topics = request.topics.into_iter().map(|topic| {
        let found = state.topics.get(topic.name.as_str());
        let partitions = topic.partitions.iter().map(|wanted| {
            let partition = found.and_then(|t| t.partition(wanted.partition_index));
            let response = match partition {
                Some(partition) => look_up(partition, wanted.timestamp, version, committed),
                None => refused(ResponseError::UnknownTopicOrPartition),
            };
            response.with_partition_index(wanted.partition_index)
        });
        let partitions = partitions.collect();
        ListOffsetsTopicResponse::default().with_name(topic.name).with_partitions(partitions)
    });
    ListOffsetsResponse::default().with_topics(topics.collect())
}

fn look_up(
    partition: &Partition,
    timestamp: i64,
    version: i16,
    committed: bool,
) -> ListOffsetsPartitionResponse {
    let end = if committed { partition.stable_offset() } else { partition.end_offset() };
    let epoch = if version >= TELLS_EPOCH { 0 } else { -1 };
    let response = ListOffsetsPartitionResponse::default().with_timestamp(-1).with_leader_epoch(epoch);
    match timestamp {
        LATEST => response.with_offset(end),
        EARLIEST => response.with_offset(partition.start_offset()),
        time if time < 0 => refused(ResponseError::UnsupportedForMessageFormat),
        time => match partition.offset_at(time).filter(|(offset, _)| *offset < end) {
            Some((offset, timestamp)) => response.with_offset(offset).with_timestamp(timestamp),
            None => response.with_offset(-1).with_leader_epoch(-1),
        },
    }
}

fn refused(error: ResponseError) -> ListOffsetsPartitionResponse {
    ListOffsetsPartitionResponse::default()
        .with_error_code(error.code())
        .with_timestamp(-1)
        .with_offset(-1)
        .with_leader_epoch(-1)
}
