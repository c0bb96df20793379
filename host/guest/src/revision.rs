//! A revision: one component, checked against its manifest, compiled, linked and with a warm pool.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use keylane_capability::bindings::HandlerPre;
use keylane_capability::{Capabilities, CapabilityError, GuestState};
use keylane_deployment::Manifest;
use keylane_effects::Database;
use keylane_engine::Outcome;
use wasmtime::component::{Component, Linker};

use crate::census::InstanceCounts;
use crate::component_file::{Compiled, compile};
use crate::engine::GuestEngine;
use crate::error::GuestError;
use crate::instance::Blueprint;
use crate::pool::Pool;

/// A component that is ready to run. Dropping the last runner and the revision ends its instances.
#[derive(Clone)]
pub struct Revision {
    id: Arc<str>,
    pub(crate) pool: Arc<Pool>,
}

/// A component that fits its manifest: compiled, checked and linked, with nothing opened for it.
pub struct Fitted {
    id: String,
    file: PathBuf,
    component: HandlerPre<GuestState>,
}

impl Revision {
    /// Reads the component that the manifest names, compiles it, checks what it imports and links it: no database is
    /// asked and no instance is made. Compiling does not block the async runtime.
    ///
    /// # Errors
    /// Says what is wrong with the file, the component or what it imports, and what to do.
    pub async fn fit(
        engine: &GuestEngine,
        manifest: &Manifest,
        manifest_dir: &Path,
        capabilities: &Capabilities,
    ) -> Result<Fitted, GuestError> {
        let file = manifest_dir.join(&manifest.component);
        let Compiled { revision: id, component } = compile_aside(engine, &file).await?;
        check_imports(engine, manifest, &component, capabilities)
            .map_err(|refusal| GuestError::Import { file: file.clone(), refusal })?;
        let component = link(engine, manifest, &component, capabilities)
            .map_err(|error| GuestError::Link { file: file.clone(), reason: format!("{error:#}") })?;
        Ok(Fitted { id, file, component })
    }

    /// The start of the digest of the component's bytes: the same component has the same.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The database that the handler writes to, if it has one: where its progress is the truth.
    #[must_use]
    pub fn write_database(&self) -> Option<Arc<dyn Database>> {
        self.pool.blueprint.prepared.write_database().cloned()
    }

    /// What became of its instances so far.
    #[must_use]
    pub fn instances(&self) -> InstanceCounts {
        self.pool.census.counts()
    }
}

impl Fitted {
    /// Prepares the capabilities, which may run migrations and wait for the database as long as it takes, and makes a
    /// first instance.
    ///
    /// # Errors
    /// Says what is wrong with what is granted or with the instance, and what to do.
    pub async fn prepare(
        self,
        engine: &GuestEngine,
        manifest: &Manifest,
        manifest_dir: &Path,
        capabilities: &Capabilities,
    ) -> Result<Revision, GuestError> {
        let Self { id, file, component } = self;
        let prepared = capabilities.prepare(manifest, manifest_dir).await?;
        let blueprint = Blueprint { component, prepared, limits: manifest.limits.clone() };
        let pool = Pool::new(manifest.name.as_str().into(), blueprint, &engine.options);
        pool.warm().await.map_err(|failure| first_instance(file.clone(), failure.into()))?;
        let id: Arc<str> = id.into();
        tracing::info!(handler = %manifest.name, revision = %id, file = %file.display(), "revision is ready");
        Ok(Revision { id, pool })
    }
}

/// Compiles on a thread that may block.
async fn compile_aside(engine: &GuestEngine, file: &Path) -> Result<Compiled, GuestError> {
    let (engine, path) = (engine.engine.clone(), file.to_owned());
    tokio::task::spawn_blocking(move || compile(&engine, &path)).await.unwrap_or_else(|error| {
        Err(GuestError::NotAComponent {
            file: file.to_owned(),
            found: format!("it breaks the compiler: {error}"),
        })
    })
}

fn check_imports(
    engine: &GuestEngine,
    manifest: &Manifest,
    component: &Component,
    capabilities: &Capabilities,
) -> Result<(), CapabilityError> {
    let types = component.component_type();
    let imports: Vec<_> = types.imports(&engine.engine).map(|(name, _)| name).collect();
    capabilities.check(manifest, &imports)
}

fn link(
    engine: &GuestEngine,
    manifest: &Manifest,
    component: &Component,
    capabilities: &Capabilities,
) -> wasmtime::Result<HandlerPre<GuestState>> {
    let mut linker = Linker::new(&engine.engine);
    capabilities.link(&mut linker, &manifest.grants)?;
    HandlerPre::new(linker.instantiate_pre(component)?)
}

fn first_instance(file: PathBuf, outcome: Outcome) -> GuestError {
    let reason = match outcome {
        Outcome::Failed { reason, .. } => reason,
        Outcome::Done | Outcome::NotStarted => String::new(),
    };
    GuestError::FirstInstance { file, reason }
}
