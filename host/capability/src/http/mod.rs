//! `wasi:http`, outgoing: requests to the hosts that the manifest names, and to no others.
//!
//! A request is not held until its event is done, as records and mails are: it leaves when the handler makes
//! it, and is made again when its event is handled again. With `idempotency-key = true` each carries a key
//! that is the same then, so that the other side can tell a repeat. One request with its answer is an
//! exchange; the bodies of both are held whole, within their limits, and the time of one host call bounds it.
//! What waits for it is the host's time.
//!
//! Who owns: the exchange is a task of its own, ended when the guest drops it, when its event ends and when
//! its instance does. Who waits: the guest, in `wasi:io/poll`. What bounds: the grant's limits and
//! `host-call`; all of an event's waits together in a run's transaction have the time of one call.

mod exchange;
mod gate;

use std::sync::Arc;
use std::time::Duration;

use keylane_deployment::{Grants, HttpHost, Manifest};
use wasmtime::component::Linker;
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::at_work::AtWork;
use crate::capability::{Boxed, Capability, Part, Preparation, Session};
use crate::error::{CapabilityError, EffectsError};
use crate::http::gate::Gate;
use crate::limits;
use crate::scope::LogScope;
use crate::state::GuestState;

/// What the names, values and overhead of one request's headers may weigh, in bytes.
const HEADER_BYTES_MAX: usize = 64 * 1024;

/// The capability.
pub(crate) struct Http;

impl Capability for Http {
    fn interfaces(&self) -> &'static [&'static str] {
        &["wasi:http/outgoing-handler", "wasi:http/types"]
    }

    fn version(&self) -> &'static str {
        "0.2.12"
    }

    fn serves(&self, version: Option<&str>) -> bool {
        version.is_some_and(|version| version.starts_with("0.2."))
    }

    fn how_to_grant(&self) -> &'static str {
        "[grants.http] with hosts = [\"...\"]"
    }

    fn granted(&self, grants: &Grants) -> bool {
        grants.http.is_some()
    }

    fn link(&self, linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)
    }

    fn prepare<'a>(
        &'a self,
        preparation: &'a Preparation<'a>,
    ) -> Boxed<'a, Result<Box<dyn Part>, CapabilityError>> {
        let granted = granted(preparation.manifest).map(Arc::new);
        let part: Box<dyn Part> = Box::new(HttpPart { granted });
        Box::pin(std::future::ready(Ok(part)))
    }
}

/// What all instances of a revision share.
struct Granted {
    handler: String,
    hosts: Vec<HttpHost>,
    idempotency_key: bool,
    requests_max: usize,
    request_bytes_max: usize,
    response_bytes_max: usize,
    host_call: Duration,
    answered: metrics::Counter,
    failed: metrics::Counter,
    refused: metrics::Counter,
    under_way: metrics::Gauge,
    limits_reached: metrics::Counter,
}

fn granted(manifest: &Manifest) -> Option<Granted> {
    let grant = manifest.grants.http.clone()?;
    let handler = manifest.name.clone();
    let ended = |ended: &'static str| metrics::counter!("keylane_http_requests_total", "handler" => handler.clone(), "ended" => ended);
    Some(Granted {
        hosts: grant.hosts,
        idempotency_key: grant.idempotency_key,
        requests_max: grant.requests_max,
        request_bytes_max: grant.request_bytes_max,
        response_bytes_max: grant.response_bytes_max,
        host_call: manifest.limits.host_call,
        answered: ended("answered"),
        failed: ended("failed"),
        refused: ended("refused"),
        under_way: metrics::gauge!("keylane_http_requests_under_way", "handler" => handler.clone()),
        limits_reached: limits::reached(&handler, "http"),
        handler,
    })
}

struct HttpPart {
    granted: Option<Arc<Granted>>,
}

impl Part for HttpPart {
    fn session(&self, scope: &Arc<LogScope>) -> Box<dyn Session> {
        Box::new(HttpSession::new(Gate::new(self.granted.clone(), Some(scope.clone()))))
    }
}

/// The requests of one instance.
pub(crate) struct HttpSession {
    gate: Gate,
    context: WasiHttpCtx,
}

impl HttpSession {
    fn new(gate: Gate) -> Self {
        let mut context = WasiHttpCtx::new();
        context.set_field_size_limit(HEADER_BYTES_MAX);
        Self { gate, context }
    }

    /// Lets no request through.
    pub(crate) fn closed() -> Self {
        Self::new(Gate::new(None, None))
    }

    /// Whether an exchange is under way.
    pub(crate) fn is_under_way(&self) -> bool {
        self.gate.is_under_way()
    }
}

impl Session for HttpSession {
    fn begin(&mut self, at: &Arc<AtWork>) {
        self.gate.begin(at);
    }

    fn close(&mut self) -> Result<(), EffectsError> {
        match self.gate.end() {
            0 => Ok(()),
            requests => Err(EffectsError::Unanswered { requests }),
        }
    }

    fn forget(&mut self) {
        self.gate.end();
    }
}

impl WasiHttpView for GuestState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        let (session, table) = self.http_session();
        WasiHttpCtxView { hooks: &mut session.gate, table, ctx: &mut session.context }
    }
}
