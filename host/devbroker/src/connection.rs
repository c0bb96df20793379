//! One connection: frames in, answers out, one request at a time and in order, as Kafka does it.

use std::io::ErrorKind;
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::api::{self, Call, Reply};
use crate::shape::{self, Misfit};
use crate::state::Shared;

/// A frame's buffer starts with this many bytes and grows as the bytes come, so a length that is
/// only claimed costs nothing.
const FIRST_BUFFER_BYTES: usize = 64 << 10;
/// Bytes of the smallest request: key, version, correlation id, client id length.
const SMALLEST_FRAME_BYTES: usize = 10;

/// Why a connection is closed by the broker. It ends that connection, never the broker.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Closed {
    #[error("a frame of {0} bytes, which is too short or over the limit")]
    FrameLength(i64),
    #[error("request key {0} is unknown")]
    UnknownApi(i16),
    #[error("{api:?} version {version} is not taken")]
    UnknownVersion { api: ApiKey, version: i16 },
    #[error("a malformed {api:?} request, version {version}: {why}")]
    Malformed { api: ApiKey, version: i16, why: String },
    #[error("an answer to {api:?} version {version} could not be encoded: {why}")]
    Encoding { api: ApiKey, version: i16, why: String },
    #[error("{0}")]
    Asked(String),
    #[error("{0}")]
    Network(#[from] std::io::Error),
}

/// Serves a connection until the client closes it or a request cannot be read.
pub(crate) async fn serve(shared: Arc<Shared>, mut stream: TcpStream) {
    let peer = stream.peer_addr().map_or_else(|_gone| "?".to_owned(), |address| address.to_string());
    match exchange(&shared, &mut stream).await {
        Ok(()) => tracing::debug!(%peer, "a client closed its connection"),
        Err(Closed::Network(error)) => tracing::debug!(%peer, %error, "a connection broke"),
        Err(closed) => tracing::warn!(%peer, reason = %closed, "closed a connection"),
    }
}

async fn exchange(shared: &Shared, stream: &mut TcpStream) -> Result<(), Closed> {
    stream.set_nodelay(true)?;
    while let Some(frame) = read_frame(stream, shared.options.limits.frame_bytes).await? {
        if let Some(answer) = answer(shared, frame).await? {
            stream.write_all(&answer).await?;
        }
    }
    Ok(())
}

/// The next frame without its length; `None` at the end of the stream.
async fn read_frame(stream: &mut (impl AsyncRead + Unpin), limit: usize) -> Result<Option<Bytes>, Closed> {
    let claimed = match stream.read_i32().await {
        Ok(length) => length,
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let length = usize::try_from(claimed).ok().filter(|n| (SMALLEST_FRAME_BYTES..=limit).contains(n));
    let length = length.ok_or(Closed::FrameLength(claimed.into()))?;
    let mut frame = BytesMut::with_capacity(length.min(FIRST_BUFFER_BYTES));
    let mut rest = stream.take(length as u64);
    while frame.len() < length {
        if rest.read_buf(&mut frame).await? == 0 {
            return Err(std::io::Error::from(ErrorKind::UnexpectedEof).into());
        }
    }
    Ok(Some(frame.freeze()))
}

/// Answers one request. `None` if it wants no answer.
async fn answer(shared: &Shared, mut frame: Bytes) -> Result<Option<BytesMut>, Closed> {
    let length = frame.len();
    let (key, version) = {
        let mut start = frame.slice(..4); // a frame has at least SMALLEST_FRAME_BYTES
        (start.get_i16(), start.get_i16())
    };
    let api = ApiKey::try_from(key).map_err(|()| Closed::UnknownApi(key))?;
    if api != ApiKey::Produce && length > shared.options.limits.control_frame_bytes {
        return Err(Closed::FrameLength(length as i64));
    }
    let malformed = |why: String| Closed::Malformed { api, version, why };
    let header_version = if shape::find(api, version).is_some() {
        api.request_header_version(version)
    } else {
        1 // enough to read the correlation id of an ApiVersions request from the future
    };
    let header = RequestHeader::decode(&mut frame, header_version).map_err(|e| malformed(e.to_string()))?;
    let reply = match shape::find(api, version) {
        Some(shape) => {
            let elements = shared.options.limits.request_elements;
            let checked = shape.check(version, &frame, elements);
            let body = checked.and_then(|walked| shape.readable(version, frame, &walked));
            let body = body.map_err(|misfit| malformed(describe(misfit).to_owned()))?;
            let client_id = header.client_id.map(|id| id.to_string()).unwrap_or_default();
            api::answer(shared, Call { api, version, client_id, body }).await?
        }
        // Kafka answers this one in version 0 and tells its versions, so that the client can ask again.
        None if api == ApiKey::ApiVersions => api::unknown_api_version()?,
        None => return Err(Closed::UnknownVersion { api, version }),
    };
    match reply {
        Reply::Nothing => Ok(None),
        Reply::Close(why) => Err(Closed::Asked(why)),
        Reply::Body(body) => framed(api, version, header.correlation_id, &body).map(Some),
    }
}

fn describe(misfit: Misfit) -> &'static str {
    match misfit {
        Misfit::Length => "a length goes past the end of the request",
        Misfit::Elements => "it has more array elements than the limit",
        Misfit::Replaced => "a string is too long once what is not UTF-8 in it was replaced",
    }
}

fn framed(api: ApiKey, version: i16, correlation_id: i32, body: &[u8]) -> Result<BytesMut, Closed> {
    // ApiVersions is answered with the oldest header: its reader does not know the broker yet.
    let header_version = if api == ApiKey::ApiVersions { 0 } else { api.response_header_version(version) };
    let mut header = BytesMut::new();
    ResponseHeader::default()
        .with_correlation_id(correlation_id)
        .encode(&mut header, header_version)
        .map_err(|e| Closed::Encoding { api, version, why: e.to_string() })?;
    let length = header.len() + body.len();
    let mut frame = BytesMut::with_capacity(4 + length);
    frame.put_i32(i32::try_from(length).map_err(|_huge| Closed::FrameLength(length as i64))?);
    frame.put_slice(&header);
    frame.put_slice(body);
    Ok(frame)
}
