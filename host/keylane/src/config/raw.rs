//! The host file as it is written: every key known, nothing checked.

use std::collections::BTreeMap;
use std::path::PathBuf;

use keylane_deployment::{Count, Isolation, Size, Time};
use serde::Deserialize;
use toml::{Spanned, Value};

/// The file.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct RawHost {
    pub(crate) fleet: Spanned<String>,
    pub(crate) handlers: Spanned<Vec<Spanned<PathBuf>>>,
    pub(crate) kafka: RawKafka,
    /// By handler, then by the name of its grant.
    #[serde(default)]
    pub(crate) databases: BTreeMap<Spanned<String>, BTreeMap<Spanned<String>, RawDatabase>>,
    /// By handler, then by the name of the value.
    #[serde(default)]
    pub(crate) config: BTreeMap<Spanned<String>, BTreeMap<Spanned<String>, Spanned<String>>>,
    pub(crate) mail: Option<Spanned<RawMail>>,
    #[serde(default)]
    pub(crate) admin: RawAdmin,
    #[serde(default)]
    pub(crate) limits: RawHostLimits,
}

/// `[kafka]`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct RawKafka {
    pub(crate) brokers: Spanned<Vec<Spanned<String>>>,
    pub(crate) group_protocol: Option<RawGroupProtocol>,
    pub(crate) instance: Option<Spanned<String>>,
    pub(crate) session_timeout: Option<Spanned<Time>>,
    #[serde(default)]
    pub(crate) properties: BTreeMap<Spanned<String>, Spanned<Value>>,
}

/// How a handler's group shares out its partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RawGroupProtocol {
    Classic,
    Consumer,
}

/// `[databases.HANDLER.GRANT]`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct RawDatabase {
    pub(crate) write: Option<Spanned<String>>,
    pub(crate) read: Option<Spanned<String>>,
    pub(crate) isolation: Option<Spanned<Isolation>>,
    pub(crate) synchronous: Option<Spanned<RawSynchronous>>,
    pub(crate) write_connections: Option<Spanned<Count>>,
    pub(crate) read_connections: Option<Spanned<Count>>,
    pub(crate) idle_in_transaction: Option<Spanned<Time>>,
    pub(crate) password_env: Option<Spanned<String>>,
    pub(crate) password_file: Option<Spanned<PathBuf>>,
}

/// How hard a commit is pressed to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RawSynchronous {
    Full,
    Normal,
}

/// `[mail]`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct RawMail {
    pub(crate) folder: Option<PathBuf>,
    pub(crate) smtp: Option<RawSmtp>,
}

/// `[mail.smtp]`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct RawSmtp {
    pub(crate) host: Spanned<String>,
    pub(crate) port: Option<Spanned<Count>>,
    pub(crate) tls: Option<RawTls>,
    pub(crate) user: Option<Spanned<String>>,
    pub(crate) password_env: Option<Spanned<String>>,
    pub(crate) password_file: Option<Spanned<PathBuf>>,
}

/// How a connection to the mail server is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RawTls {
    Implicit,
    Starttls,
    None,
}

/// `[admin]`
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct RawAdmin {
    pub(crate) listen: Option<Spanned<String>>,
    pub(crate) token_env: Option<Spanned<String>>,
    pub(crate) token_file: Option<Spanned<PathBuf>>,
}

/// `[limits]`
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct RawHostLimits {
    pub(crate) partition_records: Option<Spanned<Count>>,
    pub(crate) partition_bytes: Option<Spanned<Size>>,
    pub(crate) host_bytes: Option<Spanned<Size>>,
    pub(crate) drain: Option<Spanned<Time>>,
    pub(crate) revoke_drain: Option<Spanned<Time>>,
}
