//! `wasi:keyvalue`: buckets of values that the manifest grants by name, in the database that the handler
//! writes to. What an event does to them is part of its run's transaction, so it happens once, with the rest
//! of the event. As in `sql`, an operation that fails dooms its event.

mod bindings;
mod host;
mod session;

use std::sync::Arc;

use keylane_deployment::{Grants, Manifest};
use wasmtime::component::{HasSelf, Linker};

use crate::capability::{Boxed, Capability, Part, Preparation, Session};
use crate::error::CapabilityError;
use crate::keyvalue::session::{Granted, KeyValueSession};
use crate::limits;
use crate::scope::LogScope;
use crate::state::GuestState;

pub use bindings::{atomics, batch, store};
pub use host::{BucketHandle, SwapHandle};

/// The capability.
pub(crate) struct KeyValue;

impl Capability for KeyValue {
    fn interfaces(&self) -> &'static [&'static str] {
        &["wasi:keyvalue/store", "wasi:keyvalue/atomics", "wasi:keyvalue/batch"]
    }

    fn version(&self) -> &'static str {
        "0.2.0-draft2"
    }

    fn how_to_grant(&self) -> &'static str {
        "[grants.keyvalue] with buckets = [\"...\"]"
    }

    fn granted(&self, grants: &Grants) -> bool {
        grants.keyvalue.is_some()
    }

    fn check(&self, manifest: &Manifest) -> Result<(), CapabilityError> {
        if manifest.grants.keyvalue.is_none() || manifest.grants.write_database().is_some() {
            return Ok(());
        }
        Err(CapabilityError::KeyValueNeedsDatabase { handler: manifest.name.clone() })
    }

    fn link(&self, linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
        store::add_to_linker::<_, HasSelf<GuestState>>(linker, |state| state)?;
        atomics::add_to_linker::<_, HasSelf<GuestState>>(linker, |state| state)?;
        batch::add_to_linker::<_, HasSelf<GuestState>>(linker, |state| state)
    }

    fn prepare<'a>(
        &'a self,
        preparation: &'a Preparation<'a>,
    ) -> Boxed<'a, Result<Box<dyn Part>, CapabilityError>> {
        let manifest = preparation.manifest;
        let buckets = manifest.grants.keyvalue.clone().map(|grant| grant.buckets).unwrap_or_default();
        let handler = manifest.name.clone();
        let granted = Arc::new(Granted {
            buckets: buckets.into_iter().collect(),
            database: manifest.grants.write_database().unwrap_or_default().to_owned(),
            host_call: manifest.limits.host_call,
            limits: preparation.resources.limits,
            asked: metrics::counter!("keylane_keyvalue_calls_total", "handler" => handler.clone()),
            doomed: metrics::counter!("keylane_keyvalue_doomed_events_total", "handler" => handler.clone()),
            limits_reached: limits::reached(&handler, "keyvalue"),
        });
        let part: Box<dyn Part> = Box::new(KeyValuePart { granted });
        Box::pin(std::future::ready(Ok(part)))
    }
}

struct KeyValuePart {
    granted: Arc<Granted>,
}

impl Part for KeyValuePart {
    fn session(&self, _scope: &Arc<LogScope>) -> Box<dyn Session> {
        Box::new(KeyValueSession::new(self.granted.clone()))
    }
}
