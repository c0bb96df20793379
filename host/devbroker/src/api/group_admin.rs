//! ListGroups, DescribeGroups, DeleteGroups.

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::{
    DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse, GroupId,
    ListGroupsRequest, ListGroupsResponse,
};
use kafka_protocol::protocol::StrBytes;

use super::{HOST, code, text};
use crate::group::{Group, Phase};
use crate::state::{Shared, State};
use crate::store::Entry;

const GROUP_TYPE: &str = "classic";

pub(super) fn list(shared: &Shared, request: &ListGroupsRequest) -> ListGroupsResponse {
    let state = shared.lock();
    let matches = |filter: &[StrBytes], value: &str| {
        filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(value))
    };
    let wanted = |group: &Group| {
        matches(&request.states_filter, group.phase.name()) && matches(&request.types_filter, GROUP_TYPE)
    };
    let groups = state.groups.iter().filter(|(_, group)| wanted(group)).map(|(id, group)| {
        ListedGroup::default()
            .with_group_id(GroupId(text(id)))
            .with_protocol_type(text(group.protocol_type.clone().unwrap_or_default()))
            .with_group_state(text(group.phase.name()))
            .with_group_type(text(GROUP_TYPE))
    });
    ListGroupsResponse::default().with_groups(groups.collect())
}

pub(super) fn describe(shared: &Shared, request: DescribeGroupsRequest) -> DescribeGroupsResponse {
    let state = shared.lock();
    let groups = request.groups.into_iter().map(|id| {
        let described = match state.groups.get(&id) {
            Some(group) => describe_one(group),
            None => DescribedGroup::default().with_group_state(text("Dead")),
        };
        described.with_group_id(id)
    });
    DescribeGroupsResponse::default().with_groups(groups.collect())
}

fn describe_one(group: &Group) -> DescribedGroup {
    // As in Kafka, what members told and got is shown only while it holds.
    let stable = group.phase == Phase::Stable;
    let protocol = group.protocol.as_deref().filter(|_| stable).unwrap_or_default();
    let members = group.members().map(|(id, member)| {
        DescribedGroupMember::default()
            .with_member_id(text(id))
            .with_group_instance_id(member.instance.clone().map(text))
            .with_client_id(text(member.client_id.clone()))
            .with_client_host(text(format!("/{HOST}")))
            .with_member_metadata(if stable { member.metadata(protocol) } else { Bytes::new() })
            .with_member_assignment(if stable { member.assignment.clone() } else { Bytes::new() })
    });
    DescribedGroup::default()
        .with_group_state(text(group.phase.name()))
        .with_protocol_type(text(group.protocol_type.clone().unwrap_or_default()))
        .with_protocol_data(text(protocol))
        .with_members(members.collect())
}

pub(super) fn delete(shared: &Shared, request: DeleteGroupsRequest) -> DeleteGroupsResponse {
    let mut state = shared.lock();
    let results = request.groups_names.into_iter().map(|id| {
        let deleted = delete_one(&mut state, &id);
        DeletableGroupResult::default().with_group_id(id).with_error_code(code(deleted))
    });
    DeleteGroupsResponse::default().with_results(results.collect())
}

fn delete_one(state: &mut State, id: &str) -> Result<(), ResponseError> {
    state.groups.get(id).ok_or(ResponseError::GroupIdNotFound)?.check_deletable()?;
    state.record(&Entry::GroupDeleted { group: id.to_owned() })?;
    state.groups.remove(id);
    Ok(())
}
