//! ApiVersions: what this broker takes.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::ApiVersionsResponse;
use kafka_protocol::messages::api_versions_response::ApiVersion;

use crate::shape::SHAPES;

pub(super) fn answer(error: Option<ResponseError>) -> ApiVersionsResponse {
    let versions = SHAPES.iter().map(|shape| {
        ApiVersion::default()
            .with_api_key(shape.key as i16)
            .with_min_version(shape.min)
            .with_max_version(shape.max)
    });
    ApiVersionsResponse::default()
        .with_error_code(error.map_or(0, |e| e.code()))
        .with_api_keys(versions.collect())
}
