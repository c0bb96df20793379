//! The manifest (`handler.toml`): what a handler subscribes to, how its events are delivered,
//! what its component may reach, and its limits.

mod dead_letters;
mod delivery;
mod grants;
mod limits;
mod subscribe;

use std::path::{Path, PathBuf};

use crate::document::Document;
use crate::error::DeploymentError;
use crate::raw::RawManifest;

pub use dead_letters::{DeadLetters, HeaderProfile};
pub use delivery::{Caps, Delivery, Flood, Guarantee, NullKeys, Order, Then};
pub use grants::{
    Access, ConfigGrant, Grants, HttpGrant, Isolation, KeyValueGrant, LoggingGrant, MailGrant, ProducerGrant,
    SqlGrant,
};
pub use limits::Limits;
pub use subscribe::{Lost, Start, Subscribe, Untyped};

/// A checked manifest.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// The handler's name: part of its consumer group, of its dead-letter topic and of all it logs.
    pub name: String,
    /// The component's file, relative to the manifest's folder.
    pub component: PathBuf,
    /// Which records become events of this handler.
    pub subscribe: Subscribe,
    /// How events are delivered.
    pub delivery: Delivery,
    /// Where events go that could not be handled.
    pub dead_letters: DeadLetters,
    /// What the component may reach.
    pub grants: Grants,
    /// What one event may use.
    pub limits: Limits,
}

impl Manifest {
    /// Reads and checks a manifest.
    ///
    /// # Errors
    /// When the file cannot be read, is not TOML, has an unknown key, lacks one, or holds a value that this
    /// version cannot keep. The error names the file, the line and the key.
    pub fn load(file: &Path) -> Result<Self, DeploymentError> {
        Self::from_document(&Document::read(file)?)
    }

    /// The same for a document that is already read.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn from_document(document: &Document) -> Result<Self, DeploymentError> {
        let raw: RawManifest = document.parse()?;
        crate::check::manifest(document, raw)
    }

    /// Checks that what the manifest names on disk is there: the component and the folders of migrations.
    /// `file` is the manifest's own file.
    ///
    /// # Errors
    /// When one of them is not.
    pub fn check_files(&self, file: &Path) -> Result<(), DeploymentError> {
        let folder = file.parent().unwrap_or_else(|| Path::new(""));
        let missing =
            |what, path: PathBuf| DeploymentError::Missing { file: file.to_owned(), what, missing: path };
        let component = folder.join(&self.component);
        if !component.is_file() {
            return Err(missing("component", component));
        }
        let migrations = self.grants.sql.values().filter_map(|grant| grant.migrations.as_deref());
        match migrations.map(|migrations| folder.join(migrations)).find(|migrations| !migrations.is_dir()) {
            Some(migrations) => Err(missing("folder of migrations", migrations)),
            None => Ok(()),
        }
    }

    /// Whether anything of this handler can go to the dead letters.
    #[must_use]
    pub fn has_dead_letters(&self) -> bool {
        has_dead_letters(self.delivery.then, self.subscribe.untyped)
    }

    /// Whether the handler is in cuts: exactly once without a database, by Kafka's transactions.
    #[must_use]
    pub fn is_in_cuts(&self) -> bool {
        self.delivery.guarantee == Guarantee::ExactlyOnce && self.grants.write_database().is_none()
    }

    /// The consumer group of this handler in a fleet.
    #[must_use]
    pub fn group(&self, fleet: &str) -> String {
        format!("{fleet}.{}", self.name)
    }
}

/// What failed for good goes there, or what has no type, or both, or nothing does.
pub(crate) fn has_dead_letters(then: Then, untyped: Untyped) -> bool {
    then == Then::DeadLetter || untyped == Untyped::DeadLetter
}
