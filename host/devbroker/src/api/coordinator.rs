//! FindCoordinator: this node, for every group. Transactions have none.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{FindCoordinatorRequest, FindCoordinatorResponse};

use super::{HOST, NODE_ID, text};
use crate::state::Shared;

const GROUP: i8 = 0;

pub(super) fn answer(
    shared: &Shared,
    version: i16,
    request: &FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    if version >= 1 && request.key_type != GROUP {
        // Of all errors this is the one that clients take as final at once instead of asking for ever.
        return FindCoordinatorResponse::default()
            .with_error_code(ResponseError::TransactionalIdAuthorizationFailed.code())
            .with_error_message(Some(text("development broker: transactions are not supported")))
            .with_node_id((-1).into())
            .with_port(-1);
    }
    FindCoordinatorResponse::default()
        .with_error_message(Some(text("NONE")))
        .with_node_id(NODE_ID.into())
        .with_host(text(HOST))
        .with_port(i32::from(shared.port))
}
