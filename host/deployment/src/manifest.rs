//! The manifest (`handler.toml`): what a handler subscribes to, how its events are delivered,
//! what its component may reach, and its limits.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::document::Document;
use crate::error::DeploymentError;
use crate::raw::RawManifest;

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

    /// The consumer group of this handler in a fleet.
    #[must_use]
    pub fn group(&self, fleet: &str) -> String {
        format!("{fleet}.{}", self.name)
    }
}

/// Which records become events of this handler.
#[derive(Debug, Clone, PartialEq)]
pub struct Subscribe {
    /// The topics it reads: at least one.
    pub topics: Vec<String>,
    /// The event types it wants; empty, the default, means all.
    pub events: Vec<String>,
    /// The header that names a record's type; `ce_type` by default.
    pub type_header: String,
    /// What happens to a record without a type, when `events` is not empty; it is handled by default.
    pub untyped: Untyped,
    /// Where a new group begins to read; at the earliest record by default.
    pub start: Start,
}

/// What happens to a record without a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Untyped {
    /// The handler gets it and decides.
    Handle,
    /// It ends at once.
    Skip,
    /// It goes to the dead letters.
    DeadLetter,
}

/// Where a new group begins to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At the oldest record there is.
    Earliest,
    /// After the newest record there is when the handler first starts.
    Latest,
    /// At the first record that is not older than this, in milliseconds since the Unix epoch.
    Timestamp(i64),
}

/// What must run one after another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// The records of one key in one partition.
    Key,
    /// The records of one partition.
    Partition,
    /// Nothing.
    None,
}

/// How records without a key are ordered, where order is by key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NullKeys {
    /// Each on its own.
    Unordered,
    /// As if they all had one key.
    Ordered,
}

/// How events are delivered.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// What must run one after another; the records of a key by default.
    pub order: Order,
    /// How records without a key are ordered; not at all by default.
    pub null_keys: NullKeys,
    /// Attempts before an event goes to the dead letters, from 1; 8 by default.
    pub attempts: u32,
    /// The wait after the first failed attempt; it doubles with each further one; 500 ms by default.
    pub backoff: Duration,
    /// The longest wait between two attempts; one minute by default.
    pub backoff_max: Duration,
}

/// What a component may reach. The default is nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Grants {
    /// Databases, by the name a component opens. This version allows one.
    pub sql: BTreeMap<String, SqlGrant>,
    /// Producing records.
    pub producer: Option<ProducerGrant>,
    /// Sending mail.
    pub mail: Option<MailGrant>,
    /// Writing to the host's log.
    pub logging: Option<LoggingGrant>,
}

/// A database that a component may open. This slice knows one kind of access: read and write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlGrant {
    /// The folder of its migrations, relative to the manifest's folder; none by default.
    pub migrations: Option<PathBuf>,
    /// The most rows one query may answer; 10,000 by default.
    pub rows_max: usize,
}

/// Topics that a component may produce to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerGrant {
    /// Their names: at least one.
    pub topics: Vec<String>,
    /// The most records one event may produce; 2,000 by default.
    pub records_max: usize,
}

/// Mail that a component may send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailGrant {
    /// The sender of all its mails.
    pub from: String,
    /// The most mails one event may send; 10 by default.
    pub mails_max: usize,
}

/// Writing to the host's log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LoggingGrant {}

/// What one event may use.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Linear memory of an instance, in bytes; 64 MiB by default.
    pub memory_bytes: usize,
    /// Elements of an instance's tables; 20,000 by default.
    pub table_elements: usize,
    /// The component's own time for one event, host calls left out; one second by default.
    pub time: Duration,
    /// How long one host call may take; ten seconds by default.
    pub host_call: Duration,
    /// Runs of this handler at once in one host; 64 by default.
    pub concurrency: usize,
    /// The most events in one run; 100 by default.
    pub run_events: usize,
}
