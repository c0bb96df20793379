//! Requests to the hosts that the manifest grants, by `wasi:http`.
//!
//! A request leaves at once: it does not wait until the event is done, and is made again when the event is
//! handled again. With `idempotency-key = true` in the manifest each carries a header `idempotency-key` that is
//! the same then, so that the other side can tell a repeat.

use std::time::Duration;

use crate::bindings::wasi::http::outgoing_handler;
use crate::bindings::wasi::http::types::{
    ErrorCode, Fields, IncomingBody, IncomingResponse, Method, OutgoingBody, OutgoingRequest, RequestOptions,
    Scheme,
};
use crate::bindings::wasi::io::streams::StreamError;
use crate::error::Error;

/// What one read of an answer's body asks for, in bytes.
const READ_BYTES: u64 = 64 * 1024;

/// A request to be made.
#[derive(Debug, Clone)]
pub struct Request {
    method: &'static str,
    url: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    timeout: Option<Duration>,
}

/// The answer to a request, whatever its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status, for example 200.
    pub status: u16,
    /// The headers, in lower case.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Request {
    fn new(method: &'static str, url: impl Into<String>) -> Request {
        Request { method, url: url.into(), headers: Vec::new(), body: Vec::new(), timeout: None }
    }

    /// Asks for what stands at a URL.
    pub fn get(url: impl Into<String>) -> Request {
        Self::new("GET", url)
    }

    /// Hands something over.
    pub fn post(url: impl Into<String>) -> Request {
        Self::new("POST", url)
    }

    /// Puts something in the place of what stands there.
    pub fn put(url: impl Into<String>) -> Request {
        Self::new("PUT", url)
    }

    /// Deletes what stands there.
    pub fn delete(url: impl Into<String>) -> Request {
        Self::new("DELETE", url)
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Request {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// With this body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Request {
        self.body = body.into();
        self
    }

    /// With this body as JSON.
    ///
    /// # Errors
    /// [`Error::Body`] if it cannot be written.
    pub fn json(self, body: &impl serde::Serialize) -> Result<Request, Error> {
        let body = serde_json::to_vec(body).map_err(|error| Error::Body(error.to_string()))?;
        Ok(self.header("content-type", "application/json").body(body))
    }

    /// Waits no longer than this to be connected, and no longer for the answer to begin. The manifest's
    /// `host-call` bounds it as a whole.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Request {
        self.timeout = Some(timeout);
        self
    }

    /// Makes the request and awaits the whole answer.
    ///
    /// # Errors
    /// [`Error::RequestRefused`] if the manifest does not grant it or it passes a limit, which no later
    /// attempt helps; [`Error::RequestFailed`] if no answer came.
    pub fn send(self) -> Result<Response, Error> {
        let outgoing = self.outgoing()?;
        let body = outgoing.body().map_err(|()| refused("the request has no body"))?;
        let options = self.timeout.map(options).transpose()?;
        let answer = outgoing_handler::handle(outgoing, options)?;
        // The host sends when the body is complete, and says itself what was wrong with it.
        let written = write(body, &self.body);
        answer.subscribe().block();
        let answered = answer.get().ok_or_else(|| failed("the host has no answer"))?;
        let answered = answered.map_err(|()| failed("the answer was taken before"))?;
        let response = answered?;
        written?;
        read(&response)
    }

    fn outgoing(&self) -> Result<OutgoingRequest, Error> {
        let (scheme, place) = match self.url.split_once("://") {
            Some(("https", place)) => (Scheme::Https, place),
            Some(("http", place)) => (Scheme::Http, place),
            _ => return Err(refused(&format!("{:?} does not begin with https:// or http://", self.url))),
        };
        let end = place.find(['/', '?']).unwrap_or(place.len());
        let (authority, path) = place.split_at(end);
        let headers = Fields::from_list(&self.headers).map_err(|error| refused(&format!("{error:?}")))?;
        let request = OutgoingRequest::new(headers);
        let method = match self.method {
            "GET" => Method::Get,
            "PUT" => Method::Put,
            "DELETE" => Method::Delete,
            _ => Method::Post,
        };
        let path = if path.is_empty() { "/" } else { path };
        let set = request
            .set_method(&method)
            .and_then(|()| request.set_scheme(Some(&scheme)))
            .and_then(|()| request.set_authority(Some(authority)))
            .and_then(|()| request.set_path_with_query(Some(path)));
        set.map_err(|()| refused(&format!("{:?} is not a URL", self.url)))?;
        Ok(request)
    }
}

impl Response {
    /// The first header of this name, if it is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
        found.and_then(|(_, value)| std::str::from_utf8(value).ok())
    }

    /// Whether the status says that it was done: 200 to 299.
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body, read from JSON.
    ///
    /// # Errors
    /// [`Error::Body`] if it is none of this type.
    pub fn json<T: serde::de::DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.body).map_err(|error| Error::Body(error.to_string()))
    }
}

fn refused(why: &str) -> Error {
    Error::RequestRefused(why.to_owned())
}

fn failed(why: &str) -> Error {
    Error::RequestFailed(why.to_owned())
}

fn options(timeout: Duration) -> Result<RequestOptions, Error> {
    let nanoseconds = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
    let options = RequestOptions::new();
    let set = options
        .set_connect_timeout(Some(nanoseconds))
        .and_then(|()| options.set_first_byte_timeout(Some(nanoseconds)));
    set.map_err(|()| refused("the host knows no time-outs"))?;
    Ok(options)
}

/// Writes the body. The host takes it as fast as it is sent on.
fn write(body: OutgoingBody, mut bytes: &[u8]) -> Result<(), Error> {
    let stopped = |error: StreamError| failed(&format!("its body: {error:?}"));
    let stream = body.write().map_err(|()| failed("the body was written before"))?;
    while !bytes.is_empty() {
        let room = usize::try_from(stream.check_write().map_err(stopped)?).unwrap_or(usize::MAX);
        if room == 0 {
            stream.subscribe().block();
            continue;
        }
        let (part, rest) = bytes.split_at(room.min(bytes.len()));
        stream.write(part).map_err(stopped)?;
        bytes = rest;
    }
    stream.flush().map_err(stopped)?;
    drop(stream);
    OutgoingBody::finish(body, None)?;
    Ok(())
}

fn read(response: &IncomingResponse) -> Result<Response, Error> {
    let body = response.consume().map_err(|()| failed("the answer was read before"))?;
    let mut bytes = Vec::new();
    let stream = body.stream().map_err(|()| failed("the answer was read before"))?;
    loop {
        match stream.blocking_read(READ_BYTES) {
            Ok(part) => bytes.extend(part),
            Err(StreamError::Closed) => break,
            Err(error) => return Err(failed(&format!("the answer's body: {error:?}"))),
        }
    }
    drop(stream);
    drop(IncomingBody::finish(body));
    Ok(Response { status: response.status(), headers: response.headers().entries(), body: bytes })
}

impl From<ErrorCode> for Error {
    fn from(code: ErrorCode) -> Error {
        let said = format!("{code:?}");
        match code {
            ErrorCode::HttpRequestDenied
            | ErrorCode::HttpRequestMethodInvalid
            | ErrorCode::HttpRequestUriInvalid
            | ErrorCode::HttpRequestBodySize(_)
            | ErrorCode::ConnectionLimitReached => Error::RequestRefused(said),
            _ => Error::RequestFailed(said),
        }
    }
}
