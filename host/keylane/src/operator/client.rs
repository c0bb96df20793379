//! A client of the admin port: one request, one connection, limits on time and size.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::text::plain;
use crate::api::Refusal;
use crate::config::Admin;

/// How long a connection may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How long an answer may take. The host bounds its own part further.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// The largest answer: some 10,000 partitions.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Why a host could not be asked, or said no.
#[derive(Debug, thiserror::Error)]
#[error("{problem}")]
pub(crate) struct OperatorError {
    problem: String,
    /// What to do about it.
    pub(crate) hint: Option<String>,
    /// Whether a person gave something wrong, so that asking the same again cannot help.
    pub(crate) bad_input: bool,
}

impl OperatorError {
    fn failed(problem: String, hint: &str) -> Self {
        Self { problem, hint: Some(hint.to_owned()), bad_input: false }
    }

    /// For something a person gave that cannot be used.
    pub(crate) fn wrong(problem: String, hint: &str) -> Self {
        Self { problem, hint: Some(hint.to_owned()), bad_input: true }
    }

    /// For an answer that is not what this version understands.
    pub(super) fn unexpected(error: &dyn std::fmt::Display) -> Self {
        Self::failed(
            format!("the answer cannot be understood: {error}"),
            "is it a keylane host of the same version that listens there?",
        )
    }
}

/// Speaks to the host of one host file.
pub(super) struct Client {
    address: SocketAddr,
    token: String,
    file: PathBuf,
}

impl Client {
    /// For the host that runs with this file.
    ///
    /// # Errors
    /// When the file is wrong, names no token, or leaves the port to chance.
    pub(super) fn of(file: &Path) -> anyhow::Result<Self> {
        let admin = Admin::load(file)?;
        let Some(token) = admin.token()? else {
            return Err(OperatorError::wrong(
                format!("{} names no token, and without one a host answers nobody", file.display()),
                "add `token-file` or `token-env` under [admin], and start the host again",
            )
            .into());
        };
        if admin.listen.port() == 0 {
            return Err(OperatorError::wrong(
                format!("`admin.listen` in {} has port 0: the host took a free one", file.display()),
                "give it a port, and start the host again",
            )
            .into());
        }
        Ok(Self { address: reachable(admin.listen), token, file: file.to_owned() })
    }

    /// Asks.
    ///
    /// # Errors
    /// When the host cannot be reached, or says no.
    pub(super) async fn get(&self, path: &str) -> Result<String, OperatorError> {
        self.ask(Method::GET, path, Bytes::new()).await
    }

    /// Tells.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub(super) async fn post(&self, path: &str, body: &impl Serialize) -> Result<String, OperatorError> {
        let body = serde_json::to_vec(body).map_err(|error| OperatorError::unexpected(&error))?;
        self.ask(Method::POST, path, body.into()).await
    }

    async fn ask(&self, method: Method, path: &str, body: Bytes) -> Result<String, OperatorError> {
        let stream = self.connect().await?;
        let (code, answer) = timeout(ANSWER_LIMIT, self.exchange(stream, method, path, body))
            .await
            .map_err(|_| self.broken(&format!("no answer within {} s", ANSWER_LIMIT.as_secs())))?
            .map_err(|error| self.broken(&error))?;
        let text = String::from_utf8_lossy(&answer).into_owned();
        if code == StatusCode::OK { Ok(text) } else { Err(self.refused(code, &text)) }
    }

    async fn connect(&self) -> Result<TcpStream, OperatorError> {
        let connected = timeout(CONNECT_LIMIT, TcpStream::connect(self.address)).await;
        let reason = match connected {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no connection within {} s", CONNECT_LIMIT.as_secs()),
        };
        Err(OperatorError::failed(
            format!(
                "no host answers at {}, the `admin.listen` of {}: {reason}",
                self.address,
                self.file.display()
            ),
            "is it running on this machine? `keylane host --config FILE` starts it",
        ))
    }

    async fn exchange(
        &self,
        stream: TcpStream,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), Box<dyn std::error::Error + Send + Sync>> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.address.to_string())
            .header(AUTHORIZATION, format!("Bearer {}", self.token))
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Ends with the answer, or with this future, whose runtime ends with the command.
        let carried = tokio::spawn(connection);
        let answer = sender.send_request(request).await?;
        let code = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await?.to_bytes();
        carried.abort();
        Ok((code, body))
    }

    fn broken(&self, reason: &dyn std::fmt::Display) -> OperatorError {
        OperatorError::failed(
            format!("the host at {} did not answer: {reason}", self.address),
            "look at its log",
        )
    }

    /// The host's own words, where it has any.
    fn refused(&self, code: StatusCode, text: &str) -> OperatorError {
        let Ok(refusal) = serde_json::from_str::<Refusal>(text) else {
            return OperatorError::unexpected(&format!("{code} from {}", self.address));
        };
        let hint = match code {
            StatusCode::UNAUTHORIZED => Some(format!(
                "the host at {} was started with another token than {} names now",
                self.address,
                self.file.display()
            )),
            _ => refusal.hint.as_deref().map(plain),
        };
        OperatorError { problem: plain(&refusal.error), hint, bad_input: code.is_client_error() }
    }
}

/// Where a host can be reached that listens at this address: one that listens everywhere, on loopback.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests;
