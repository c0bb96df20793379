//! `[dead-letters]`: where events go that could not be handled, and what is written beside them.

use serde::Deserialize;

/// Where events go that could not be handled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetters {
    /// One topic for the dead letters of all topics that the handler reads; without a name, each of them
    /// has its own, `<topic>.<handler>.dlq`.
    pub topic: Option<String>,
    /// Whose headers are written; keylane's own by default.
    pub headers: HeaderProfile,
}

/// Which headers a dead letter carries beside those of its record. keylane's own are always there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HeaderProfile {
    /// None but keylane's own.
    Keylane,
    /// Those that Spring Kafka writes and its tools read, too.
    Spring,
    /// Those that Kafka Connect writes and its tools read, too.
    Connect,
}
