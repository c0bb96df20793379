//! `wasi:logging`: a guest's messages go to the host's log, with handler and event beside them.

use std::sync::Arc;

use keylane_deployment::Grants;
use wasmtime::component::{HasSelf, Linker};

use crate::at_work::AtWork;
use crate::bindings::wasi::logging::logging;
use crate::capability::{Boxed, Capability, Part, Preparation, Session};
use crate::error::CapabilityError;
use crate::scope::LogScope;
use crate::state::GuestState;

/// The capability.
pub(crate) struct Logging;

impl Capability for Logging {
    fn interfaces(&self) -> &'static [&'static str] {
        &["wasi:logging/logging"]
    }

    fn version(&self) -> &'static str {
        "0.1.0-draft"
    }

    fn how_to_grant(&self) -> &'static str {
        "[grants.logging]"
    }

    fn granted(&self, grants: &Grants) -> bool {
        grants.logging.is_some()
    }

    fn link(&self, linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
        logging::add_to_linker::<_, HasSelf<GuestState>>(linker, |state| state)
    }

    fn prepare<'a>(
        &'a self,
        _preparation: &'a Preparation<'a>,
    ) -> Boxed<'a, Result<Box<dyn Part>, CapabilityError>> {
        let part: Box<dyn Part> = Box::new(LoggingPart);
        Box::pin(std::future::ready(Ok(part)))
    }
}

struct LoggingPart;

impl Part for LoggingPart {
    fn session(&self, scope: &Arc<LogScope>) -> Box<dyn Session> {
        Box::new(LoggingSession { scope: scope.clone() })
    }
}

struct LoggingSession {
    scope: Arc<LogScope>,
}

impl Session for LoggingSession {
    fn begin(&mut self, _at: &Arc<AtWork>) {}
}

impl logging::Host for GuestState {
    async fn log(&mut self, level: logging::Level, context: String, message: String) -> wasmtime::Result<()> {
        let _call = self.host_call();
        self.session::<LoggingSession>()?.scope.line(level, &context, &message);
        Ok(())
    }
}
