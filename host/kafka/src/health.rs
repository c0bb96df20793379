//! How an intake is doing, in words an operator can act on.

use std::time::Instant;

use keylane_engine::TopicPartition;

/// A partition that does not go on: it is no longer read, or its policy has halted it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionFault {
    /// Which.
    pub partition: TopicPartition,
    /// Why, and what to do.
    pub reason: String,
}

/// How an intake is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// No broker answers; the client keeps trying.
    Connecting {
        /// Since when.
        since: Instant,
        /// The client's own last words.
        last_error: Option<String>,
    },
    /// Brokers answer, but the group gave this member no partition (yet).
    Unassigned {
        /// Since when.
        since: Instant,
        /// Whether the group has answered at all: a member that joined and got nothing is a standby, one
        /// that has not joined may wait for a member that died.
        joined: bool,
        /// The likely reason, once it took long enough to ask.
        reason: Option<String>,
    },
    /// Partitions are read.
    Assigned {
        /// How many are read.
        partitions: usize,
        /// How many wait until it is settled where they start, or until they are taken in the handler's
        /// database.
        waiting: usize,
        /// What is the matter with the handler's database, where partitions wait for it.
        database: Option<String>,
        /// Why what was produced is not committed, for a handler in cuts: it is tried again.
        cuts: Option<String>,
        /// Those that do not go on, be it by a fault or by their policy.
        faulted: Vec<PartitionFault>,
    },
    /// The consumer can do nothing any more.
    Failed {
        /// Why.
        reason: String,
    },
    /// It was asked to stop, and did.
    Stopped,
}

impl std::fmt::Display for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Connecting { last_error: Some(error), .. } => write!(f, "no broker answers: {error}"),
            Self::Connecting { last_error: None, .. } => f.write_str("connecting"),
            Self::Unassigned { reason: Some(reason), .. } => write!(f, "no partition assigned: {reason}"),
            Self::Unassigned { reason: None, .. } => f.write_str("no partition assigned"),
            Self::Assigned { partitions, waiting, database, cuts, faulted } => {
                write!(f, "{partitions} partitions")?;
                if *waiting > 0 {
                    write!(f, ", {waiting} waiting for their start")?;
                }
                if let Some(reason) = database {
                    write!(f, "; the handler's database: {reason}")?;
                }
                if let Some(reason) = cuts {
                    write!(f, "; records are not committed: {reason}")?;
                }
                for fault in faulted {
                    write!(f, "; {} stopped: {}", fault.partition, fault.reason)?;
                }
                Ok(())
            }
            Self::Failed { reason } => write!(f, "failed: {reason}"),
            Self::Stopped => f.write_str("stopped"),
        }
    }
}
