//! Metadata: the one node, the topics with their ids and partitions; may create a topic.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{MetadataRequest, MetadataResponse, TopicName};

use super::{HOST, NODE_ID, text};
use crate::config::TopicConfig;
use crate::state::{Shared, State};
use crate::topic::Topic;

const CLUSTER_ID: &str = "keylane-dev-broker";
/// Before this version a client could not say whether a topic may be created: it may.
const SAYS_AUTO_CREATE: i16 = 4;

pub(super) fn answer(shared: &Shared, version: i16, request: MetadataRequest) -> MetadataResponse {
    let mut state = shared.lock();
    let create = shared.options.auto_create_topics
        && (version < SAYS_AUTO_CREATE || request.allow_auto_topic_creation);
    let topics = match request.topics {
        Some(wanted) if !(version == 0 && wanted.is_empty()) => wanted
            .into_iter()
            .map(|topic| match topic.name {
                Some(name) => by_name(shared, &mut state, &name, create),
                None => by_id(&state, topic.topic_id),
            })
            .collect(),
        _all => state.topics.iter().map(|(name, topic)| described(name, topic)).collect(),
    };
    let node = MetadataResponseBroker::default()
        .with_node_id(NODE_ID.into())
        .with_host(text(HOST))
        .with_port(i32::from(shared.port));
    MetadataResponse::default()
        .with_brokers(vec![node])
        .with_cluster_id(Some(text(CLUSTER_ID)))
        .with_controller_id(NODE_ID.into())
        .with_topics(topics)
}

fn by_name(shared: &Shared, state: &mut State, name: &TopicName, create: bool) -> MetadataResponseTopic {
    let missing = |error: ResponseError| {
        MetadataResponseTopic::default().with_name(Some(name.clone())).with_error_code(error.code())
    };
    if create && !state.topics.contains_key(name.as_str()) {
        let partitions = shared.options.default_partitions;
        if let Err((error, _why)) = state.create_topic(name, partitions, TopicConfig::default(), false) {
            return missing(error);
        }
    }
    match state.topics.get(name.as_str()) {
        Some(topic) => described(name, topic),
        None if !crate::topic::is_valid_name(name) => missing(ResponseError::InvalidTopicException),
        None => missing(ResponseError::UnknownTopicOrPartition),
    }
}

fn by_id(state: &State, id: uuid::Uuid) -> MetadataResponseTopic {
    match state.topic_by_id(id) {
        Some((name, topic)) => described(name, topic),
        None => MetadataResponseTopic::default()
            .with_name(None)
            .with_topic_id(id)
            .with_error_code(ResponseError::UnknownTopicId.code()),
    }
}

fn described(name: &str, topic: &Topic) -> MetadataResponseTopic {
    let partition = |index: i32| {
        MetadataResponsePartition::default()
            .with_partition_index(index)
            .with_leader_id(NODE_ID.into())
            .with_leader_epoch(0)
            .with_replica_nodes(vec![NODE_ID.into()])
            .with_isr_nodes(vec![NODE_ID.into()])
    };
    MetadataResponseTopic::default()
        .with_name(Some(TopicName(text(name))))
        .with_topic_id(topic.id)
        .with_partitions(topic.indexes().map(partition).collect())
}
