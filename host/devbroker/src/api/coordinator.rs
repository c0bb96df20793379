//! FindCoordinator: this node, for every group and every transactional producer.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{FindCoordinatorRequest, FindCoordinatorResponse};

use super::{HOST, NODE_ID, text};
use crate::state::Shared;

/// What a coordinator may be asked for: groups and transactions.
const KINDS: std::ops::RangeInclusive<i8> = 0..=1;

pub(super) fn answer(shared: &Shared, request: &FindCoordinatorRequest) -> FindCoordinatorResponse {
    if !KINDS.contains(&request.key_type) {
        return FindCoordinatorResponse::default()
            .with_error_code(ResponseError::InvalidRequest.code())
            .with_node_id((-1).into())
            .with_port(-1);
    }
    FindCoordinatorResponse::default()
        .with_error_message(Some(text("NONE")))
        .with_node_id(NODE_ID.into())
        .with_host(text(HOST))
        .with_port(i32::from(shared.port))
}
