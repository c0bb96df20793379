//! The seam between the interface and the drivers: what a database must be able to do.
//!
//! A driver is chosen by the address. SQLite is the one there is; PostgreSQL is to come as a second
//! module with these two traits and a branch in [`open`].

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::bindings::keylane::handler::sql::{Error, Rows, Value};
use crate::capability::Boxed;
use crate::error::CapabilityError;
use crate::sql::sqlite::Sqlite;
use crate::sql::statement::Statement;

/// How hard a commit is pressed to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Synchronous {
    /// Each commit survives a loss of power.
    #[default]
    Full,
    /// The last commits may be lost with the power, never with the process. Kafka then redelivers
    /// nothing of them: for demonstrations and tests.
    Normal,
}

/// One database of the host's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseConfig {
    /// `sqlite://path`, absolute or relative to the host's working directory.
    pub url: String,
    /// How hard a commit is pressed to the disk.
    pub synchronous: Synchronous,
    /// How long an event waits for its turn to write, behind others of this host.
    pub writer_wait: Duration,
    /// How long the database waits for a lock that another process holds.
    pub lock_wait: Duration,
}

impl DatabaseConfig {
    /// A database at this address, all else by default.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            synchronous: Synchronous::default(),
            writer_wait: Duration::from_secs(30),
            lock_wait: Duration::from_secs(5),
        }
    }

    /// The SQLite database in this file.
    #[must_use]
    pub fn sqlite(path: &Path) -> Self {
        Self::new(format!("sqlite://{}", path.display()))
    }
}

/// How much one query may answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ResultLimits {
    /// Rows.
    pub rows: usize,
    /// All values together, in bytes.
    pub bytes: usize,
}

/// A database that transactions are begun on. One is open at a time; others wait for their turn.
pub(crate) trait Database: Send + Sync {
    /// Waits for the writer and begins a transaction.
    fn begin(&self) -> Boxed<'_, Result<Box<dyn Transaction>, Error>>;
}

/// What a statement answers, with the transaction to go on with.
pub(crate) type Step<T> = Boxed<'static, Result<(T, Box<dyn Transaction>), Error>>;

/// One transaction. Dropping it rolls it back, also in the middle of a statement.
///
/// A statement takes the transaction and gives it back only when it succeeded: after a failure, a
/// passed deadline or a cancelled call there is none that could be committed by mistake.
pub(crate) trait Transaction: Send {
    /// Runs a statement that yields rows. The deadline stops the statement in the database.
    fn query(
        self: Box<Self>,
        statement: Statement,
        parameters: Vec<Value>,
        limits: ResultLimits,
        deadline: Duration,
    ) -> Step<Rows>;

    /// Runs a statement and answers how many rows it changed.
    fn execute(
        self: Box<Self>,
        statement: Statement,
        parameters: Vec<Value>,
        deadline: Duration,
    ) -> Step<u64>;

    /// Commits. On an error nothing is committed, save where the answer itself was lost.
    fn commit(self: Box<Self>, deadline: Duration) -> Boxed<'static, Result<(), String>>;

    /// Rolls back and frees the writer.
    fn rollback(self: Box<Self>) -> Boxed<'static, ()>;
}

/// Opens a handler's database with the driver that its address names; makes it if it is missing, and
/// brings its tables up to date from the folder of migrations, if there is one.
pub(crate) async fn open(
    handler: &str,
    config: &DatabaseConfig,
    migrations: Option<&Path>,
) -> Result<Arc<dyn Database>, CapabilityError> {
    if config.url.starts_with("sqlite:") {
        return Ok(Arc::new(Sqlite::open(handler, config, migrations).await?));
    }
    let reason = "no driver of this host knows it; write sqlite://PATH".to_owned();
    Err(CapabilityError::DatabaseUrl { url: config.url.clone(), reason })
}
