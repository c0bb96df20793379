//! `[grants]`: what a component may reach.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use crate::hosts::HttpHost;

/// What a component may reach. The default is nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Grants {
    /// Databases, by the name a component opens. At most one of them may be written to.
    pub sql: BTreeMap<String, SqlGrant>,
    /// Producing records.
    pub producer: Option<ProducerGrant>,
    /// Sending mail.
    pub mail: Option<MailGrant>,
    /// Keeping values by key, in the database that the component writes to.
    pub keyvalue: Option<KeyValueGrant>,
    /// Calling other services by HTTP.
    pub http: Option<HttpGrant>,
    /// Asking for values of the configuration.
    pub config: Option<ConfigGrant>,
    /// Writing to the host's log.
    pub logging: Option<LoggingGrant>,
}

impl Grants {
    /// The name of the database that the component writes to, if there is one. Its handler's progress is
    /// kept there.
    #[must_use]
    pub fn write_database(&self) -> Option<&str> {
        let mut written = self.sql.iter().filter(|(_, grant)| grant.access == Access::Write);
        written.next().map(|(name, _)| name.as_str())
    }
}

/// What a component may do with a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// Read and write, in the run's transaction.
    Write,
    /// Read only, from the read address.
    Read,
}

/// How the runs of a handler are kept apart in the database that it writes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Isolation {
    /// Each statement sees what was committed when it began.
    ReadCommitted,
    /// As if runs came one after another.
    Serializable,
}

/// A database that a component may open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlGrant {
    /// What it may do there.
    pub access: Access,
    /// The least isolation with which the component is right; serializable by default.
    pub isolation: Isolation,
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

/// Buckets of values that a component may keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyValueGrant {
    /// Their names: at least one.
    pub buckets: Vec<String>,
}

/// Requests that a component may make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpGrant {
    /// Where to: at least one.
    pub hosts: Vec<HttpHost>,
    /// Whether each request carries a key that is the same whenever its event is handled again; false by
    /// default.
    pub idempotency_key: bool,
    /// The most requests one event may make; 10 by default.
    pub requests_max: usize,
    /// The body of a request, in bytes; 1 MiB by default.
    pub request_bytes_max: usize,
    /// The body of an answer, in bytes; 1 MiB by default.
    pub response_bytes_max: usize,
}

/// Values of the configuration that a component may ask for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConfigGrant {
    /// The values by their names. The host's own file may say otherwise for each.
    pub values: BTreeMap<String, String>,
}

/// Writing to the host's log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LoggingGrant {}
