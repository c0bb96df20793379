//! Why an attempt failed: the closed list of classes that the policy knows.

/// Why an attempt failed. The class decides which cap it counts against, and what the log and the dead
/// letter say of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FailureClass {
    /// The handler asked for a retry.
    Retry,
    /// The handler rejected the event: no later attempt can help.
    Reject,
    /// The component trapped.
    Trap,
    /// The component used more time than its limit.
    Timeout,
    /// The component asked for more memory than its limit.
    Memory,
    /// The handler answered ok, but its effects could not be made real (database, broker, mail); or a database
    /// that it reads was away, whatever it answered. Nobody's fault: it has a cap of its own and is not charged as
    /// an attempt.
    Effects,
    /// The handler answered ok, but one of its effects was refused for good, such as a record larger than
    /// its topic takes: no later attempt can help.
    Undeliverable,
}

impl FailureClass {
    /// The name used in logs, metrics and dead-letter headers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Reject => "reject",
            Self::Trap => "trap",
            Self::Timeout => "timeout",
            Self::Memory => "memory",
            Self::Effects => "effects",
            Self::Undeliverable => "undeliverable",
        }
    }

    /// Whether a later attempt may help.
    #[must_use]
    pub fn can_retry(self) -> bool {
        !matches!(self, Self::Reject | Self::Undeliverable)
    }
}
