//! JoinGroup, SyncGroup, Heartbeat, LeaveGroup: the protocol's side of the coordinator.

use std::time::{Duration, Instant};

use kafka_protocol::ResponseError;
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::{
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    LeaveGroupResponse, SyncGroupRequest, SyncGroupResponse,
};
use kafka_protocol::protocol::StrBytes;

use super::{code, text};
use crate::group::{Answer, JoinAnswer, JoinRequest, ListedMember, SyncAnswer, SyncRequest};
use crate::state::Shared;

/// Kafka's longest session timeout, in milliseconds.
const LONGEST_SESSION_MS: u64 = 1_800_000;
/// A member waits no longer than this for the others of its group.
const LONGEST_REBALANCE: Duration = Duration::from_secs(3_600);
/// From this version on a new member learns its id first and joins with it.
const ID_FIRST: i16 = 4;
/// From this version on no assignor is null instead of empty.
const NULL_PROTOCOL: i16 = 7;
/// From this version on several members may leave in one request.
const LEAVE_TOGETHER: i16 = 3;

pub(super) async fn join(
    shared: &Shared,
    version: i16,
    client_id: &str,
    request: JoinGroupRequest,
) -> JoinGroupResponse {
    let member_id = request.member_id.to_string();
    let answer = match start_join(shared, version, client_id, request) {
        Ok(Answer::Now(answer)) => answer,
        // The channel closes when the member was removed, or joined again on another connection.
        Ok(Answer::Later(waiting)) => waiting
            .await
            .unwrap_or_else(|_closed| JoinAnswer::refused(ResponseError::UnknownMemberId, &member_id)),
        Err(error) => JoinAnswer::refused(error, &member_id),
    };
    joined(version, answer)
}

fn start_join(
    shared: &Shared,
    version: i16,
    client_id: &str,
    request: JoinGroupRequest,
) -> Result<Answer<JoinAnswer>, ResponseError> {
    if request.group_id.is_empty() {
        return Err(ResponseError::InvalidGroupId);
    }
    let session_ms = u64::try_from(request.session_timeout_ms).unwrap_or(0);
    if !(shared.options.min_session_timeout_ms..=LONGEST_SESSION_MS).contains(&session_ms) {
        return Err(ResponseError::InvalidSessionTimeout);
    }
    let rebalance_ms = u64::try_from(request.rebalance_timeout_ms).unwrap_or(session_ms).max(session_ms);
    let asked = JoinRequest {
        member_id: request.member_id.to_string(),
        instance: request.group_instance_id.map(|name| name.to_string()),
        client_id: client_id.to_owned(),
        session: Duration::from_millis(session_ms),
        rebalance: Duration::from_millis(rebalance_ms).min(LONGEST_REBALANCE),
        protocol_type: request.protocol_type.to_string(),
        protocols: request.protocols.into_iter().map(|p| (p.name.to_string(), p.metadata)).collect(),
        id_first: version >= ID_FIRST,
    };
    let now = Instant::now();
    let mut state = shared.lock();
    if !asked.member_id.is_empty() && state.groups.get(&request.group_id).is_none() {
        return Err(ResponseError::UnknownMemberId);
    }
    Ok(state.groups.ensure(&request.group_id, now)?.join(asked, now))
}

fn joined(version: i16, answer: JoinAnswer) -> JoinGroupResponse {
    let protocol = match answer.protocol {
        Some(name) => Some(text(name)),
        None if version >= NULL_PROTOCOL => None,
        None => Some(StrBytes::new()),
    };
    let listed = |member: ListedMember| {
        JoinGroupResponseMember::default()
            .with_member_id(text(member.id))
            .with_group_instance_id(member.instance.map(text))
            .with_metadata(member.metadata)
    };
    JoinGroupResponse::default()
        .with_error_code(answer.error.map_or(0, |error| error.code()))
        .with_generation_id(answer.generation)
        .with_protocol_type(answer.protocol_type.map(text))
        .with_protocol_name(protocol)
        .with_leader(text(answer.leader))
        .with_member_id(text(answer.member_id))
        .with_members(answer.members.into_iter().map(listed).collect())
}

pub(super) async fn sync(shared: &Shared, request: SyncGroupRequest) -> SyncGroupResponse {
    let group_id = request.group_id.clone();
    let asked = SyncRequest {
        member_id: request.member_id.to_string(),
        instance: request.group_instance_id.map(|name| name.to_string()),
        generation: request.generation_id,
        protocol_type: request.protocol_type.map(|name| name.to_string()),
        protocol: request.protocol_name.map(|name| name.to_string()),
        assignments: request
            .assignments
            .into_iter()
            .map(|a| (a.member_id.to_string(), a.assignment))
            .collect(),
    };
    let started = shared.lock().groups.get_mut(&group_id).map(|group| group.sync(asked, Instant::now()));
    let answer = match started {
        Some(Answer::Now(answer)) => answer,
        Some(Answer::Later(waiting)) => {
            waiting.await.unwrap_or_else(|_closed| SyncAnswer::refused(ResponseError::UnknownMemberId))
        }
        None => SyncAnswer::refused(ResponseError::UnknownMemberId),
    };
    SyncGroupResponse::default()
        .with_error_code(answer.error.map_or(0, |error| error.code()))
        .with_protocol_type(answer.protocol_type.map(text))
        .with_protocol_name(answer.protocol.map(text))
        .with_assignment(answer.assignment)
}

pub(super) fn heartbeat(shared: &Shared, request: &HeartbeatRequest) -> HeartbeatResponse {
    let mut state = shared.lock();
    let beat = match state.groups.get_mut(&request.group_id) {
        Some(group) => group.heartbeat(
            &request.member_id,
            request.group_instance_id.as_deref(),
            request.generation_id,
            Instant::now(),
        ),
        None => Err(ResponseError::UnknownMemberId),
    };
    HeartbeatResponse::default().with_error_code(code(beat))
}

pub(super) fn leave(shared: &Shared, version: i16, request: LeaveGroupRequest) -> LeaveGroupResponse {
    let mut state = shared.lock();
    let mut leave_one = |member: &MemberIdentity| match state.groups.get_mut(&request.group_id) {
        Some(group) => group.leave(&member.member_id, member.group_instance_id.as_deref(), Instant::now()),
        None => Err(ResponseError::UnknownMemberId),
    };
    if version < LEAVE_TOGETHER {
        let member = MemberIdentity::default().with_member_id(request.member_id.clone());
        return LeaveGroupResponse::default().with_error_code(code(leave_one(&member)));
    }
    let left = request.members.iter().map(|member| {
        MemberResponse::default()
            .with_member_id(member.member_id.clone())
            .with_group_instance_id(member.group_instance_id.clone())
            .with_error_code(code(leave_one(member)))
    });
    LeaveGroupResponse::default().with_members(left.collect())
}
