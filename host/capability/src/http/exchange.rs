//! One request with its answer, both held whole and within their limits.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use futures::future::{Either, select};
use http_body_util::{BodyExt, Full};
use hyper::body::Body;
use hyper::{Request, Response};
use tokio::sync::watch;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, default_send_request};

use crate::at_work::AtWork;
use crate::http::gate::UnderWay;

/// An answer that has come whole.
pub(super) type Answer = Response<WasiBody>;

/// An exchange that may begin.
pub(super) struct Exchange {
    pub(super) request: Request<WasiBody>,
    /// What the handler asks for; it may only shorten the time.
    pub(super) options: RequestOptions,
    /// How long all of it may take.
    pub(super) time: Duration,
    pub(super) request_bytes_max: usize,
    pub(super) response_bytes_max: usize,
    /// Closed when the event has ended.
    pub(super) event: watch::Receiver<()>,
    pub(super) under_way: UnderWay,
    pub(super) at: Arc<AtWork>,
}

/// Tells the event what an exchange has taken, also of one that is given up.
struct Waited {
    at: Arc<AtWork>,
    begun: Instant,
}

impl Drop for Waited {
    fn drop(&mut self) {
        self.at.waited_elsewhere(self.begun.elapsed());
    }
}

impl Exchange {
    /// Sends the request and awaits the answer, or the end of its time or of its event.
    pub(super) async fn carry_out(self) -> Result<Answer, Error> {
        let Self { request, options, time, request_bytes_max, response_bytes_max, mut event, under_way, at } =
            self;
        let _under_way = under_way;
        let _waited = Waited { at, begun: Instant::now() };
        let capped = |wished: Option<Duration>| Some(wished.unwrap_or(time).min(time));
        let options = RequestOptions {
            connect_timeout: capped(options.connect_timeout),
            first_byte_timeout: capped(options.first_byte_timeout),
            between_bytes_timeout: capped(options.between_bytes_timeout),
        };
        let exchange = pin!(exchange(request, options, request_bytes_max, response_bytes_max));
        let bounded = pin!(tokio::time::timeout(time, exchange));
        let ended = pin!(event.changed());
        match select(bounded, ended).await {
            Either::Left((Ok(answer), _)) => answer,
            Either::Left((Err(_late), _)) => Err(Error::HttpResponseTimeout),
            Either::Right(_) => Err(Error::ConnectionTerminated),
        }
    }
}

async fn exchange(
    request: Request<WasiBody>,
    options: RequestOptions,
    request_bytes_max: usize,
    response_bytes_max: usize,
) -> Result<Answer, Error> {
    let (parts, body) = request.into_parts();
    let body = whole(body, request_bytes_max, Error::HttpRequestBodySize).await?;
    let request = Request::from_parts(parts, held(body));
    let (response, connection) = default_send_request(request, Some(options)).await?;
    let (parts, body) = response.into_parts();
    let body = pin!(body);
    let body = pin!(whole(body, response_bytes_max, Error::HttpResponseBodySize));
    // The connection is driven until the body has come. Why it ended early is told by the body.
    let body = match select(body, pin!(connection)).await {
        Either::Left((body, _)) => body?,
        Either::Right((_, body)) => body.await?,
    };
    Ok(Response::from_parts(parts, held(body)))
}

fn held(body: Bytes) -> WasiBody {
    Full::new(body).map_err(|never| match never {}).boxed_unsync()
}

/// Reads a body to its end. What follows it, trailers, is left out.
async fn whole(
    mut body: impl Body<Data = Bytes, Error = Error> + Unpin,
    bytes_max: usize,
    too_large: fn(Option<u64>) -> Error,
) -> Result<Bytes, Error> {
    let mut read = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        if read.len().saturating_add(data.len()) > bytes_max {
            return Err(too_large(u64::try_from(bytes_max).ok()));
        }
        read.extend_from_slice(&data);
    }
    Ok(read.freeze())
}
