//! Produce: batches are checked and stored verbatim, one per partition and request.

use std::time::{Duration, Instant};

use kafka_protocol::ResponseError;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{ProduceRequest, ProduceResponse};

use super::{Call, Reply, text};
use crate::connection::Closed;
use crate::partition::{Appended, Refusal, inspect};
use crate::state::{Shared, State, now_ms};
use crate::transaction::Claimed;

/// A refusal for want of room is logged at most this often.
const REFUSAL_LOG_EVERY: Duration = Duration::from_secs(1);

pub(super) fn answer(shared: &Shared, call: &mut Call) -> Result<Reply, Closed> {
    let request: ProduceRequest = call.request()?;
    let acks = request.acks;
    let response = store(shared, request);
    // Every waiting fetch looks again; there are few, and they sleep on at once if it was not theirs.
    shared.data_arrived.notify_waiters();
    if acks != 0 {
        return call.reply(&response);
    }
    // Nobody reads an answer: as in Kafka, an error is told by closing the connection.
    let mut all = response.responses.iter().flat_map(|topic| &topic.partition_responses);
    match all.find(|partition| partition.error_code != 0) {
        Some(failed) => {
            Ok(Reply::Close(format!("a produce request without acks failed: {}", failed.error_code)))
        }
        None => Ok(Reply::Nothing),
    }
}

fn store(shared: &Shared, request: ProduceRequest) -> ProduceResponse {
    let mut state = shared.lock();
    let acks_ok = matches!(request.acks, -1..=1);
    let name = request.transactional_id.map(|name| name.to_string()).unwrap_or_default();
    let mut store_topic = |topic: TopicProduceData| {
        let partitions = topic.partition_data.into_iter().map(|data| {
            let index = data.index;
            let stored = if acks_ok {
                store_batch(shared, &mut state, (&name, &topic.name), data)
            } else {
                Err((ResponseError::InvalidRequiredAcks, None))
            };
            responded(index, stored)
        });
        let partitions = partitions.collect();
        TopicProduceResponse::default().with_name(topic.name).with_partition_responses(partitions)
    };
    let responses = request.topic_data.into_iter().map(&mut store_topic).collect();
    ProduceResponse::default().with_responses(responses)
}

type Failed = (ResponseError, Option<String>);

fn responded(index: i32, stored: Result<Appended, Failed>) -> PartitionProduceResponse {
    let response = PartitionProduceResponse::default().with_index(index).with_log_append_time_ms(-1);
    match stored {
        Ok(appended) => {
            response.with_base_offset(appended.base_offset).with_log_start_offset(appended.start_offset)
        }
        Err((error, why)) => response
            .with_base_offset(-1)
            .with_log_start_offset(-1)
            .with_error_code(error.code())
            .with_error_message(why.map(text)),
    }
}

fn store_batch(
    shared: &Shared,
    state: &mut State,
    (transactional_id, topic_name): (&str, &str),
    data: PartitionProduceData,
) -> Result<Appended, Failed> {
    let limits = shared.options.limits;
    let broker_room = limits.total_bytes.saturating_sub(state.bytes);
    let unknown = || (ResponseError::UnknownTopicOrPartition, None);
    let topic = state.topics.get_mut(topic_name).ok_or_else(unknown)?;
    let message_bytes = topic.config.message_bytes().unwrap_or(limits.message_bytes);
    let topic_id = topic.id;
    let partition = topic.partition_mut(data.index).ok_or_else(unknown)?;
    let room = broker_room.min(limits.partition_bytes.saturating_sub(partition.bytes()));
    let records = data.records.unwrap_or_default();
    let stored = inspect(&records, message_bytes, now_ms()).and_then(|header| {
        // Once a transaction has records here, the partition itself knows whom it takes more from.
        if header.is_transactional() && transactional_id.is_empty() {
            return Err(Refusal::Kafka(ResponseError::TransactionalIdAuthorizationFailed));
        }
        if header.is_transactional() && !partition.is_open(header.producer_id) {
            let (producer_id, epoch) = (header.producer_id, header.producer_epoch);
            let claimed = Claimed { name: transactional_id, producer_id, epoch };
            let may = state.transactions.may_write(claimed, (topic_id, data.index));
            may.map_err(Refusal::Kafka)?;
        }
        partition.append(&header, &records, room)
    });
    match stored {
        Ok(appended) => {
            state.bytes += appended.grown;
            Ok(appended)
        }
        Err(Refusal::Kafka(error)) => Err((error, None)),
        Err(Refusal::Full) => Err(full(shared, state, topic_name, data.index)),
    }
}

/// Not to be tried again by a client: room does not come back by waiting.
fn full(shared: &Shared, state: &mut State, topic: &str, partition: i32) -> Failed {
    let limits = shared.options.limits;
    let why = format!(
        "development broker: full. It keeps at most {} bytes in a partition and {} in all ({} now); delete a \
         topic, raise the limit or use Apache Kafka",
        limits.partition_bytes, limits.total_bytes, state.bytes
    );
    if state.refusal_logged.is_none_or(|at| at.elapsed() >= REFUSAL_LOG_EVERY) {
        state.refusal_logged = Some(Instant::now());
        tracing::error!(topic, partition, reason = why, "REFUSED records");
    }
    metrics::counter!("keylane_devbroker_refused_batches").increment(1);
    (ResponseError::PolicyViolation, Some(why))
}
