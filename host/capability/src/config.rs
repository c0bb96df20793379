//! `wasi:config`: values that the manifest names, as the manifest or this host's own file has them.

use std::collections::BTreeMap;
use std::sync::Arc;

use keylane_deployment::Grants;
use wasmtime::component::{HasSelf, Linker};

use crate::at_work::AtWork;
use crate::bindings::wasi::config::store;
use crate::capability::{Boxed, Capability, Part, Preparation, Session};
use crate::error::CapabilityError;
use crate::scope::LogScope;
use crate::state::GuestState;

/// The capability.
pub(crate) struct Config;

impl Capability for Config {
    fn interfaces(&self) -> &'static [&'static str] {
        &["wasi:config/store"]
    }

    fn version(&self) -> &'static str {
        "0.2.0-rc.1"
    }

    fn how_to_grant(&self) -> &'static str {
        "[grants.config] with NAME = \"VALUE\""
    }

    fn granted(&self, grants: &Grants) -> bool {
        grants.config.is_some()
    }

    fn link(&self, linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
        store::add_to_linker::<_, HasSelf<GuestState>>(linker, |state| state)
    }

    fn prepare<'a>(
        &'a self,
        preparation: &'a Preparation<'a>,
    ) -> Boxed<'a, Result<Box<dyn Part>, CapabilityError>> {
        let part: Box<dyn Part> = Box::new(ConfigPart { values: Arc::new(values(preparation)) });
        Box::pin(std::future::ready(Ok(part)))
    }
}

/// The values by the names that the manifest has. What the host says of others is not for this handler.
fn values(preparation: &Preparation<'_>) -> BTreeMap<String, String> {
    let manifest = preparation.manifest;
    let mut values = manifest.grants.config.clone().unwrap_or_default().values;
    for (name, value) in preparation.resources.config.get(&manifest.name).into_iter().flatten() {
        if let Some(place) = values.get_mut(name) {
            value.clone_into(place);
        }
    }
    values
}

struct ConfigPart {
    values: Arc<BTreeMap<String, String>>,
}

impl Part for ConfigPart {
    fn session(&self, _scope: &Arc<LogScope>) -> Box<dyn Session> {
        Box::new(ConfigSession { values: self.values.clone() })
    }
}

struct ConfigSession {
    values: Arc<BTreeMap<String, String>>,
}

impl Session for ConfigSession {
    fn begin(&mut self, _at: &Arc<AtWork>) {}
}

impl store::Host for GuestState {
    async fn get(&mut self, key: String) -> wasmtime::Result<Result<Option<String>, store::Error>> {
        let _call = self.host_call();
        Ok(Ok(self.session::<ConfigSession>()?.values.get(&key).cloned()))
    }

    async fn get_all(&mut self) -> wasmtime::Result<Result<Vec<(String, String)>, store::Error>> {
        let _call = self.host_call();
        let values = &self.session::<ConfigSession>()?.values;
        Ok(Ok(values.iter().map(|(name, value)| (name.clone(), value.clone())).collect()))
    }
}
