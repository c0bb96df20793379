//! InitProducerId: an id for an idempotent producer. Transactional ids are refused.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse};

use crate::state::Shared;

pub(super) fn answer(shared: &Shared, request: &InitProducerIdRequest) -> InitProducerIdResponse {
    let given = match request.transactional_id {
        None => shared.lock().new_producer_id(),
        Some(_) => {
            tracing::error!(
                "a transactional producer was refused: the development broker has no transactions"
            );
            Err(ResponseError::TransactionalIdAuthorizationFailed)
        }
    };
    let response = InitProducerIdResponse::default();
    match given {
        Ok(id) => response.with_producer_id(id.into()).with_producer_epoch(0),
        Err(error) => {
            response.with_error_code(error.code()).with_producer_id((-1).into()).with_producer_epoch(-1)
        }
    }
}
