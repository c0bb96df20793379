//! Requests about groups: membership and committed offsets.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion};

use super::transactions::GROUPS;
use super::{Raw, one, text};
use crate::clients::until;

const GROUP_TIMEOUT_MS: i32 = 6_000;
/// A consumer's subscription, version 0: one topic `t`, no data of its own. Kafka reads it.
const SUBSCRIPTION: &[u8] = &[0, 0, 0, 0, 0, 1, 0, 1, b't', 0xff, 0xff, 0xff, 0xff];
/// What is replaced by bytes that the codec would not write.
const PLACEHOLDER: &str = "PLACEHOLDER";
/// A version of OffsetCommit whose strings have two bytes of length.
const COMMIT: i16 = 7;

impl Raw {
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

    /// The coordinator of a fresh Kafka needs a moment to load (14, 15 and 16 until then).
    pub(crate) fn await_coordinator(&mut self, group: &str) -> anyhow::Result<()> {
        self.find_coordinator(group, GROUPS)?;
        until("a loaded coordinator", || {
            Ok(![14, 15, 16].contains(&self.heartbeat(group, "nobody", None, 0)?))
        })
    }

    /// Commits an offset of a partition 0 as a tool does, in no generation, and sees to it that it lies there.
    pub(crate) fn commit_from_outside(
        &mut self,
        group: &str,
        topic: &str,
        offset: i64,
    ) -> anyhow::Result<()> {
        self.await_coordinator(group)?;
        let code = self.commit(group, ("", -1), (topic, 0), offset)?;
        anyhow::ensure!(code == 0, "OffsetCommit of {group} for {topic}: {code}");
        Ok(())
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

    /// Commits an offset of partition 0 from outside the group, with any bytes as its metadata.
    pub(crate) fn commit_bytes(
        &mut self,
        group: &str,
        topic: &str,
        offset: i64,
        metadata: &[u8],
    ) -> anyhow::Result<i16> {
        let partition = offset_commit_request::OffsetCommitRequestPartition::default()
            .with_committed_offset(offset)
            .with_committed_metadata(Some(text(PLACEHOLDER)));
        let topic = offset_commit_request::OffsetCommitRequestTopic::default()
            .with_name(text(topic).into())
            .with_partitions(vec![partition]);
        let request = OffsetCommitRequest::default()
            .with_group_id(text(group).into())
            .with_generation_id_or_member_epoch(-1)
            .with_topics(vec![topic]);
        let mut frame = BytesMut::new();
        let key = ApiKey::OffsetCommit as i16;
        let header = RequestHeader::default().with_request_api_key(key).with_request_api_version(COMMIT);
        header.encode(&mut frame, OffsetCommitRequest::header_version(COMMIT))?;
        request.encode(&mut frame, COMMIT)?;
        let written = [&i16::try_from(PLACEHOLDER.len())?.to_be_bytes(), PLACEHOLDER.as_bytes()].concat();
        let wanted = [&i16::try_from(metadata.len())?.to_be_bytes(), metadata].concat();
        self.client.send(&replaced(&frame, &written, &wanted)?)?;
        let mut answer = self.client.receive()?;
        ResponseHeader::decode(&mut answer, OffsetCommitResponse::header_version(COMMIT))?;
        let answer = OffsetCommitResponse::decode(&mut answer, COMMIT)?;
        Ok(one(one(answer.topics)?.partitions)?.error_code)
    }

    /// Commits the same offset of several partitions from outside the group, each with its own metadata.
    pub(crate) fn commit_several(
        &mut self,
        group: &str,
        topic: &str,
        metadata: &[String],
    ) -> anyhow::Result<Vec<i16>> {
        let partition = |(index, metadata): (i32, &String)| {
            offset_commit_request::OffsetCommitRequestPartition::default()
                .with_partition_index(index)
                .with_committed_offset(1)
                .with_committed_metadata(Some(text(metadata)))
        };
        let topic = offset_commit_request::OffsetCommitRequestTopic::default()
            .with_name(text(topic).into())
            .with_partitions((0..).zip(metadata).map(partition).collect());
        let request = OffsetCommitRequest::default()
            .with_group_id(text(group).into())
            .with_generation_id_or_member_epoch(-1)
            .with_topics(vec![topic]);
        let partitions = one(self.client.call(8, &request)?.topics)?.partitions;
        Ok(partitions.iter().map(|partition| partition.error_code).collect())
    }

    /// What a group committed for a partition: offset and metadata.
    pub(crate) fn committed(
        &mut self,
        group: &str,
        topic: &str,
        partition: i32,
    ) -> anyhow::Result<(i64, String)> {
        let topic = offset_fetch_request::OffsetFetchRequestTopic::default()
            .with_name(text(topic).into())
            .with_partition_indexes(vec![partition]);
        let request =
            OffsetFetchRequest::default().with_group_id(text(group).into()).with_topics(Some(vec![topic]));
        let partition = one(one(self.client.call(5, &request)?.topics)?.partitions)?;
        Ok((partition.committed_offset, partition.metadata.unwrap_or_default().to_string()))
    }
}

fn replaced(frame: &[u8], written: &[u8], wanted: &[u8]) -> anyhow::Result<Vec<u8>> {
    let at = frame.windows(written.len()).position(|window| window == written);
    let (before, rest) = at
        .and_then(|at| frame.split_at_checked(at))
        .ok_or_else(|| anyhow::anyhow!("the placeholder was not written"))?;
    let after = rest.get(written.len()..).unwrap_or_default();
    Ok([before, wanted, after].concat())
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
