//! Single protocol requests over a plain socket, for what ordinary clients do not show.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};

/// An answer that takes longer is a failure of the test.
const TIMEOUT: Duration = Duration::from_secs(30);
const LONGEST_ANSWER_BYTES: usize = 64 << 20;

/// A connection that sends one request at a time. It blocks.
#[derive(Debug)]
pub struct RawClient {
    stream: TcpStream,
    correlation_id: i32,
}

impl RawClient {
    /// Connects to `127.0.0.1:PORT`.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn connect(bootstrap: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(bootstrap).with_context(|| format!("connect to {bootstrap}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        Ok(Self { stream, correlation_id: 0 })
    }

    /// Sends a request in this version and reads its answer.
    ///
    /// # Errors
    /// The broker closed the connection, or the answer cannot be decoded.
    pub fn call<R: Request>(&mut self, version: i16, request: &R) -> anyhow::Result<R::Response> {
        self.correlation_id += 1;
        let api = ApiKey::try_from(R::KEY).map_err(|()| anyhow::anyhow!("unknown key {}", R::KEY))?;
        let mut frame = BytesMut::new();
        RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(self.correlation_id)
            .with_client_id(Some(StrBytes::from_static_str("raw")))
            .encode(&mut frame, R::header_version(version))?;
        request.encode(&mut frame, version)?;
        self.send(&frame)?;
        let mut answer = self.receive().with_context(|| format!("{api:?} version {version}"))?;
        // ApiVersions is answered with the oldest header.
        let header_version =
            if api == ApiKey::ApiVersions { 0 } else { R::Response::header_version(version) };
        let header = ResponseHeader::decode(&mut answer, header_version)?;
        if header.correlation_id != self.correlation_id {
            bail!("answer {} to request {}", header.correlation_id, self.correlation_id);
        }
        R::Response::decode(&mut answer, version).with_context(|| format!("{api:?} version {version}"))
    }

    /// Sends any bytes as one frame.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn send(&mut self, frame: &[u8]) -> anyhow::Result<()> {
        let length = i32::try_from(frame.len())?;
        self.stream.write_all(&length.to_be_bytes())?;
        self.stream.write_all(frame)?;
        Ok(())
    }

    /// Reads one frame.
    ///
    /// # Errors
    /// The broker closed the connection, or sent nothing for too long.
    pub fn receive(&mut self) -> anyhow::Result<Bytes> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).context("the broker closed the connection")?;
        let length = usize::try_from(length.as_slice().get_i32())?;
        if length > LONGEST_ANSWER_BYTES {
            bail!("an answer of {length} bytes");
        }
        let mut frame = vec![0; length];
        self.stream.read_exact(&mut frame)?;
        Ok(frame.into())
    }
}
