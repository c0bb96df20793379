//! `[grants]`: what a component may reach.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

/// What a component may reach. The default is nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Grants {
    /// Databases, by the name a component opens. At most one of them may be written to.
    pub sql: BTreeMap<String, SqlGrant>,
    /// Producing records.
    pub producer: Option<ProducerGrant>,
    /// Sending mail.
    pub mail: Option<MailGrant>,
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

/// Writing to the host's log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LoggingGrant {}
