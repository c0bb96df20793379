//! InitProducerId, AddPartitionsToTxn, AddOffsetsToTxn, TxnOffsetCommit, EndTxn.

use std::time::Instant;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnTopicResult,
};
use kafka_protocol::messages::txn_offset_commit_request::TxnOffsetCommitRequestPartition;
use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse,
    ApiKey, EndTxnRequest, EndTxnResponse, InitProducerIdRequest, InitProducerIdResponse,
    TxnOffsetCommitRequest, TxnOffsetCommitResponse,
};
use uuid::Uuid;

use super::{Call, Reply, code, offsets};
use crate::connection::Closed;
use crate::state::{Shared, State};
use crate::transaction::Claimed;

/// Before this version of InitProducerId, and before that of the others, an old producer is told that its
/// epoch is wrong instead of that it was fenced.
const INIT_TELLS_FENCED: i16 = 4;
const TELLS_FENCED: i16 = 2;
/// In InitProducerId: no number, no epoch.
const NONE: i64 = -1;

pub(super) fn answer(shared: &Shared, call: &mut Call) -> Result<Reply, Closed> {
    let version = call.version;
    match call.api {
        ApiKey::InitProducerId => {
            let request = call.request()?;
            let response = init(shared, version, &request);
            // What a producer in the same place had open may have been aborted.
            shared.data_arrived.notify_waiters();
            call.reply(&response)
        }
        ApiKey::AddPartitionsToTxn => {
            let request = call.request()?;
            call.reply(&add_partitions(shared, version, request))
        }
        ApiKey::AddOffsetsToTxn => {
            let request = call.request()?;
            call.reply(&add_offsets(shared, version, &request))
        }
        ApiKey::TxnOffsetCommit => {
            let request = call.request()?;
            call.reply(&commit_offsets(shared, &request))
        }
        _ => {
            let request = call.request()?;
            let response = end(shared, version, &request);
            shared.data_arrived.notify_waiters();
            call.reply(&response)
        }
    }
}

/// The error as this version has it.
fn told(error: ResponseError, tells_fenced: bool) -> ResponseError {
    if error == ResponseError::ProducerFenced && !tells_fenced {
        ResponseError::InvalidProducerEpoch
    } else {
        error
    }
}

fn init(shared: &Shared, version: i16, request: &InitProducerIdRequest) -> InitProducerIdResponse {
    let response = InitProducerIdResponse::default();
    match try_init(&mut shared.lock(), request) {
        Ok((id, epoch)) => response.with_producer_id(id.into()).with_producer_epoch(epoch),
        Err(error) => response
            .with_error_code(told(error, version >= INIT_TELLS_FENCED).code())
            .with_producer_id(NONE.into())
            .with_producer_epoch(-1),
    }
}

fn try_init(state: &mut State, request: &InitProducerIdRequest) -> Result<(i64, i16), ResponseError> {
    let (id, epoch) = (request.producer_id.0, request.producer_epoch);
    let known = match (id == NONE, epoch == -1) {
        (true, true) => None,
        (false, false) => Some((id, epoch)),
        _ => return Err(ResponseError::InvalidRequest),
    };
    match &request.transactional_id {
        Some(name) => state.admit_producer(name, request.transaction_timeout_ms, known),
        None => Ok((state.new_producer_id()?, 0)),
    }
}

fn add_partitions(
    shared: &Shared,
    version: i16,
    request: AddPartitionsToTxnRequest,
) -> AddPartitionsToTxnResponse {
    let mut state = shared.lock();
    let claimed = Claimed {
        name: &request.v3_and_below_transactional_id,
        producer_id: request.v3_and_below_producer_id.0,
        epoch: request.v3_and_below_producer_epoch,
    };
    let found: Vec<Found> =
        request.v3_and_below_topics.iter().flat_map(|topic| find(&state, topic)).collect();
    let all: Option<Vec<(Uuid, i32)>> = found.iter().map(|one| one.id.map(|id| (id, one.index))).collect();
    let added = all.map(|all| state.add_to_transaction(claimed, &all));
    let result = |one: &Found| match (&added, one.id) {
        (Some(Ok(())), _) => 0,
        (Some(Err(error)), _) => told(*error, version >= TELLS_FENCED).code(),
        (None, Some(_)) => ResponseError::OperationNotAttempted.code(),
        (None, None) => ResponseError::UnknownTopicOrPartition.code(),
    };
    let mut results = found.iter().map(|one| {
        AddPartitionsToTxnPartitionResult::default()
            .with_partition_index(one.index)
            .with_partition_error_code(result(one))
    });
    let topics = request.v3_and_below_topics.iter().map(|topic| {
        AddPartitionsToTxnTopicResult::default()
            .with_name(topic.name.clone())
            .with_results_by_partition(results.by_ref().take(topic.partitions.len()).collect())
    });
    AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(topics.collect())
}

/// A partition as it was named, with its topic's id if it exists.
struct Found {
    id: Option<Uuid>,
    index: i32,
}

fn find(state: &State, topic: &AddPartitionsToTxnTopic) -> Vec<Found> {
    let found = state.topics.get(topic.name.as_str());
    let one = |index: &i32| Found {
        id: found.filter(|t| t.partition(*index).is_some()).map(|t| t.id),
        index: *index,
    };
    topic.partitions.iter().map(one).collect()
}

fn add_offsets(shared: &Shared, version: i16, request: &AddOffsetsToTxnRequest) -> AddOffsetsToTxnResponse {
    let claimed = Claimed {
        name: &request.transactional_id,
        producer_id: request.producer_id.0,
        epoch: request.producer_epoch,
    };
    let added = shared.lock().add_group_to_transaction(claimed, &request.group_id);
    let added = added.map_err(|error| told(error, version >= TELLS_FENCED));
    AddOffsetsToTxnResponse::default().with_error_code(code(added))
}

fn commit_offsets(shared: &Shared, request: &TxnOffsetCommitRequest) -> TxnOffsetCommitResponse {
    let mut state = shared.lock();
    let allowed = may_commit(&mut state, request);
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in &topic.partitions {
            let done = allowed.and_then(|()| commit_one(&mut state, request, &topic.name, partition));
            let response = TxnOffsetCommitResponsePartition::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(code(done));
            partitions.push(response);
        }
        let topic = TxnOffsetCommitResponseTopic::default().with_name(topic.name.clone());
        topics.push(topic.with_partitions(partitions));
    }
    TxnOffsetCommitResponse::default().with_topics(topics)
}

fn may_commit(state: &mut State, request: &TxnOffsetCommitRequest) -> Result<(), ResponseError> {
    let claimed = Claimed {
        name: &request.transactional_id,
        producer_id: request.producer_id.0,
        epoch: request.producer_epoch,
    };
    state.transactions.may_commit(claimed, &request.group_id)?;
    let generation = request.generation_id;
    if generation >= 0 && state.groups.get(&request.group_id).is_none() {
        return Err(ResponseError::IllegalGeneration);
    }
    let group = state.groups.ensure(&request.group_id, Instant::now())?;
    group.may_commit_in_transaction(&request.member_id, request.group_instance_id.as_deref(), generation)
}

fn commit_one(
    state: &mut State,
    request: &TxnOffsetCommitRequest,
    topic: &str,
    partition: &TxnOffsetCommitRequestPartition,
) -> Result<(), ResponseError> {
    let index = partition.partition_index;
    let metadata = partition.committed_metadata.as_deref().unwrap_or_default();
    offsets::check(state, topic, index, metadata)?;
    let place = (request.group_id.to_string(), topic.to_owned(), index);
    state.commit_in_transaction(request.producer_id.0, place, partition.committed_offset, metadata.to_owned())
}

fn end(shared: &Shared, version: i16, request: &EndTxnRequest) -> EndTxnResponse {
    let claimed = Claimed {
        name: &request.transactional_id,
        producer_id: request.producer_id.0,
        epoch: request.producer_epoch,
    };
    let ended = shared.lock().end_transaction(claimed, request.committed);
    let ended = ended.map_err(|error| told(error, version >= TELLS_FENCED));
    EndTxnResponse::default().with_error_code(code(ended))
}
