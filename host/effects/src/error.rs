//! What goes wrong with a database, told by whose it is to answer: the guest ([`StatementError`]), the run
//! ([`StepError`], [`BeginError`], [`FinishError`]) or the host and its operator ([`DatabaseError`]).

use std::path::PathBuf;

use crate::database::RunTransaction;

/// What a guest hears of its statement. Never a conflict: that is the host's to redo.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// The manifest grants no such database.
    #[error("{0}")]
    NotGranted(String),
    /// The statement is not for handlers, or the database refuses it: syntax, a constraint, a value.
    #[error("{0}")]
    Refused(String),
    /// An earlier statement of the same event failed.
    #[error("an earlier statement of this event failed")]
    Aborted,
    /// A limit is passed.
    #[error("{0}")]
    Limit(String),
    /// It took longer than it may.
    #[error("{0}")]
    Late(String),
    /// The database is away or busy, or other transactions were in the way: of a read that belongs to no run.
    /// Not the statement's fault, nor its event's.
    #[error("{0}")]
    Unavailable(String),
}

/// Why a statement of a run failed.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The statement's own fault: its event is doomed and charged an attempt.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// Another transaction was in the way (40001, 40P01, `SQLITE_BUSY_SNAPSHOT`): the host redoes the run,
    /// smaller; nobody is charged and the guest never hears of it.
    #[error("another transaction was in the way: {0}")]
    Conflict(String),
    /// A lock was not had in its time: the same, and however often it happens, it is not the event's fault.
    #[error("another transaction kept a lock: {0}")]
    Waited(String),
    /// The database is gone or in trouble: nobody is charged.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// A step that failed.
pub struct StatementFailed {
    /// Why.
    pub error: StepError,
    /// What can be rolled back to the savepoint, where one stands and the transaction lives. It refuses
    /// every other statement and cannot be finished before that. None: all is rolled back.
    pub transaction: Option<Box<dyn RunTransaction>>,
}

impl std::fmt::Debug for StatementFailed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kept = self.transaction.is_some();
        f.debug_struct("StatementFailed").field("error", &self.error).field("kept", &kept).finish()
    }
}

/// A transaction under a fence did not begin, or wrote nothing.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    /// Another host has taken the partition, or the database was restored or started again since: drop the
    /// run, prove membership, take again or let go.
    #[error("another host has taken this partition, or the database was restored or started again since")]
    NotOwner,
    /// The database.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// A run's transaction was not committed, or nobody knows.
#[derive(Debug, thiserror::Error)]
pub enum FinishError {
    /// Another host has taken the partition.
    #[error("another host has taken this partition")]
    NotOwner,
    /// An event of the run had ended before. All is rolled back: read the claims, count those events as
    /// ended, redo the others, charge nobody.
    #[error("an event of this run has ended before")]
    ClaimExists,
    /// Another transaction was in the way: redo the run, smaller; nobody is charged.
    #[error("another transaction was in the way: {0}")]
    Conflict(String),
    /// As [`StepError::Waited`].
    #[error("another transaction kept a lock: {0}")]
    Waited(String),
    /// The database refuses the commit itself: a deferred constraint is not made good. The fault of an event
    /// of the run; [`RunTransaction::savepoint`] tells which.
    #[error("the commit is refused: {0}")]
    Refused(String),
    /// The transaction had ended before, or a failed statement was not rolled back: nothing is written.
    #[error("the transaction had ended before it was finished: {0}")]
    Void(String),
    /// COMMIT was sent and no answer came: [`crate::Database::ended`] tells what became of it.
    #[error("the outcome of the commit is unknown: {0}")]
    Unknown(String),
    /// The database. Nothing is written.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// Trouble with a database itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DatabaseError {
    /// An address that no driver knows.
    #[error("the database address {url:?} cannot be used: {reason}")]
    Address {
        /// The address, without its password.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The database does not answer, is locked by another process, or the connection was lost.
    #[error("the database {url} is not available: {reason}")]
    Unavailable {
        /// The address, without its password.
        url: String,
        /// What the driver says.
        reason: String,
    },
    /// The database says itself that it cannot go on just now: it shuts down, its disk is full. Where a connection
    /// is lost with that, nothing that was asked of it is to blame.
    #[error("the database {url} is not able to go on: {reason}")]
    Unable {
        /// The address, without its password.
        url: String,
        /// What it says.
        reason: String,
    },
    /// The host's own tables are not as this version needs them, or a statement of the host failed.
    #[error("the host's own tables in {url} cannot be used: {reason}")]
    Tables {
        /// The address, without its password.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// The file was written on another machine.
    #[error(
        "the database {url} was last used on another machine: hosts of one SQLite file run on one machine. \
         If it was moved here for good and no host uses the former one, run `keylane adopt`"
    )]
    OtherMachine {
        /// The address.
        url: String,
    },
    /// The database has the progress of another Kafka cluster.
    #[error(
        "the database {url} has progress and effects of the Kafka cluster {stands:?}, this host reads from \
         {asked:?}: its offsets would mean other records. Give the handler a database of its own here, or \
         correct the brokers' address"
    )]
    OtherCluster {
        /// The address, without its password.
        url: String,
        /// The cluster that it belongs to.
        stands: String,
        /// The cluster of this host.
        asked: String,
    },
    /// The handler's progress is another fleet's.
    #[error(
        "the database {url} has this handler's progress in the fleet {stands:?}, this host is of \
         {asked:?} and would do everything again. Give each fleet a database of its own; or, where the fleet was \
         renamed and none of its hosts runs under the former name any more, run `keylane adopt`"
    )]
    OtherFleet {
        /// The address, without its password.
        url: String,
        /// Whose it is.
        stands: String,
        /// Who asked.
        asked: String,
    },
    /// A migration of a handler failed, or is not what ran before.
    #[error("the migration {file} failed on the database {url}: {reason}", file = file.display())]
    Migration {
        /// The migration's file, or their folder when the whole set is at fault.
        file: PathBuf,
        /// The address, without its password.
        url: String,
        /// What is wrong.
        reason: String,
    },
}

impl DatabaseError {
    /// Whether the same may succeed later without any change.
    #[must_use]
    pub fn can_retry(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Unable { .. })
    }
}

/// Whether a database that belongs to one Kafka cluster may be used from another.
pub(crate) fn same_cluster(url: &str, stands: String, asked: &str) -> Result<(), DatabaseError> {
    if stands == asked {
        return Ok(());
    }
    Err(DatabaseError::OtherCluster { url: url.to_owned(), stands, asked: asked.to_owned() })
}

/// Whether the host's tables are of the version that this host needs. None is turned into another, so that
/// whoever has one of another is told what is left to do.
pub(crate) fn same_version(url: &str, stands: i64, needed: i64) -> Result<(), DatabaseError> {
    if stands == needed {
        return Ok(());
    }
    let reason = format!(
        "they are of version {stands}, this host needs version {needed}: run the version of keylane that made \
         them, or give the handler a fresh database"
    );
    Err(DatabaseError::Tables { url: url.to_owned(), reason })
}
