//! The gate that each request passes: where it may go, how many there may be, and what the host adds to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use keylane_deployment::HttpHost;
use keylane_engine::Counted;
use tokio::sync::watch;
use wasmtime_wasi_http::{
    DEFAULT_FORBIDDEN_HEADERS, Error, ForbiddenHeaderFilter, RequestOptions, WasiBody, WasiHttpHooks,
};

use hyper::Request;
use hyper::header::{HeaderName, HeaderValue};
use hyper::http::uri::{Authority, Scheme, Uri};

use crate::at_work::AtWork;
use crate::bindings::wasi::logging::logging::Level;
use crate::http::Granted;
use crate::http::exchange::{Answer, Exchange};
use crate::scope::LogScope;
use crate::trace;

/// By this the other side knows a repeat. The host's own: where it is granted, a handler may not set it.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// What the library awaits.
type Sending = Box<dyn Future<Output = Result<(Answer, Driving), Error>> + Send>;
/// What drives a connection after the answer has come: nothing, since the answer has come whole.
type Driving = Box<dyn Future<Output = Result<(), Error>> + Send>;

/// The gate of one instance.
pub(super) struct Gate {
    granted: Option<Arc<Granted>>,
    scope: Option<Arc<LogScope>>,
    at: Option<Arc<AtWork>>,
    /// Requests that the event has made.
    made: usize,
    /// Those of them that have ended, whether with an answer or with an error.
    ended: Arc<AtomicUsize>,
    /// Exchanges that there are, of whichever event.
    under_way: Arc<AtomicUsize>,
    /// Dropped at the event's end: the exchanges that are under way end with it.
    event: watch::Sender<()>,
}

impl Gate {
    pub(super) fn new(granted: Option<Arc<Granted>>, scope: Option<Arc<LogScope>>) -> Self {
        Self {
            granted,
            scope,
            at: None,
            made: 0,
            ended: Arc::default(),
            under_way: Arc::default(),
            event: watch::Sender::new(()),
        }
    }

    pub(super) fn begin(&mut self, at: &Arc<AtWork>) {
        self.end();
        self.at = Some(at.clone());
    }

    /// The event ends. Answers how many of its requests nobody knows the end of.
    pub(super) fn end(&mut self) -> usize {
        let made = std::mem::take(&mut self.made);
        let ended = std::mem::take(&mut self.ended).load(Ordering::Acquire);
        self.event = watch::Sender::new(());
        self.at = None;
        made.saturating_sub(ended)
    }

    pub(super) fn is_under_way(&self) -> bool {
        self.under_way.load(Ordering::Acquire) > 0
    }

    /// Lets a request through, as the exchange that it begins.
    fn pass(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
    ) -> Result<Exchange, Error> {
        let (Some(granted), Some(at)) = (self.granted.clone(), self.at.clone()) else {
            return Err(Error::HttpRequestDenied);
        };
        let refused = |error: Error, said: &str| {
            granted.refused.increment(1);
            if let Some(scope) = &self.scope {
                scope.line(Level::Warn, "http", said);
            }
            Err(error)
        };
        if let Err(said) = may_go_to(&granted.hosts, request.uri()) {
            return refused(Error::HttpRequestDenied, &said);
        }
        if *request.method() == hyper::Method::CONNECT {
            return refused(Error::HttpRequestMethodInvalid, "a request may not open a tunnel (CONNECT)");
        }
        let time = at.left_elsewhere(granted.host_call);
        if self.made >= granted.requests_max || time.is_zero() {
            granted.limits_reached.increment(1);
            let said = if time.is_zero() {
                format!("the event has waited {:?} for others (host-call)", granted.host_call)
            } else {
                format!("one event may make {} requests (requests-max)", granted.requests_max)
            };
            return refused(Error::ConnectionLimitReached, &said);
        }
        let request = marked(request, &granted, &at, self.made)?;
        self.made += 1;
        Ok(Exchange {
            request,
            options: options.unwrap_or_default(),
            time,
            request_bytes_max: granted.request_bytes_max,
            response_bytes_max: granted.response_bytes_max,
            event: self.event.subscribe(),
            under_way: UnderWay::new(&self.under_way, &granted.under_way),
            at,
        })
    }
}

/// Counts an exchange while it lives.
pub(super) struct UnderWay {
    count: Arc<AtomicUsize>,
    _shown: Counted,
}

impl UnderWay {
    fn new(count: &Arc<AtomicUsize>, shown: &metrics::Gauge) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self { count: count.clone(), _shown: Counted::new(shown) }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Whether a request may go there. An authority that is written in any other way than host and port is
/// refused, so that nothing can be read in two ways.
fn may_go_to(hosts: &[HttpHost], uri: &Uri) -> Result<(), String> {
    let refused = || format!("the manifest does not grant {uri}; add its host to hosts under [grants.http]");
    let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else { return Err(refused()) };
    let encrypted = *scheme == Scheme::HTTPS;
    if !encrypted && *scheme != Scheme::HTTP {
        return Err(refused());
    }
    let (host, port) = place(authority, encrypted).ok_or_else(refused)?;
    let granted = HttpHost { encrypted, host, port };
    if hosts.contains(&granted) { Ok(()) } else { Err(refused()) }
}

fn place(authority: &Authority, encrypted: bool) -> Option<(String, u16)> {
    let host = authority.host();
    let plain = authority.as_str() == host;
    let port = authority.port_u16();
    let with_port = port.is_some_and(|port| authority.as_str() == format!("{host}:{port}"));
    if !plain && !with_port {
        return None;
    }
    let port = port.unwrap_or(HttpHost::usual_port(encrypted));
    Some((host.to_ascii_lowercase(), port))
}

/// The request with what the host adds: the event's trace, and the key that is the same at a repeat.
fn marked(
    mut request: Request<WasiBody>,
    granted: &Granted,
    at: &AtWork,
    ordinal: usize,
) -> Result<Request<WasiBody>, Error> {
    let invalid = |_| Error::InternalError(Some("a header of the host's cannot be written".to_owned()));
    if granted.idempotency_key {
        let key = HeaderValue::try_from(idempotency_key(&granted.handler, at, ordinal)).map_err(invalid)?;
        request.headers_mut().insert(IDEMPOTENCY_KEY, key);
    }
    let mut added = Vec::new();
    trace::pass_on(&granted.handler, &at.event, &mut added);
    for header in added {
        let (Ok(name), Some(value)) = (HeaderName::try_from(header.name), header.value) else { continue };
        if let Ok(value) = HeaderValue::from_maybe_shared(value)
            && !request.headers().contains_key(&name)
        {
            request.headers_mut().insert(name, value);
        }
    }
    Ok(request)
}

/// Which request this is: the same whenever the event is handled again, unless an operator's replay wants its effects
/// once more, and no other's. A topic that was deleted and made again counts its offsets anew, so its id stands for
/// it; its name where there is none.
fn idempotency_key(handler: &str, at: &AtWork, ordinal: usize) -> String {
    let source = &at.event.source;
    let topic = if at.topic_id.is_known() { at.topic_id.to_string() } else { source.topic.to_string() };
    format!("{handler}.{topic}.{}.{}.{ordinal}{}", source.partition, at.event.offset, at.again())
}

impl WasiHttpHooks for Gate {
    fn is_forbidden_header(&mut self, name: &HeaderName) -> bool {
        (self.forbidden_header_filter())(name)
    }

    fn forbidden_header_filter(&mut self) -> ForbiddenHeaderFilter {
        let own = self.granted.as_ref().is_some_and(|granted| granted.idempotency_key);
        Arc::new(move |name| DEFAULT_FORBIDDEN_HEADERS.contains(name) || (own && *name == IDEMPOTENCY_KEY))
    }

    /// So much of a request's body a handler may write before it lets the request go: 1 MiB.
    fn p2_outgoing_body_buffer_chunks(&mut self) -> usize {
        16
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        64 * 1024
    }

    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _processed: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Sending {
        let exchange = match self.pass(request, options) {
            Ok(exchange) => exchange,
            Err(refused) => return Box::new(std::future::ready(Err(refused))),
        };
        let (granted, ended) = (self.granted.clone(), self.ended.clone());
        Box::new(async move {
            let answer = exchange.carry_out().await;
            if let Some(granted) = granted {
                let counter = if answer.is_ok() { &granted.answered } else { &granted.failed };
                counter.increment(1);
            }
            ended.fetch_add(1, Ordering::AcqRel);
            let driving: Driving = Box::new(std::future::ready(Ok(())));
            Ok((answer?, driving))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(uri: &str) -> bool {
        let hosts = ["api.example.org", "http://10.0.0.7:8080", "[::1]:8443"];
        let hosts: Vec<HttpHost> = hosts.iter().map(|host| host.parse().unwrap()).collect();
        uri.parse::<Uri>().is_ok_and(|uri| may_go_to(&hosts, &uri).is_ok())
    }

    #[test]
    fn a_request_goes_to_hosts_that_are_granted() {
        for uri in [
            "https://api.example.org/a?b=c",
            "https://API.example.org/",
            "https://api.example.org:443/",
            "http://10.0.0.7:8080/",
            "https://[::1]:8443/",
        ] {
            assert!(passes(uri), "{uri}");
        }
    }

    #[test]
    fn a_request_goes_nowhere_else() {
        for uri in [
            "http://api.example.org/",
            "https://api.example.org:8443/",
            "https://api.example.org./",
            "https://api.example.org.evil.example/",
            "https://evil.example/https://api.example.org",
            "https://user@api.example.org/",
            "https://api.example.org@evil.example/",
            "https://api.example.org:443@evil.example/",
            "https://evil.example#api.example.org",
            "https://xapi.example.org/",
            "https://10.0.0.7:8080/",
            "http://10.0.0.7/",
            "http://0x0a000007:8080/",
            "http://167772167:8080/",
            "https://[::1]/",
            "https://[::ffff:127.0.0.1]:8443/",
            "ftp://api.example.org/",
            "/",
        ] {
            assert!(!passes(uri), "{uri}");
        }
    }
}
