//! The trait of a capability and of what it makes: a part for each revision of a handler,
//! and a session for each instance.

use std::any::Any;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use keylane_deployment::{Grants, Manifest};
use keylane_effects::OutboxRow;
use keylane_engine::OutgoingRecord;
use wasmtime::component::Linker;

use crate::at_work::AtWork;
use crate::error::{CapabilityError, EffectsError};
use crate::prepared::HostResources;
use crate::scope::LogScope;
use crate::state::GuestState;

/// A future on the heap; traits of this crate are used as objects.
pub(crate) type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What a revision is prepared from.
pub struct Preparation<'a> {
    /// The handler's manifest.
    pub manifest: &'a Manifest,
    /// The folder of the manifest; paths in it are relative to this.
    pub manifest_dir: &'a Path,
    /// What the host has.
    pub resources: &'a HostResources,
}

/// One interface that the host offers and a manifest can grant.
pub trait Capability: Send + Sync {
    /// The interfaces without their version, for example `keylane:handler/sql`: at least one.
    fn interfaces(&self) -> &'static [&'static str];

    /// The version of them that this host has.
    fn version(&self) -> &'static str;

    /// Whether a component that was built against this version is served.
    fn serves(&self, version: Option<&str>) -> bool {
        version == Some(self.version())
    }

    /// What to write in a manifest to grant it.
    fn how_to_grant(&self) -> &'static str;

    /// Whether these grants hold it.
    fn granted(&self, grants: &Grants) -> bool;

    /// Whether the manifest's grant can be kept at all.
    ///
    /// # Errors
    /// Says what to change in the manifest.
    fn check(&self, manifest: &Manifest) -> Result<(), CapabilityError> {
        let _ = manifest;
        Ok(())
    }

    /// Puts the interface into a linker.
    ///
    /// # Errors
    /// When the linker already holds it.
    fn link(&self, linker: &mut Linker<GuestState>) -> wasmtime::Result<()>;

    /// Makes ready what a revision needs; called once for each revision that is granted this capability.
    fn prepare<'a>(
        &'a self,
        preparation: &'a Preparation<'a>,
    ) -> Boxed<'a, Result<Box<dyn Part>, CapabilityError>>;
}

/// What a revision shares among its instances.
pub trait Part: Send + Sync {
    /// Makes the session of one instance.
    fn session(&self, scope: &Arc<LogScope>) -> Box<dyn Session>;
}

/// What one instance does through one capability. Used by one event at a time.
pub trait Session: Any + Send {
    /// A new event begins; nothing of an earlier event may be left.
    fn begin(&mut self, at: &Arc<AtWork>);

    /// The handler has answered ok: whether what it did may become real.
    ///
    /// # Errors
    /// When something of it had failed, whatever the handler made of that.
    fn close(&mut self) -> Result<(), EffectsError> {
        Ok(())
    }

    /// With a run's transaction, when every session has closed: what was held, as rows of the outbox that
    /// are numbered from `ordinal` on.
    fn rows(&mut self, ordinal: i32) -> Vec<OutboxRow> {
        let _ = ordinal;
        Vec::new()
    }

    /// For a handler in cuts, when every session has closed: what was held.
    fn records(&mut self) -> Vec<OutgoingRecord> {
        Vec::new()
    }

    /// For every other without one, when every session has closed: hands over what was held. Answers what remains to be
    /// awaited, if anything.
    fn release(&mut self) -> Boxed<'_, Result<Option<Pending>, EffectsError>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// Drops everything of this event.
    fn forget(&mut self) {}
}

/// Effects that have left and are not acknowledged yet.
pub type Pending = Pin<Box<dyn Future<Output = Result<(), EffectsError>> + Send + 'static>>;
