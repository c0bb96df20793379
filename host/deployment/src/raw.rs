//! The manifest as it is written: every key known, nothing checked. Spans stay with the values,
//! so that a value that is refused later can still be found.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use toml::{Spanned, Value};

use crate::manifest::{Access, Guarantee, HeaderProfile, Isolation, Lost, NullKeys, Order, Then, Untyped};
use crate::quantity::{Count, Size, Time};

/// The file.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct RawManifest {
    pub(crate) name: Spanned<String>,
    pub(crate) component: Spanned<PathBuf>,
    pub(crate) subscribe: RawSubscribe,
    #[serde(default)]
    pub(crate) delivery: RawDelivery,
    pub(crate) dead_letters: Option<Spanned<RawDeadLetters>>,
    #[serde(default)]
    pub(crate) grants: RawGrants,
    #[serde(default)]
    pub(crate) limits: RawLimits,
}

/// `[subscribe]`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct RawSubscribe {
    pub(crate) topics: Spanned<Vec<Spanned<String>>>,
    #[serde(default)]
    pub(crate) events: Vec<Spanned<String>>,
    pub(crate) type_header: Option<Spanned<String>>,
    pub(crate) untyped: Option<Untyped>,
    pub(crate) start: Option<Spanned<Value>>,
    pub(crate) lost: Option<Lost>,
}

/// `[delivery]`
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct RawDelivery {
    pub(crate) guarantee: Option<Spanned<Guarantee>>,
    pub(crate) transaction_interval: Option<Spanned<Time>>,
    pub(crate) order: Option<Order>,
    pub(crate) null_keys: Option<Spanned<NullKeys>>,
    pub(crate) attempts: Option<Spanned<Count>>,
    pub(crate) backoff: Option<Spanned<Time>>,
    pub(crate) backoff_max: Option<Spanned<Time>>,
    pub(crate) max_age: Option<Spanned<Time>>,
    pub(crate) then: Option<Then>,
    #[serde(default)]
    pub(crate) caps: RawCaps,
    pub(crate) flood: Option<Spanned<RawFlood>>,
}

/// `[delivery.caps]`
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct RawCaps {
    pub(crate) retry: Option<Spanned<Count>>,
    pub(crate) trap: Option<Spanned<Count>>,
    pub(crate) timeout: Option<Spanned<Count>>,
    pub(crate) memory: Option<Spanned<Count>>,
    pub(crate) effects: Option<Spanned<Count>>,
}

/// `[delivery.flood]`
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct RawFlood {
    pub(crate) share: Option<Spanned<Count>>,
    pub(crate) events: Option<Spanned<Count>>,
}

/// `[dead-letters]`
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct RawDeadLetters {
    pub(crate) topic: Option<Spanned<String>>,
    pub(crate) headers: Option<HeaderProfile>,
}

/// `[grants]`
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct RawGrants {
    #[serde(default)]
    pub(crate) sql: BTreeMap<Spanned<String>, RawSqlGrant>,
    pub(crate) producer: Option<RawProducerGrant>,
    pub(crate) mail: Option<Spanned<RawMailGrant>>,
    pub(crate) keyvalue: Option<Spanned<RawKeyValueGrant>>,
    pub(crate) http: Option<Spanned<RawHttpGrant>>,
    pub(crate) config: Option<BTreeMap<Spanned<String>, Spanned<String>>>,
    pub(crate) logging: Option<RawLoggingGrant>,
}

/// `[grants.sql.NAME]`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct RawSqlGrant {
    pub(crate) access: Access,
    pub(crate) isolation: Option<Spanned<Isolation>>,
    pub(crate) migrations: Option<Spanned<PathBuf>>,
    pub(crate) rows_max: Option<Spanned<Count>>,
}

/// `[grants.producer]`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct RawProducerGrant {
    pub(crate) topics: Spanned<Vec<Spanned<String>>>,
    pub(crate) records_max: Option<Spanned<Count>>,
}

/// `[grants.mail]`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct RawMailGrant {
    pub(crate) from: Spanned<String>,
    pub(crate) mails_max: Option<Spanned<Count>>,
}

/// `[grants.keyvalue]`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct RawKeyValueGrant {
    pub(crate) buckets: Spanned<Vec<Spanned<String>>>,
}

/// `[grants.http]`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct RawHttpGrant {
    pub(crate) hosts: Spanned<Vec<Spanned<String>>>,
    #[serde(default)]
    pub(crate) idempotency_key: bool,
    pub(crate) requests_max: Option<Spanned<Count>>,
    pub(crate) request_max: Option<Spanned<Size>>,
    pub(crate) response_max: Option<Spanned<Size>>,
}

/// `[grants.logging]`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct RawLoggingGrant {}

/// `[limits]`
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct RawLimits {
    pub(crate) memory: Option<Spanned<Size>>,
    pub(crate) table_elements: Option<Spanned<Count>>,
    pub(crate) time: Option<Spanned<Time>>,
    pub(crate) host_call: Option<Spanned<Time>>,
    pub(crate) concurrency: Option<Spanned<Count>>,
    pub(crate) run_events: Option<Spanned<Count>>,
    pub(crate) slice: Option<Spanned<Time>>,
    pub(crate) stuck_after: Option<Spanned<Time>>,
}
