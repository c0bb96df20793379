//! A database file: how its connections are opened, and the one that writes.
//!
//! Who owns: the transaction that is open holds the writer's lock and with it the one connection; runs,
//! takes, pruning and the relay share it. Who waits: the others of this host, in order of arrival, for at
//! most the time that they name; then their process's turn (`turns.rs`), and in the database, for what is left
//! of `lock_wait`, when another process holds it. Who wakes: the end of a transaction, which frees the lock;
//! between processes nobody, so that they look again. What bounds: the handlers' slots bound the waiters.

use std::path::Path;
use std::str::FromStr;
use std::sync::{Arc, Mutex as Lock, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use sqlx::ConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::config::{DatabaseConfig, Synchronous};
use crate::error::DatabaseError;
use crate::sqlite::connection::{Connection, host};
use crate::sqlite::fault::Fault;
use crate::sqlite::holder;
use crate::sqlite::life::{FileId, log_of};
use crate::sqlite::tables::get;
use crate::sqlite::turns::Turns;

/// Statements that a connection keeps prepared.
const PREPARED_MAX: usize = 200;
/// The most memory that all SQLite databases of this process together may use. A statement that needs
/// more fails; without this, one call of `hex(zeroblob(...))` could take a gigabyte.
const HEAP_BYTES_MAX: usize = 256 * 1024 * 1024;
/// How long SQLite itself waits for a lock before the host looks at its own clock again.
pub(crate) const BUSY_SLICE: Duration = Duration::from_millis(20);

/// A database file.
pub(crate) struct File {
    options: SqliteConnectOptions,
    /// The address, for messages.
    pub url: Arc<str>,
    /// None until the first transaction, and after a connection was given up.
    writer: Arc<Mutex<Option<Connection>>>,
    /// The database's identity, once the host's tables are made. From then on no file is made any more.
    pub database: OnceLock<String>,
    /// The write-ahead log of a file that was replaced: whoever opened another one beside it would have
    /// it played into that.
    former_log: Lock<Option<FileId>>,
    /// Among the processes that write it.
    pub turns: Turns,
    /// How long a run waits for its turn.
    pub writer_wait: Duration,
    /// How long another process may hold the writer.
    pub lock_wait: Duration,
    waited: metrics::Histogram,
}

impl File {
    /// Checks the address and makes the folder. Nothing is opened yet.
    pub(crate) async fn new(config: &DatabaseConfig) -> Result<Self, DatabaseError> {
        let options = options(&config.write)?;
        let synchronous = match config.synchronous {
            Synchronous::Full => SqliteSynchronous::Full,
            Synchronous::Normal => SqliteSynchronous::Normal,
        };
        let options = options
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(synchronous)
            .busy_timeout(BUSY_SLICE);
        make_folder(&config.write, options.get_filename()).await?;
        let url: Arc<str> = config.write.as_str().into();
        let turns = Turns::beside(options.get_filename()).await;
        Ok(Self {
            options,
            waited: metrics::histogram!("keylane_sql_writer_wait_seconds", "database" => url.to_string()),
            url,
            writer: Arc::new(Mutex::new(None)),
            database: OnceLock::new(),
            former_log: Lock::new(None),
            turns,
            writer_wait: config.writer_wait,
            lock_wait: config.lock_wait,
        })
    }

    /// How a connection that cannot write is opened.
    pub(crate) fn reading(&self, read: Option<&str>) -> Result<SqliteConnectOptions, DatabaseError> {
        let options = options(read.unwrap_or(&self.url))?;
        Ok(options.read_only(true).busy_timeout(self.lock_wait))
    }

    /// Waits for the writer and connects it if need be.
    pub(crate) async fn writer(
        &self,
        wait: Duration,
    ) -> Result<OwnedMutexGuard<Option<Connection>>, DatabaseError> {
        let asked = Instant::now();
        let locked = tokio::time::timeout(wait, self.writer.clone().lock_owned()).await;
        self.waited.record(asked.elapsed().as_secs_f64());
        let said = || format!("other transactions of this host kept the writer for {wait:?}");
        let mut slot = locked.map_err(|_| self.unavailable(said()))?;
        if let Some(former) = slot.take_if(|connection| connection.has_moved()) {
            tracing::warn!(url = %self.url, "the file was replaced: it is opened anew, and its owners take anew");
            *self.former_log.lock().unwrap_or_else(PoisonError::into_inner) = former.log;
            former.abandon();
        }
        while slot.is_none() {
            self.refuse_former_log()?;
            match Connection::open(&self.connecting()).await {
                Ok(connection) => *slot = Some(self.same_database(connection).await?),
                // The first connections of several hosts change the file to WAL mode and find it locked.
                Err(Fault::Busy(_)) if asked.elapsed() < wait.min(self.lock_wait) => {
                    tokio::time::sleep(BUSY_SLICE).await;
                }
                Err(fault) => return Err(fault.host(&self.url)),
            }
        }
        Ok(slot)
    }

    /// The file is made by whoever makes the host's tables, and never again: one that is gone is on its way.
    fn connecting(&self) -> SqliteConnectOptions {
        self.options.clone().create_if_missing(self.database.get().is_none())
    }

    fn refuse_former_log(&self) -> Result<(), DatabaseError> {
        let former = *self.former_log.lock().unwrap_or_else(PoisonError::into_inner);
        let log = log_of(self.options.get_filename());
        if former.is_none() || FileId::at(&log) != former {
            return Ok(());
        }
        let reason = format!(
            "the file was replaced, and {} is still the log of the one before: remove it, and the file beside it \
             that ends in -shm, while no host runs",
            log.display()
        );
        Err(DatabaseError::Unavailable { url: self.url.to_string(), reason })
    }

    /// Whether a connection that was opened later has the database that this one is.
    async fn same_database(&self, mut connection: Connection) -> Result<Connection, DatabaseError> {
        let Some(database) = self.database.get() else { return Ok(connection) };
        let reason = "another database lies in its place now; if that is meant, start the hosts again";
        let other = || DatabaseError::Tables { url: self.url.to_string(), reason: reason.to_owned() };
        let rows = connection.fetch(host("SELECT database_id FROM keylane_meta")).await;
        let rows = rows.map_err(|fault| match fault.host(&self.url) {
            passing if passing.can_retry() => passing,
            _ => other(),
        })?;
        let found = rows.first().map(|row| get::<String>(row, 0, &self.url)).transpose()?;
        if found.as_ref() == Some(database) { Ok(connection) } else { Err(other()) }
    }

    /// The database does not answer, with the process that holds it, if one does.
    pub(crate) fn unavailable(&self, reason: String) -> DatabaseError {
        let held = holder::process(self.options.get_filename());
        let reason = match held {
            Some(process) => format!("{reason}; process {process} holds the writer: end it if it is stopped"),
            None => reason,
        };
        DatabaseError::Unavailable { url: self.url.to_string(), reason }
    }
}

/// What all connections share.
pub(crate) fn options(url: &str) -> Result<SqliteConnectOptions, DatabaseError> {
    let unusable = |reason: String| DatabaseError::Address { url: url.to_owned(), reason };
    if url.contains(":memory:") || url.contains("mode=memory") {
        return Err(unusable("a handler's database must be a file".to_owned()));
    }
    let options = SqliteConnectOptions::from_str(url).map_err(|error| unusable(error.to_string()))?;
    Ok(options
        .foreign_keys(true)
        .statement_cache_capacity(PREPARED_MAX)
        .pragma("trusted_schema", "OFF")
        .pragma("cell_size_check", "ON")
        .pragma("hard_heap_limit", HEAP_BYTES_MAX.to_string())
        .disable_statement_logging())
}

async fn make_folder(url: &str, file: &Path) -> Result<(), DatabaseError> {
    let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) else { return Ok(()) };
    tokio::fs::create_dir_all(folder).await.map_err(|error| DatabaseError::Address {
        url: url.to_owned(),
        reason: format!("the folder {} cannot be made: {error}", folder.display()),
    })
}
