//! CreateTopics, DeleteTopics, CreatePartitions.

use std::collections::HashMap;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{
    ApiKey, CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse,
    DeleteTopicsRequest, DeleteTopicsResponse, TopicName,
};

use super::configs::{DEFAULT_CONFIG, TOPIC_CONFIG};
use super::{Call, Reply, text};
use crate::config::TopicConfig;
use crate::connection::Closed;
use crate::state::{Refused, Shared, State};

/// From this version on topics are deleted by a structure that may hold an id.
const DELETE_BY_ID: i16 = 6;

pub(super) fn answer(shared: &Shared, call: &mut Call) -> Result<Reply, Closed> {
    match call.api {
        ApiKey::CreateTopics => {
            let request = call.request()?;
            call.reply(&create(shared, request))
        }
        ApiKey::DeleteTopics => {
            let request = call.request()?;
            let response = delete(shared, call.version, request);
            // A fetch that waits on a deleted topic is to hear of it.
            shared.data_arrived.notify_waiters();
            call.reply(&response)
        }
        _ => {
            let request = call.request()?;
            call.reply(&grow(shared, request))
        }
    }
}

fn create(shared: &Shared, request: CreateTopicsRequest) -> CreateTopicsResponse {
    let mut state = shared.lock();
    let mut times = HashMap::new();
    for topic in &request.topics {
        *times.entry(topic.name.clone()).or_insert(0) += 1;
    }
    let mut results = Vec::new();
    for topic in request.topics {
        let name = topic.name.clone();
        let result = match times.get(&name) {
            Some(1) => create_one(shared, &mut state, topic, request.validate_only),
            Some(0) | None => continue, // answered already
            Some(_) => Err((ResponseError::InvalidRequest, "Duplicate topic name.".to_owned())),
        };
        times.insert(name.clone(), 0);
        results.push(
            result
                .unwrap_or_else(|(error, why)| {
                    CreatableTopicResult::default()
                        .with_error_code(error.code())
                        .with_error_message(Some(text(why)))
                })
                .with_name(name),
        );
    }
    CreateTopicsResponse::default().with_topics(results)
}

fn create_one(
    shared: &Shared,
    state: &mut State,
    topic: CreatableTopic,
    only_check: bool,
) -> Result<CreatableTopicResult, Refused> {
    let partitions = if !topic.assignments.is_empty() {
        i32::try_from(topic.assignments.len()).unwrap_or(i32::MAX)
    } else if topic.num_partitions == -1 {
        shared.options.default_partitions
    } else {
        topic.num_partitions
    };
    if topic.assignments.is_empty() && !matches!(topic.replication_factor, -1 | 1) {
        let why = format!(
            "Unable to replicate the partition {} time(s): The target replication factor of {0} cannot be \
             reached because only 1 broker(s) are registered.",
            topic.replication_factor
        );
        return Err((ResponseError::InvalidReplicationFactor, why));
    }
    let given =
        topic.configs.into_iter().map(|c| (c.name.to_string(), c.value.unwrap_or_default().to_string()));
    let config = TopicConfig::new(given).map_err(|why| (ResponseError::InvalidConfig, why))?;
    let shown = config.shown().map(|setting| {
        CreatableTopicConfigs::default()
            .with_name(text(setting.name))
            .with_value(Some(text(setting.value)))
            .with_config_source(if setting.is_default { DEFAULT_CONFIG } else { TOPIC_CONFIG })
    });
    let shown = shown.collect();
    let id = state.create_topic(&topic.name, partitions, config, only_check)?;
    Ok(CreatableTopicResult::default()
        .with_topic_id(id)
        .with_num_partitions(partitions)
        .with_replication_factor(1)
        .with_configs(Some(shown)))
}

fn delete(shared: &Shared, version: i16, request: DeleteTopicsRequest) -> DeleteTopicsResponse {
    let mut state = shared.lock();
    let wanted: Vec<DeleteTopicState> = if version >= DELETE_BY_ID {
        request.topics
    } else {
        let named = |name| DeleteTopicState::default().with_name(Some(name));
        request.topic_names.into_iter().map(named).collect()
    };
    let responses = wanted.into_iter().map(|topic| delete_one(&mut state, topic)).collect();
    DeleteTopicsResponse::default().with_responses(responses)
}

fn delete_one(state: &mut State, wanted: DeleteTopicState) -> DeletableTopicResult {
    let found = match &wanted.name {
        Some(name) => state.topics.get(name.as_str()).map(|topic| (name.to_string(), topic.id)),
        None => state.topic_by_id(wanted.topic_id).map(|(name, topic)| (name.to_owned(), topic.id)),
    };
    let Some((name, id)) = found else {
        let by_name = wanted.name.is_some();
        let error =
            if by_name { ResponseError::UnknownTopicOrPartition } else { ResponseError::UnknownTopicId };
        let result = DeletableTopicResult::default().with_error_code(error.code());
        return result.with_name(wanted.name).with_topic_id(wanted.topic_id);
    };
    let deleted = state.delete_topic(&name);
    DeletableTopicResult::default()
        .with_name(Some(TopicName(text(name))))
        .with_topic_id(id)
        .with_error_code(super::code(deleted))
}

fn grow(shared: &Shared, request: CreatePartitionsRequest) -> CreatePartitionsResponse {
    let mut state = shared.lock();
    let grow = |topic: kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic| {
        let result = CreatePartitionsTopicResult::default().with_name(topic.name.clone());
        match state.grow_topic(&topic.name, topic.count, request.validate_only) {
            Ok(()) => result,
            Err((error, why)) => result.with_error_code(error.code()).with_error_message(Some(text(why))),
        }
    };
    CreatePartitionsResponse::default().with_results(request.topics.into_iter().map(grow).collect())
}
