//! `[grants]`: what a component may reach.

use std::collections::BTreeMap;
use std::path::PathBuf;

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
