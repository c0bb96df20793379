//! Fetch: whole batches from an offset on; waits for data as long as the client allows.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::{AbortedTransaction, FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::{FetchRequest, FetchResponse};
use tokio::time::Instant;

use crate::partition::Partition;
use crate::state::{Shared, State};

/// From this version on topics are named by id.
const BY_ID: i16 = 13;
const READ_COMMITTED: i8 = 1;
/// A fetch waits no longer than this, whatever the client asks for.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// What has been gathered for one response.
struct Gathered {
    response: FetchResponse,
    bytes: usize,
    failed: bool,
}

pub(super) async fn answer(shared: &Shared, version: i16, request: &FetchRequest) -> FetchResponse {
    if request.session_id != 0 {
        // Sessions are never given out, so this one is from another broker's life.
        return FetchResponse::default().with_error_code(ResponseError::FetchSessionIdNotFound.code());
    }
    let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0)).min(LONGEST_WAIT);
    let until = Instant::now() + wait;
    loop {
        // Registered before the state is looked at, so that data that comes in between wakes it.
        let arrived = shared.data_arrived.notified();
        tokio::pin!(arrived);
        arrived.as_mut().enable();
        let gathered = gather(shared, version, request);
        let enough = gathered.bytes >= usize::try_from(request.min_bytes).unwrap_or(0);
        if enough || gathered.failed || Instant::now() >= until {
            return gathered.response;
        }
        let _time_is_up = tokio::time::timeout_at(until, arrived).await;
    }
}

fn gather(shared: &Shared, version: i16, request: &FetchRequest) -> Gathered {
    let state = shared.lock();
    let limit = usize::try_from(request.max_bytes).unwrap_or(0).min(shared.options.limits.fetch_bytes);
    let committed = request.isolation_level == READ_COMMITTED;
    let mut gathered = Gathered { response: FetchResponse::default(), bytes: 0, failed: false };
    for topic in &request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for wanted in &topic.partitions {
            let room = limit.saturating_sub(gathered.bytes);
            let data = match find(&state, version, topic, wanted.partition) {
                Ok(partition) => read(partition, wanted, room, gathered.bytes == 0, committed),
                Err(error) => failed(error),
            };
            gathered.failed |= data.error_code != 0;
            gathered.bytes += data.records.as_ref().map_or(0, Bytes::len);
            partitions.push(data.with_partition_index(wanted.partition));
        }
        let answered = FetchableTopicResponse::default()
            .with_topic(topic.topic.clone())
            .with_topic_id(topic.topic_id)
            .with_partitions(partitions);
        gathered.response.responses.push(answered);
    }
    gathered
}

fn find<'a>(
    state: &'a State,
    version: i16,
    topic: &FetchTopic,
    partition: i32,
) -> Result<&'a Partition, ResponseError> {
    let topic = if version >= BY_ID {
        state.topic_by_id(topic.topic_id).ok_or(ResponseError::UnknownTopicId)?.1
    } else {
        state.topics.get(topic.topic.as_str()).ok_or(ResponseError::UnknownTopicOrPartition)?
    };
    topic.partition(partition).ok_or(ResponseError::UnknownTopicOrPartition)
}

fn read(
    partition: &Partition,
    wanted: &FetchPartition,
    room: usize,
    first: bool,
    committed: bool,
) -> PartitionData {
    let limit = usize::try_from(wanted.partition_max_bytes).unwrap_or(0).min(room);
    let Some(read) = partition.read(wanted.fetch_offset, limit, first, committed) else {
        return failed(ResponseError::OffsetOutOfRange);
    };
    let aborted = read.aborted.into_iter().map(|aborted| {
        AbortedTransaction::default()
            .with_producer_id(aborted.producer_id.into())
            .with_first_offset(aborted.first_offset)
    });
    PartitionData::default()
        .with_high_watermark(partition.end_offset())
        .with_last_stable_offset(partition.stable_offset())
        .with_log_start_offset(partition.start_offset())
        .with_aborted_transactions(committed.then(|| aborted.collect()))
        .with_records(Some(read.records))
}

fn failed(error: ResponseError) -> PartitionData {
    PartitionData::default()
        .with_error_code(error.code())
        .with_high_watermark(-1)
        .with_last_stable_offset(-1)
        .with_log_start_offset(-1)
        .with_records(Some(Bytes::new()))
}
