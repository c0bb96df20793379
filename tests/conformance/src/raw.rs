//! Single requests by hand, each about one topic, partition or group, answered by an error code.

use bytes::Bytes;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::StrBytes;
use keylane_test_support::RawClient;
use uuid::Uuid;

use crate::Target;

/// The version of Metadata that knows topic ids and can be asked by id.
const METADATA: i16 = 12;
const PRODUCE: i16 = 9;
/// The last version of Fetch that names topics, and the first that has their ids.
const FETCH_BY_NAME: i16 = 12;
const FETCH_BY_ID: i16 = 13;
const GROUP_TIMEOUT_MS: i32 = 6_000;
/// A consumer's subscription, version 0: one topic `t`, no data of its own. Kafka reads it.
const SUBSCRIPTION: &[u8] = &[0, 0, 0, 0, 0, 1, 0, 1, b't', 0xff, 0xff, 0xff, 0xff];

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

    /// DescribeConfigs of a topic: the error, and the settings.
    pub(crate) fn settings(
        &mut self,
        topic: &str,
    ) -> anyhow::Result<describe_configs_response::DescribeConfigsResult> {
        let resource = describe_configs_request::DescribeConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(text(topic))
            .with_configuration_keys(None);
        let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
        one(self.client.call(4, &request)?.results)
    }

    /// Produces to partition 0: (error, base offset).
    pub(crate) fn produce(&mut self, topic: &str, acks: i16, batch: Bytes) -> anyhow::Result<(i16, i64)> {
        let answer = self.client.call(PRODUCE, &produce_request(topic, acks, batch))?;
        let partition = one(one(answer.responses)?.partition_responses)?;
        Ok((partition.error_code, partition.base_offset))
    }

    /// Fetches partition 0 by name.
    pub(crate) fn fetch(
        &mut self,
        topic: &str,
        offset: i64,
        max_bytes: i32,
        wait_ms: i32,
    ) -> anyhow::Result<fetch_response::PartitionData> {
        let named = fetch_request::FetchTopic::default().with_topic(text(topic).into());
        self.fetch_topic(FETCH_BY_NAME, named, offset, max_bytes, wait_ms)
    }

    /// Fetches partition 0 by id, from the start.
    pub(crate) fn fetch_by_id(&mut self, id: Uuid) -> anyhow::Result<fetch_response::PartitionData> {
        let topic = fetch_request::FetchTopic::default().with_topic_id(id);
        self.fetch_topic(FETCH_BY_ID, topic, 0, 1 << 20, 0)
    }

    fn fetch_topic(
        &mut self,
        version: i16,
        topic: fetch_request::FetchTopic,
        offset: i64,
        max_bytes: i32,
        wait_ms: i32,
    ) -> anyhow::Result<fetch_response::PartitionData> {
        let partition = fetch_request::FetchPartition::default()
            .with_fetch_offset(offset)
            .with_partition_max_bytes(max_bytes)
            .with_current_leader_epoch(-1)
            .with_last_fetched_epoch(-1);
        let request = FetchRequest::default()
            .with_replica_id((-1).into())
            .with_max_wait_ms(wait_ms)
            .with_min_bytes(1)
            .with_max_bytes(max_bytes)
            .with_session_epoch(-1)
            .with_topics(vec![topic.with_partitions(vec![partition])]);
        let answer = self.client.call(version, &request)?;
        anyhow::ensure!(answer.error_code == 0, "fetch: {}", answer.error_code);
        one(one(answer.responses)?.partitions)
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

    /// ListOffsets of partition 0: (error, offset, timestamp).
    pub(crate) fn list_offset(&mut self, topic: &str, timestamp: i64) -> anyhow::Result<(i16, i64, i64)> {
        self.list_offset_of(topic, 0, timestamp)
    }

    fn list_offset_of(
        &mut self,
        topic: &str,
        partition: i32,
        timestamp: i64,
    ) -> anyhow::Result<(i16, i64, i64)> {
        let partition = list_offsets_request::ListOffsetsPartition::default()
            .with_partition_index(partition)
            .with_timestamp(timestamp)
            .with_current_leader_epoch(-1);
        let topic = list_offsets_request::ListOffsetsTopic::default()
            .with_name(text(topic).into())
            .with_partitions(vec![partition]);
        let request = ListOffsetsRequest::default().with_replica_id((-1).into()).with_topics(vec![topic]);
        let partition = one(one(self.client.call(6, &request)?.topics)?.partitions)?;
        Ok((partition.error_code, partition.offset, partition.timestamp))
    }

    /// A join of protocol version 7, which names its protocols and nothing else.
    pub(crate) fn join(&mut self, group: &str, member: &str) -> anyhow::Result<JoinGroupResponse> {
        self.join_with(join_request(group, member))
    }

    pub(crate) fn join_with(&mut self, request: JoinGroupRequest) -> anyhow::Result<JoinGroupResponse> {
        self.client.call(7, &request)
    }

    /// Learns a member id, as every new dynamic member does.
    pub(crate) fn new_member(&mut self, group: &str) -> anyhow::Result<String> {
        let told = self.join(group, "")?;
        anyhow::ensure!(told.error_code == 79, "expected MEMBER_ID_REQUIRED, got {}", told.error_code);
        Ok(told.member_id.to_string())
    }

    /// (error, assignment). The leader gives everybody in `assign` the bytes of their own id.
    pub(crate) fn sync(
        &mut self,
        group: &str,
        member: &str,
        generation: i32,
        assign: &[&str],
    ) -> anyhow::Result<(i16, String)> {
        let assignment = |id: &&str| {
            sync_group_request::SyncGroupRequestAssignment::default()
                .with_member_id(text(id))
                .with_assignment(Bytes::copy_from_slice(id.as_bytes()))
        };
        let request = SyncGroupRequest::default()
            .with_group_id(text(group).into())
            .with_generation_id(generation)
            .with_member_id(text(member))
            .with_protocol_type(Some(text("consumer")))
            .with_protocol_name(Some(text("range")))
            .with_assignments(assign.iter().map(assignment).collect());
        let answer = self.client.call(5, &request)?;
        Ok((answer.error_code, String::from_utf8_lossy(&answer.assignment).into_owned()))
    }

    pub(crate) fn heartbeat(
        &mut self,
        group: &str,
        member: &str,
        instance: Option<&str>,
        generation: i32,
    ) -> anyhow::Result<i16> {
        let request = HeartbeatRequest::default()
            .with_group_id(text(group).into())
            .with_generation_id(generation)
            .with_member_id(text(member))
            .with_group_instance_id(instance.map(text));
        Ok(self.client.call(4, &request)?.error_code)
    }

    pub(crate) fn leave(&mut self, group: &str, member: &str) -> anyhow::Result<i16> {
        let member = leave_group_request::MemberIdentity::default().with_member_id(text(member));
        let request =
            LeaveGroupRequest::default().with_group_id(text(group).into()).with_members(vec![member]);
        let answer = self.client.call(4, &request)?;
        if answer.error_code != 0 { Ok(answer.error_code) } else { Ok(one(answer.members)?.error_code) }
    }

    /// Commits an offset of one partition.
    pub(crate) fn commit(
        &mut self,
        group: &str,
        (member, generation): (&str, i32),
        (topic, partition): (&str, i32),
        offset: i64,
    ) -> anyhow::Result<i16> {
        let partition = offset_commit_request::OffsetCommitRequestPartition::default()
            .with_partition_index(partition)
            .with_committed_offset(offset);
        let topic = offset_commit_request::OffsetCommitRequestTopic::default()
            .with_name(text(topic).into())
            .with_partitions(vec![partition]);
        let request = OffsetCommitRequest::default()
            .with_group_id(text(group).into())
            .with_generation_id_or_member_epoch(generation)
            .with_member_id(text(member))
            .with_topics(vec![topic]);
        Ok(one(one(self.client.call(8, &request)?.topics)?.partitions)?.error_code)
    }

    /// (state, protocol, number of members).
    pub(crate) fn describe_group(&mut self, group: &str) -> anyhow::Result<(String, String, usize)> {
        let request = DescribeGroupsRequest::default().with_groups(vec![text(group).into()]);
        let group = one(self.client.call(5, &request)?.groups)?;
        Ok((group.group_state.to_string(), group.protocol_data.to_string(), group.members.len()))
    }

    pub(crate) fn delete_group(&mut self, group: &str) -> anyhow::Result<i16> {
        let request = DeleteGroupsRequest::default().with_groups_names(vec![text(group).into()]);
        Ok(one(self.client.call(2, &request)?.results)?.error_code)
    }
}

pub(crate) fn produce_request(topic: &str, acks: i16, batch: Bytes) -> ProduceRequest {
    let data = produce_request::PartitionProduceData::default().with_records(Some(batch));
    let topic = produce_request::TopicProduceData::default()
        .with_name(text(topic).into())
        .with_partition_data(vec![data]);
    ProduceRequest::default().with_acks(acks).with_timeout_ms(10_000).with_topic_data(vec![topic])
}

pub(crate) fn join_request(group: &str, member: &str) -> JoinGroupRequest {
    let protocol = join_group_request::JoinGroupRequestProtocol::default()
        .with_name(text("range"))
        .with_metadata(Bytes::from_static(SUBSCRIPTION));
    JoinGroupRequest::default()
        .with_group_id(text(group).into())
        .with_session_timeout_ms(GROUP_TIMEOUT_MS)
        .with_rebalance_timeout_ms(20_000)
        .with_member_id(text(member))
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol])
}

pub(crate) fn creatable(name: &str, partitions: i32) -> create_topics_request::CreatableTopic {
    create_topics_request::CreatableTopic::default()
        .with_name(text(name).into())
        .with_num_partitions(partitions)
        .with_replication_factor(1)
}
