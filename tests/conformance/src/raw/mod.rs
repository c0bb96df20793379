//! Single requests by hand, each about one topic, partition or group, answered by an error code.

mod groups;
mod records;
mod transactions;

use kafka_protocol::messages::*;
use kafka_protocol::protocol::StrBytes;
use keylane_test_support::RawClient;
use uuid::Uuid;

use crate::Target;
pub(crate) use groups::join_request;
pub(crate) use records::{READ_COMMITTED, READ_UNCOMMITTED};
pub(crate) use transactions::Txn;

/// The version of Metadata that knows topic ids and can be asked by id.
const METADATA: i16 = 12;
/// The protocol's number for settings of a topic, and for what can be done to one of them.
const TOPIC: i8 = 2;
const SET: i8 = 0;
const DELETE: i8 = 1;

/// A connection with the requests the checks need.
pub(crate) struct Raw {
    client: RawClient,
}

pub(crate) fn text(value: &str) -> StrBytes {
    StrBytes::from_string(value.to_owned())
}

fn one<T>(list: Vec<T>) -> anyhow::Result<T> {
    list.into_iter().next().ok_or_else(|| anyhow::anyhow!("the answer is empty"))
}

impl Raw {
    pub(crate) fn connect(target: &Target) -> anyhow::Result<Self> {
        Ok(Self { client: RawClient::connect(&target.bootstrap)? })
    }

    pub(crate) fn client(&mut self) -> &mut RawClient {
        &mut self.client
    }

    /// Metadata of one topic, by name or by id.
    pub(crate) fn topic(
        &mut self,
        name: Option<&str>,
        id: Uuid,
        create: bool,
    ) -> anyhow::Result<metadata_response::MetadataResponseTopic> {
        let topic = metadata_request::MetadataRequestTopic::default()
            .with_name(name.map(|n| text(n).into()))
            .with_topic_id(id);
        let request =
            MetadataRequest::default().with_topics(Some(vec![topic])).with_allow_auto_topic_creation(create);
        one(self.client.call(METADATA, &request)?.topics)
    }

    /// The id of a topic that exists.
    pub(crate) fn topic_id(&mut self, name: &str) -> anyhow::Result<Uuid> {
        let topic = self.topic(Some(name), Uuid::nil(), false)?;
        anyhow::ensure!(topic.error_code == 0, "metadata of {name}: {}", topic.error_code);
        Ok(topic.topic_id)
    }

    pub(crate) fn create_topic(
        &mut self,
        topic: create_topics_request::CreatableTopic,
    ) -> anyhow::Result<create_topics_response::CreatableTopicResult> {
        let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(10_000);
        one(self.client.call(7, &request)?.topics)
    }

    pub(crate) fn delete_topic(&mut self, name: &str) -> anyhow::Result<i16> {
        let topic = delete_topics_request::DeleteTopicState::default().with_name(Some(text(name).into()));
        let request = DeleteTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(10_000);
        Ok(one(self.client.call(6, &request)?.responses)?.error_code)
    }

    pub(crate) fn grow_topic(&mut self, name: &str, count: i32) -> anyhow::Result<i16> {
        let topic = create_partitions_request::CreatePartitionsTopic::default()
            .with_name(text(name).into())
            .with_count(count)
            .with_assignments(None);
        let request = CreatePartitionsRequest::default().with_topics(vec![topic]).with_timeout_ms(10_000);
        Ok(one(self.client.call(3, &request)?.results)?.error_code)
    }

    /// Changes one setting of a topic; no value takes it back.
    pub(crate) fn alter_topic(
        &mut self,
        topic: &str,
        name: &str,
        value: Option<&str>,
    ) -> anyhow::Result<i16> {
        let config = incremental_alter_configs_request::AlterableConfig::default()
            .with_name(text(name))
            .with_config_operation(if value.is_some() { SET } else { DELETE })
            .with_value(value.map(text));
        let resource = incremental_alter_configs_request::AlterConfigsResource::default()
            .with_resource_type(TOPIC)
            .with_resource_name(text(topic))
            .with_configs(vec![config]);
        let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
        Ok(one(self.client.call(1, &request)?.responses)?.error_code)
    }

    /// DescribeConfigs of a topic: the error, and the settings.
    pub(crate) fn settings(
        &mut self,
        topic: &str,
    ) -> anyhow::Result<describe_configs_response::DescribeConfigsResult> {
        let resource = describe_configs_request::DescribeConfigsResource::default()
            .with_resource_type(TOPIC)
            .with_resource_name(text(topic))
            .with_configuration_keys(None);
        let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
        one(self.client.call(4, &request)?.results)
    }

    /// Whether every partition is known and answers. Kafka creates topics a moment before that.
    pub(crate) fn is_ready(&mut self, topic: &str, partitions: i32) -> anyhow::Result<bool> {
        let described = self.topic(Some(topic), Uuid::nil(), false)?;
        let known = described.error_code == 0 && described.partitions.len() == usize::try_from(partitions)?;
        for partition in 0..partitions {
            if !known || self.list_offset_of(topic, partition, -1)?.0 != 0 {
                return Ok(false);
            }
        }
        Ok(known)
    }
}

pub(crate) fn creatable(name: &str, partitions: i32) -> create_topics_request::CreatableTopic {
    create_topics_request::CreatableTopic::default()
        .with_name(text(name).into())
        .with_num_partitions(partitions)
        .with_replication_factor(1)
}
