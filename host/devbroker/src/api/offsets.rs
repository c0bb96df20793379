//! OffsetCommit and OffsetFetch.

use std::collections::BTreeMap;
use std::time::Instant;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_commit_request::OffsetCommitRequestPartition;
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponsePartition, OffsetFetchResponseTopic,
};
use kafka_protocol::messages::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;

use super::{code, text};
use crate::group::Group;
use crate::state::{Shared, State};
use crate::store::Entry;

/// Kafka's `offset.metadata.max.bytes`; it counts the UTF-16 units of a Java string.
const METADATA_UNITS: usize = 4_096;

pub(super) fn commit(shared: &Shared, request: &OffsetCommitRequest) -> OffsetCommitResponse {
    let mut state = shared.lock();
    let allowed = may_commit(&mut state, request);
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in &topic.partitions {
            let done =
                allowed.and_then(|()| commit_one(&mut state, &request.group_id, &topic.name, partition));
            let response = OffsetCommitResponsePartition::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(code(done));
            partitions.push(response);
        }
        let topic = OffsetCommitResponseTopic::default().with_name(topic.name.clone());
        topics.push(topic.with_partitions(partitions));
    }
    OffsetCommitResponse::default().with_topics(topics)
}

fn may_commit(state: &mut State, request: &OffsetCommitRequest) -> Result<(), ResponseError> {
    let generation = request.generation_id_or_member_epoch;
    if generation >= 0 && state.groups.get(&request.group_id).is_none() {
        return Err(ResponseError::IllegalGeneration);
    }
    let now = Instant::now();
    let group = state.groups.ensure(&request.group_id, now)?;
    group.may_commit(&request.member_id, request.group_instance_id.as_deref(), generation, now)
}

fn commit_one(
    state: &mut State,
    group_id: &str,
    topic: &str,
    partition: &OffsetCommitRequestPartition,
) -> Result<(), ResponseError> {
    let index = partition.partition_index;
    let metadata = partition.committed_metadata.as_deref().unwrap_or_default();
    check(state, topic, index, metadata)?;
    let entry = Entry::Committed {
        group: group_id.to_owned(),
        topic: topic.to_owned(),
        partition: index,
        offset: partition.committed_offset,
        metadata: metadata.to_owned(),
    };
    state.record(&entry)?;
    state.groups.restore(entry);
    Ok(())
}

/// Whether there is such a partition, and whether Kafka would take this metadata.
pub(super) fn check(state: &State, topic: &str, index: i32, metadata: &str) -> Result<(), ResponseError> {
    if state.topics.get(topic).and_then(|t| t.partition(index)).is_none() {
        return Err(ResponseError::UnknownTopicOrPartition);
    }
    if metadata.encode_utf16().count() > METADATA_UNITS {
        return Err(ResponseError::OffsetMetadataTooLarge);
    }
    Ok(())
}

pub(super) fn fetch(shared: &Shared, request: OffsetFetchRequest) -> OffsetFetchResponse {
    let state = shared.lock();
    let group = state.groups.get(&request.group_id);
    let wanted: Vec<(TopicName, Vec<i32>)> = match request.topics {
        Some(topics) => topics.into_iter().map(|t| (t.name, t.partition_indexes)).collect(),
        None => all_committed(group),
    };
    let topics = wanted.into_iter().map(|(name, indexes)| {
        let partitions = indexes.into_iter().map(|index| {
            let place = (request.group_id.to_string(), name.to_string(), index);
            let unstable = request.require_stable && state.groups.is_unstable(&place);
            let committed = group.and_then(|g| g.offsets.get(&(place.1, index))).filter(|_| !unstable);
            let error = if unstable { ResponseError::UnstableOffsetCommit.code() } else { 0 };
            let metadata = committed.map_or_else(StrBytes::new, |c| text(c.metadata.clone()));
            OffsetFetchResponsePartition::default()
                .with_partition_index(index)
                .with_error_code(error)
                .with_committed_offset(committed.map_or(-1, |c| c.offset))
                .with_committed_leader_epoch(-1)
                .with_metadata(Some(metadata))
        });
        let partitions = partitions.collect();
        OffsetFetchResponseTopic::default().with_name(name).with_partitions(partitions)
    });
    OffsetFetchResponse::default().with_topics(topics.collect())
}

fn all_committed(group: Option<&Group>) -> Vec<(TopicName, Vec<i32>)> {
    let mut all: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for (topic, index) in group.iter().flat_map(|g| g.offsets.keys()) {
        all.entry(topic).or_default().push(*index);
    }
    all.into_iter().map(|(topic, indexes)| (TopicName(text(topic)), indexes)).collect()
}
