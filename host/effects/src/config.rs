//! One database of the host's configuration.

use std::path::Path;
use std::time::Duration;

/// How hard a commit is pressed to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Synchronous {
    /// Each commit survives a loss of power.
    #[default]
    Full,
    /// The last commits may be lost with the power, never with the process: for demonstrations and tests.
    Normal,
}

/// What a run's transaction sees of others that run beside it. SQLite has one writer and is always
/// serializable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// As if runs came one after another.
    #[default]
    Serializable,
    /// Each statement sees what was committed when it began.
    ReadCommitted,
}

/// One database of the host's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseConfig {
    /// Where runs write: `sqlite://PATH` or `postgres://...`.
    pub write: String,
    /// Where `access = "read"` reads; none is the same place, by connections that cannot write.
    pub read: Option<String>,
    /// How hard a commit is pressed to the disk.
    pub synchronous: Synchronous,
    /// How runs are kept apart.
    pub isolation: Isolation,
    /// The most connections that write. SQLite has one whatever is said here.
    pub write_connections: u32,
    /// The most connections that only read.
    pub read_connections: u32,
    /// How long a run waits for a connection that writes, behind others of this host.
    pub writer_wait: Duration,
    /// How long the database waits for a lock that another process holds.
    pub lock_wait: Duration,
    /// How long a run's session may be idle between two statements before PostgreSQL ends it: a host that was
    /// stopped so lets go of its locks. [`crate::check_times`] says what it must lie between.
    pub idle_in_transaction: Duration,
    /// What this machine is called in a SQLite file; none asks the operating system.
    pub machine: Option<String>,
}

impl DatabaseConfig {
    /// A database at this address, all else by default.
    #[must_use]
    pub fn new(write: impl Into<String>) -> Self {
        Self {
            write: write.into(),
            read: None,
            synchronous: Synchronous::default(),
            isolation: Isolation::default(),
            write_connections: 8,
            read_connections: 4,
            writer_wait: Duration::from_secs(30),
            lock_wait: Duration::from_secs(5),
            idle_in_transaction: Duration::from_secs(20),
            machine: None,
        }
    }

    /// The SQLite database in this file.
    #[must_use]
    pub fn sqlite(path: &Path) -> Self {
        Self::new(format!("sqlite://{}", path.display()))
    }
}
