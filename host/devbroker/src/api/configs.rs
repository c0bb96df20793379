//! DescribeConfigs and IncrementalAlterConfigs: the settings of topics. The broker's own are few, not shown
//! and not to be changed.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult,
};
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{
    DescribeConfigsRequest, DescribeConfigsResponse, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
};

use super::text;
use crate::config::TopicConfig;
use crate::state::{Refused, Shared, State};

/// The setting was given to this topic.
pub(super) const TOPIC_CONFIG: i8 = 1;
/// The setting has its default.
pub(super) const DEFAULT_CONFIG: i8 = 5;
const TOPIC: i8 = 2;
const BROKER: i8 = 4;
/// Operations on a setting; Kafka can also add to a list and take from it.
const SET: i8 = 0;
const DELETE: i8 = 1;

const UNKNOWN_TOPIC: &str = "This server does not host this topic-partition.";

pub(super) fn describe(shared: &Shared, request: DescribeConfigsRequest) -> DescribeConfigsResponse {
    let state = shared.lock();
    let results = request.resources.into_iter().map(|resource| describe_one(&state, resource)).collect();
    DescribeConfigsResponse::default().with_results(results)
}

fn describe_one(state: &State, resource: DescribeConfigsResource) -> DescribeConfigsResult {
    let result = DescribeConfigsResult::default()
        .with_resource_type(resource.resource_type)
        .with_resource_name(resource.resource_name.clone());
    let refused = |error: ResponseError, why: &str| {
        result.clone().with_error_code(error.code()).with_error_message(Some(text(why)))
    };
    match resource.resource_type {
        TOPIC => {}
        BROKER => return result,
        _ => return refused(ResponseError::InvalidRequest, "development broker: only topics have settings"),
    }
    let Some(topic) = state.topics.get(resource.resource_name.as_str()) else {
        return refused(ResponseError::UnknownTopicOrPartition, UNKNOWN_TOPIC);
    };
    let wanted = resource.configuration_keys;
    let is_wanted =
        |name: &str| wanted.as_ref().is_none_or(|w| w.is_empty() || w.iter().any(|k| **k == *name));
    let settings = topic.config.shown().filter(|setting| is_wanted(setting.name)).map(|setting| {
        DescribeConfigsResourceResult::default()
            .with_name(text(setting.name))
            .with_value(Some(text(setting.value)))
            .with_config_source(if setting.is_default { DEFAULT_CONFIG } else { TOPIC_CONFIG })
    });
    result.clone().with_configs(settings.collect())
}

pub(super) fn alter(
    shared: &Shared,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let mut state = shared.lock();
    let alter = |resource: AlterConfigsResource| {
        let response = AlterConfigsResourceResponse::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone());
        match alter_one(&mut state, &resource, request.validate_only) {
            Ok(()) => response,
            Err((error, why)) => response.with_error_code(error.code()).with_error_message(Some(text(why))),
        }
    };
    let responses = request.resources.into_iter().map(alter).collect();
    IncrementalAlterConfigsResponse::default().with_responses(responses)
}

fn alter_one(state: &mut State, resource: &AlterConfigsResource, only_check: bool) -> Result<(), Refused> {
    if resource.resource_type != TOPIC {
        let why = "development broker: only the settings of topics can be changed".to_owned();
        return Err((ResponseError::InvalidRequest, why));
    }
    let name = resource.resource_name.as_str();
    let topic = state.topics.get(name);
    let topic = topic.ok_or((ResponseError::UnknownTopicOrPartition, UNKNOWN_TOPIC.to_owned()))?;
    let config = resource.configs.iter().try_fold(topic.config.clone(), altered)?;
    state.set_topic(name, config, only_check)
}

fn altered(config: TopicConfig, change: &AlterableConfig) -> Result<TopicConfig, Refused> {
    let value = match (change.config_operation, &change.value) {
        (SET, Some(value)) => Some(value.as_str()),
        (SET, None) => {
            let why = format!("Null value not supported for: {}", change.name.as_str());
            return Err((ResponseError::InvalidRequest, why));
        }
        (DELETE, _) => None,
        _ => {
            let why = "development broker: a setting can be set or deleted, not added to".to_owned();
            return Err((ResponseError::InvalidRequest, why));
        }
    };
    config.with(change.name.as_str(), value).map_err(|why| (ResponseError::InvalidConfig, why))
}
