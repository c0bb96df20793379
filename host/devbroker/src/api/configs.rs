//! DescribeConfigs: the settings of topics. The broker's own are few and not shown.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult,
};
use kafka_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};

use super::text;
use crate::state::{Shared, State};

/// The setting was given to this topic.
pub(super) const TOPIC_CONFIG: i8 = 1;
/// The setting has its default.
pub(super) const DEFAULT_CONFIG: i8 = 5;
const TOPIC: i8 = 2;
const BROKER: i8 = 4;

pub(super) fn answer(shared: &Shared, request: DescribeConfigsRequest) -> DescribeConfigsResponse {
    let state = shared.lock();
    let results = request.resources.into_iter().map(|resource| describe(&state, resource)).collect();
    DescribeConfigsResponse::default().with_results(results)
}

fn describe(state: &State, resource: DescribeConfigsResource) -> DescribeConfigsResult {
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
        return refused(
            ResponseError::UnknownTopicOrPartition,
            "This server does not host this topic-partition.",
        );
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
