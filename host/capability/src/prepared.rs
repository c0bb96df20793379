//! All capabilities together: checking a component's imports, linking, and preparing a revision.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use keylane_deployment::{Grants, Manifest};
use keylane_effects::{Database, ReadDatabase};
use keylane_engine::Publisher;
use wasmtime::component::Linker;

use crate::capability::{Capability, Part, Preparation};
use crate::error::CapabilityError;
use crate::limits::CapabilityLimits;
use crate::mail::Mailer;
use crate::memory::MemoryLimits;
use crate::scope::LogScope;
use crate::state::GuestState;

/// The package's types, imported by every component and granted to all: they do nothing.
const TYPES: &str = "keylane:handler/types";
/// Their version.
const TYPES_VERSION: &str = "0.1.0";

/// What the host has, to be handed out by manifest.
pub struct HostResources {
    /// Open databases by handler and by the name the manifest gives them.
    pub databases: BTreeMap<String, BTreeMap<String, OpenDatabase>>,
    /// Takes the records of handlers that write to no database.
    pub publisher: Arc<dyn Publisher>,
    /// Sends mails, if the host can send any.
    pub mailer: Option<Arc<Mailer>>,
    /// Values of the configuration by handler and by name: what this host says otherwise than the manifest.
    pub config: BTreeMap<String, BTreeMap<String, String>>,
    /// The host's own limits.
    pub limits: CapabilityLimits,
}

/// A database that the host has opened for a handler.
#[derive(Clone)]
pub enum OpenDatabase {
    /// To write to, in transactions of runs.
    Write(Arc<dyn Database>),
    /// To read from only.
    Read(Arc<dyn ReadDatabase>),
}

/// Everything this host can grant.
pub struct Capabilities {
    all: Vec<Box<dyn Capability>>,
    resources: HostResources,
}

impl Capabilities {
    /// All capabilities over these resources.
    #[must_use]
    pub fn new(resources: HostResources) -> Self {
        Self { all: crate::all::all(), resources }
    }

    /// Whether the manifest's grants can be kept and cover these imports, each named as the component
    /// names it (`package:name/interface@version`).
    ///
    /// # Errors
    /// Names the import and says what to write in the manifest.
    pub fn check(&self, manifest: &Manifest, imports: &[&str]) -> Result<(), CapabilityError> {
        for capability in &self.all {
            capability.check(manifest)?;
        }
        imports.iter().try_for_each(|import| self.check_import(manifest, import))
    }

    fn check_import(&self, manifest: &Manifest, import: &str) -> Result<(), CapabilityError> {
        let (interface, version) =
            import.split_once('@').map_or((import, None), |(name, version)| (name, Some(version)));
        if crate::wasi::offers(interface, version) {
            return Ok(());
        }
        let (handler, import) = (manifest.name.clone(), import.to_owned());
        if interface == TYPES {
            return match version {
                Some(TYPES_VERSION) => Ok(()),
                _ => Err(CapabilityError::Version {
                    handler,
                    import,
                    interface: TYPES,
                    version: TYPES_VERSION,
                }),
            };
        }
        let offered = self.all.iter().flat_map(|one| one.interfaces().iter().map(move |name| (one, *name)));
        let Some((capability, interface)) = offered.clone().find(|(_, name)| *name == interface) else {
            let offered: Vec<_> = offered.map(|(_, name)| name).collect();
            return Err(CapabilityError::Unknown { handler, import, offered: offered.join(", ") });
        };
        if !capability.serves(version) {
            let version = capability.version();
            return Err(CapabilityError::Version { handler, import, interface, version });
        }
        if !capability.granted(&manifest.grants) {
            return Err(CapabilityError::NotGranted { handler, import, grant: capability.how_to_grant() });
        }
        Ok(())
    }

    /// Puts the language's runtime and the granted interfaces into a linker, and nothing else.
    ///
    /// # Errors
    /// When the linker already holds one of them.
    pub fn link(&self, linker: &mut Linker<GuestState>, grants: &Grants) -> wasmtime::Result<()> {
        crate::wasi::link(linker)?;
        let mut granted = self.all.iter().filter(|capability| capability.granted(grants));
        granted.try_for_each(|capability| capability.link(linker))
    }

    /// Makes ready what a revision needs: the tables of its database are brought up to date.
    ///
    /// # Errors
    /// Names the database, file or setting that is at fault.
    pub async fn prepare(
        &self,
        manifest: &Manifest,
        manifest_dir: &Path,
    ) -> Result<Prepared, CapabilityError> {
        let preparation = Preparation { manifest, manifest_dir, resources: &self.resources };
        let mut parts = Vec::new();
        for capability in &self.all {
            if capability.granted(&manifest.grants) {
                capability.check(manifest)?;
                parts.push(capability.prepare(&preparation).await?);
            }
        }
        Ok(Prepared {
            write_database: crate::sql::write_database(&preparation)?,
            handler: manifest.name.as_str().into(),
            memory_bytes: manifest.limits.memory_bytes,
            table_elements: manifest.limits.table_elements,
            limits: self.resources.limits,
            in_cuts: manifest.is_in_cuts(),
            parts,
        })
    }
}

/// What a revision shares among its instances.
pub struct Prepared {
    handler: Arc<str>,
    memory_bytes: usize,
    table_elements: usize,
    limits: CapabilityLimits,
    parts: Vec<Box<dyn Part>>,
    write_database: Option<Arc<dyn Database>>,
    in_cuts: bool,
}

impl Prepared {
    /// The database that the handler writes to. Its events run in transactions there ([`crate::RunSlot`])
    /// and nothing of them leaves by itself; without one, each event's records leave at its end, unless the
    /// handler is [in cuts](Self::is_in_cuts).
    #[must_use]
    pub fn write_database(&self) -> Option<&Arc<dyn Database>> {
        self.write_database.as_ref()
    }

    /// Whether what its events give out is held, to be committed with its progress.
    #[must_use]
    pub fn is_in_cuts(&self) -> bool {
        self.in_cuts
    }

    /// The data of one new instance.
    #[must_use]
    pub fn state(&self) -> GuestState {
        let scope = LogScope::new(self.handler.clone(), &self.limits);
        let sessions = self.parts.iter().map(|part| part.session(&scope)).collect();
        let memory = MemoryLimits::new(self.memory_bytes, self.table_elements);
        GuestState::new(scope, memory, self.limits.handles, sessions)
    }
}
