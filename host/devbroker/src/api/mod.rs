//! One file per family of requests. Each takes the decoded request and answers it from the state.

mod configs;
mod coordinator;
mod delete_records;
mod fetch;
mod group_admin;
mod list_offsets;
mod membership;
mod metadata;
mod offsets;
mod produce;
mod topics;
mod transactions;
mod versions;

use bytes::{Bytes, BytesMut};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::ApiKey;
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};

use crate::connection::Closed;
use crate::state::Shared;

/// The one node of this cluster.
const NODE_ID: i32 = 1;
const HOST: &str = "127.0.0.1";

/// One request whose body has been checked against its shape.
pub(crate) struct Call {
    pub(crate) api: ApiKey,
    pub(crate) version: i16,
    pub(crate) client_id: String,
    pub(crate) body: Bytes,
}

/// What is to be sent back.
pub(crate) enum Reply {
    /// This body.
    Body(BytesMut),
    /// Nothing: the client does not wait for an answer.
    Nothing,
    /// Nothing, and the connection is to be closed for this reason.
    Close(String),
}

impl Call {
    fn request<T: Decodable>(&mut self) -> Result<T, Closed> {
        T::decode(&mut self.body, self.version).map_err(|error| Closed::Malformed {
            api: self.api,
            version: self.version,
            why: error.to_string(),
        })
    }

    fn reply(&self, response: &impl Encodable) -> Result<Reply, Closed> {
        encoded(self.api, self.version, response)
    }
}

fn encoded(api: ApiKey, version: i16, response: &impl Encodable) -> Result<Reply, Closed> {
    let mut body = BytesMut::new();
    let encoding = response.encode(&mut body, version);
    encoding.map_err(|error| Closed::Encoding { api, version, why: error.to_string() })?;
    Ok(Reply::Body(body))
}

/// The answer to an ApiVersions request of a version that is not known here.
pub(crate) fn unknown_api_version() -> Result<Reply, Closed> {
    encoded(ApiKey::ApiVersions, 0, &versions::answer(Some(ResponseError::UnsupportedVersion)))
}

/// Answers one request.
pub(crate) async fn answer(shared: &Shared, mut call: Call) -> Result<Reply, Closed> {
    let version = call.version;
    let call = &mut call;
    match call.api {
        ApiKey::ApiVersions => call.reply(&versions::answer(None)),
        ApiKey::Metadata => {
            let request = call.request()?;
            call.reply(&metadata::answer(shared, version, request))
        }
        ApiKey::Produce => produce::answer(shared, call),
        ApiKey::Fetch => {
            let request = call.request()?;
            call.reply(&fetch::answer(shared, version, &request).await)
        }
        ApiKey::ListOffsets => {
            let request = call.request()?;
            call.reply(&list_offsets::answer(shared, version, request))
        }
        ApiKey::InitProducerId
        | ApiKey::AddPartitionsToTxn
        | ApiKey::AddOffsetsToTxn
        | ApiKey::TxnOffsetCommit
        | ApiKey::EndTxn => transactions::answer(shared, call),
        ApiKey::CreateTopics | ApiKey::DeleteTopics | ApiKey::CreatePartitions => {
            topics::answer(shared, call)
        }
        ApiKey::DescribeConfigs => {
            let request = call.request()?;
            call.reply(&configs::describe(shared, request))
        }
        ApiKey::IncrementalAlterConfigs => {
            let request = call.request()?;
            call.reply(&configs::alter(shared, request))
        }
        ApiKey::DeleteRecords => {
            let request = call.request()?;
            let response = delete_records::answer(shared, request);
            // A fetch that waits at an offset that is gone is to hear of it.
            shared.data_arrived.notify_waiters();
            call.reply(&response)
        }
        _ => answer_group(shared, call).await,
    }
}

async fn answer_group(shared: &Shared, call: &mut Call) -> Result<Reply, Closed> {
    let version = call.version;
    match call.api {
        ApiKey::FindCoordinator => {
            let request = call.request()?;
            call.reply(&coordinator::answer(shared, &request))
        }
        ApiKey::JoinGroup => {
            let request = call.request()?;
            call.reply(&membership::join(shared, version, &call.client_id, request).await)
        }
        ApiKey::SyncGroup => {
            let request = call.request()?;
            call.reply(&membership::sync(shared, request).await)
        }
        ApiKey::Heartbeat => {
            let request = call.request()?;
            call.reply(&membership::heartbeat(shared, &request))
        }
        ApiKey::LeaveGroup => {
            let request = call.request()?;
            call.reply(&membership::leave(shared, version, request))
        }
        ApiKey::OffsetCommit => {
            let request = call.request()?;
            call.reply(&offsets::commit(shared, &request))
        }
        ApiKey::OffsetFetch => {
            let request = call.request()?;
            call.reply(&offsets::fetch(shared, request))
        }
        ApiKey::ListGroups => {
            let request = call.request()?;
            call.reply(&group_admin::list(shared, &request))
        }
        ApiKey::DescribeGroups => {
            let request = call.request()?;
            call.reply(&group_admin::describe(shared, request))
        }
        ApiKey::DeleteGroups => {
            let request = call.request()?;
            call.reply(&group_admin::delete(shared, request))
        }
        api => Err(Closed::UnknownVersion { api, version }),
    }
}

/// A string of the protocol.
fn text(text: impl Into<String>) -> StrBytes {
    StrBytes::from_string(text.into())
}

/// The protocol's number for a result.
fn code(result: Result<(), ResponseError>) -> i16 {
    result.err().map_or(0, |error| error.code())
}
