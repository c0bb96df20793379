//! `[subscribe]`: which records become events of a handler.

use serde::Deserialize;

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
    /// What happens when records are gone before they were read; the partition stops by default.
    pub lost: Lost,
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

/// What happens when retention took records that this handler had not read yet. Either way it is said
/// aloud, with how many they were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lost {
    /// The partition stops until an operator has decided.
    Stop,
    /// The partition goes on at the oldest record that is left.
    GoOn,
}
