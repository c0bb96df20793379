//! The host file (`keylane.toml`): which handlers run here, and the real things behind the names in
//! their manifests. It is read in two steps, as written ([`raw`]) and checked, and passed on as values.

mod address;
mod admin;
mod check;
mod databases;
mod kafka;
mod letters;
mod limits;
mod mail;
#[cfg(test)]
mod properties;
mod raw;
#[cfg(test)]
mod sample;
mod secret;
#[cfg(test)]
mod tests;
mod values;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use keylane_deployment::{DeploymentError, Document, Manifest};

pub(crate) use address::Address;
pub(crate) use admin::Admin;
pub(crate) use databases::Database;
pub(crate) use kafka::{GroupProtocol, Kafka, Membership};
pub(crate) use limits::transaction_limit;
pub(crate) use mail::{Mail, Smtp, Tls};
pub(crate) use secret::Secret;

/// A checked host file, with the manifests it names.
#[derive(Debug, Clone)]
pub(crate) struct HostConfig {
    /// The hosts that share work have one fleet name; it is the first part of every consumer group.
    pub(crate) fleet: String,
    /// How to reach Kafka.
    pub(crate) kafka: Kafka,
    /// The handlers to run: at least one, each name once.
    pub(crate) handlers: Vec<Handler>,
    /// How mail leaves. Present when any handler is granted mail.
    pub(crate) mail: Option<Mail>,
    /// Where it is watched and told what to do.
    pub(crate) admin: Admin,
    /// What the host may hold.
    pub(crate) limits: HostLimits,
}

/// One handler of this host.
#[derive(Debug, Clone)]
pub(crate) struct Handler {
    /// The manifest's file. Paths in the manifest are relative to its folder.
    pub(crate) file: PathBuf,
    /// The manifest.
    pub(crate) manifest: Manifest,
    /// Its databases, by the name of the grant: exactly those that the manifest grants.
    pub(crate) databases: BTreeMap<String, Database>,
    /// Values of its configuration that this host says otherwise than the manifest.
    pub(crate) values: BTreeMap<String, Value>,
}

/// A value of a handler's configuration.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    /// As it stands in the host file.
    Text(String),
    /// Where it comes from.
    Secret(Secret),
}

/// What the host may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HostLimits {
    /// Records of one partition in the host at once; 5,000 by default.
    pub(crate) partition_records: usize,
    /// Bytes of one partition in the host at once; 8 MiB by default.
    pub(crate) partition_bytes: usize,
    /// Bytes of all partitions of all handlers in the host at once; 256 MiB by default.
    pub(crate) host_bytes: usize,
    /// How long running events may take to finish when the host stops; 30 s by default.
    pub(crate) drain: Duration,
    /// How long they may take when their partition goes to another host; 3 s by default, and never more than
    /// half of the session.
    pub(crate) revoke_drain: Duration,
}

impl HostConfig {
    /// Reads and checks a host file and every manifest it names.
    ///
    /// # Errors
    /// When one of these files cannot be read or used, or they do not fit together. The error names
    /// the file, the line and the key.
    pub(crate) fn load(file: &Path) -> Result<Self, DeploymentError> {
        Self::from_document(&Document::read(file)?)
    }

    /// The same for a document that is already read.
    pub(crate) fn from_document(document: &Document) -> Result<Self, DeploymentError> {
        check::host(document, document.parse()?)
    }

    /// Whether a document is a host file rather than a manifest: only a host file has one of these keys.
    pub(crate) fn is_host_file(document: &Document) -> bool {
        document
            .top_keys()
            .iter()
            .any(|key| matches!(key.as_str(), "fleet" | "handlers" | "kafka" | "databases"))
    }
}
