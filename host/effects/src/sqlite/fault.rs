//! What an error of SQLite means: whose fault it is, and whether the same may succeed later.

use std::time::Duration;

use crate::error::{DatabaseError, StatementError, StepError};

/// A statement on a connection failed.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// The statement's own fault.
    Statement(StatementError),
    /// Another transaction was in the way.
    Conflict(String),
    /// Another connection is in the way just now: it is worth asking again, by the same connection.
    Busy(String),
    /// SQLite says that it cannot do its work: the disk, the file, memory.
    Unable(String),
    /// The connection is of no more use: its thread is gone, or what it reads is damaged.
    Gone(String),
    /// An offset was claimed before, or another unique key of the host's tables is taken.
    Unique(String),
    /// The connection does not even answer to its deadline: it must not be used again.
    Stuck(Duration),
}

impl Fault {
    /// As a run hears it.
    pub(crate) fn step(self, url: &str) -> StepError {
        match self {
            Self::Statement(error) => StepError::Statement(error),
            Self::Unique(said) => StepError::Statement(StatementError::Refused(said)),
            Self::Conflict(said) => StepError::Conflict(said),
            Self::Busy(reason) | Self::Unable(reason) => {
                DatabaseError::Unable { url: url.to_owned(), reason }.into()
            }
            Self::Gone(reason) => DatabaseError::Unavailable { url: url.to_owned(), reason }.into(),
            Self::Stuck(deadline) => StepError::Statement(late(deadline)),
        }
    }

    /// As the host hears it of a statement of its own.
    pub(crate) fn host(self, url: &str) -> DatabaseError {
        let url = url.to_owned();
        match self {
            Self::Statement(StatementError::Late(reason)) | Self::Gone(reason) => {
                DatabaseError::Unavailable { url, reason }
            }
            Self::Statement(error) => DatabaseError::Tables { url, reason: error.to_string() },
            Self::Unique(reason) => DatabaseError::Tables { url, reason },
            Self::Conflict(reason) | Self::Busy(reason) | Self::Unable(reason) => {
                DatabaseError::Unable { url, reason }
            }
            Self::Stuck(deadline) => {
                DatabaseError::Unavailable { url, reason: format!("no answer within {deadline:?}") }
            }
        }
    }

    /// As a guest hears it that reads without a run.
    pub(crate) fn guest(self) -> StatementError {
        match self {
            Self::Statement(error) => error,
            Self::Unique(said) => StatementError::Refused(said),
            Self::Conflict(said) | Self::Busy(said) | Self::Unable(said) | Self::Gone(said) => {
                StatementError::Unavailable(said)
            }
            Self::Stuck(deadline) => late(deadline),
        }
    }
}

/// A statement took longer than it may.
pub(crate) fn late(deadline: Duration) -> StatementError {
    StatementError::Late(format!("the statement took longer than {deadline:?} (host-call)"))
}

/// Tells an error of the driver. A statement that was stopped is told apart by whoever set the deadline.
pub(crate) fn explain(error: &sqlx::Error) -> Fault {
    /// SQLite's result codes; the low byte is the primary one.
    const BUSY: u32 = 5;
    const LOCKED: u32 = 6;
    const NO_MEMORY: u32 = 7;
    const READ_ONLY: u32 = 8;
    const INTERRUPTED: u32 = 9;
    const IO_ERROR: u32 = 10;
    const CORRUPT: u32 = 11;
    const FULL: u32 = 13;
    const CANNOT_OPEN: u32 = 14;
    const TOO_BIG: u32 = 18;
    const NOT_A_DATABASE: u32 = 26;
    const BUSY_SNAPSHOT: u32 = 517;
    const CONSTRAINT_PRIMARY_KEY: u32 = 1555;
    const CONSTRAINT_UNIQUE: u32 = 2067;
    let sqlx::Error::Database(database) = error else {
        return match error {
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Protocol(_) | sqlx::Error::Encode(_) => {
                Fault::Statement(StatementError::Refused(error.to_string()))
            }
            _ => Fault::Gone(error.to_string()),
        };
    };
    let said = database.message().to_owned();
    let Some(code) = database.code().and_then(|code| code.parse::<u32>().ok()) else {
        return Fault::Statement(StatementError::Refused(said));
    };
    match (code, code & 0xff) {
        (BUSY_SNAPSHOT, _) => Fault::Conflict(said),
        (CONSTRAINT_PRIMARY_KEY | CONSTRAINT_UNIQUE, _) => Fault::Unique(said),
        (_, BUSY | LOCKED) => Fault::Busy(said),
        (_, INTERRUPTED | IO_ERROR | FULL | CANNOT_OPEN | NOT_A_DATABASE) => Fault::Unable(said),
        (_, CORRUPT) => Fault::Gone(said),
        (_, READ_ONLY) => Fault::Statement(StatementError::Refused(format!("only reading here: {said}"))),
        // All databases of the process share one bound, so that whoever finds no memory has seldom taken it.
        (_, NO_MEMORY) => {
            Fault::Unable(format!("the SQLite databases of this process need too much memory: {said}"))
        }
        (_, TOO_BIG) => {
            let said = format!("the statement needs too much memory: {said}");
            Fault::Statement(StatementError::Limit(said))
        }
        _ => Fault::Statement(StatementError::Refused(said)),
    }
}

#[cfg(test)]
#[path = "fault_tests.rs"]
mod tests;
