//! SQLite: one file and one writer for each handler.
//!
//! Who owns: the transaction that is open holds the writer's lock and with it the one connection. Who
//! waits: events of the same handler, in order of arrival, for at most `writer_wait`; in the database
//! itself, for at most `lock_wait`, when another process holds it. Who wakes: the end of a transaction,
//! which frees the lock. What bounds: the handler's concurrency bounds the waiters.
//!
//! A connection goes back only after a clean commit or rollback. In every other case, a cancelled call
//! among them, it is told to stop and closed, and SQLite takes back what it had done.

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use keylane_engine::Counted;
use sqlx::ConnectOptions;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use tokio::sync::Mutex;

use crate::bindings::keylane::handler::sql::Error;
use crate::capability::Boxed;
use crate::error::CapabilityError;
use crate::sql::database::{Database, DatabaseConfig, Synchronous, Transaction};
use crate::sql::migrations;
use crate::sql::sqlite_transaction::SqliteTransaction;
use crate::sql::watch::Watch;

/// Statements that a connection keeps prepared.
const PREPARED_MAX: usize = 200;
/// The most memory that all SQLite databases of this process together may use. A statement that needs
/// more fails; without this, one call of `hex(zeroblob(...))` could take a gigabyte.
const HEAP_BYTES_MAX: usize = 256 * 1024 * 1024;

/// The one connection that writes, with its watch.
pub(crate) struct Writer {
    pub(crate) connection: SqliteConnection,
    pub(crate) watch: Arc<Watch>,
}

/// A handler's database.
pub(crate) struct Sqlite {
    options: SqliteConnectOptions,
    url: String,
    /// None until the first transaction, and after a connection was given up.
    writer: Arc<Mutex<Option<Writer>>>,
    writer_wait: Duration,
    wait_seconds: metrics::Histogram,
    waiting: metrics::Gauge,
}

impl Sqlite {
    /// Opens the database, making it if it is missing, and migrates it.
    pub(crate) async fn open(
        handler: &str,
        config: &DatabaseConfig,
        migrations: Option<&Path>,
    ) -> Result<Self, CapabilityError> {
        let options = options(config)?;
        let failed = |error: &sqlx::Error| CapabilityError::DatabaseOpen {
            url: config.url.clone(),
            reason: error.to_string(),
            can_retry: true,
        };
        make_folder(config, options.get_filename()).await?;
        let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options.clone());
        let pool = pool.await.map_err(|error| failed(&error))?;
        if let Some(folder) = migrations {
            migrations::run(&pool, &config.url, folder).await?;
        }
        pool.close().await;
        let handler = handler.to_owned();
        Ok(Self {
            options,
            url: config.url.clone(),
            writer: Arc::new(Mutex::new(None)),
            writer_wait: config.writer_wait,
            wait_seconds: metrics::histogram!("keylane_sql_writer_wait_seconds", "handler" => handler.clone()),
            waiting: metrics::gauge!("keylane_sql_writer_waiting", "handler" => handler),
        })
    }

    async fn begin_transaction(&self) -> Result<Box<dyn Transaction>, Error> {
        let asked = Instant::now();
        let waiting = Counted::new(&self.waiting);
        let locked = tokio::time::timeout(self.writer_wait, self.writer.clone().lock_owned()).await;
        drop(waiting);
        self.wait_seconds.record(asked.elapsed().as_secs_f64());
        let mut slot = locked.map_err(|_| {
            let wait = self.writer_wait;
            Error::Unavailable(format!("other events kept the writer of {} for {wait:?}", self.url))
        })?;
        if slot.is_none() {
            *slot = Some(self.connect().await.map_err(|error| Error::Unavailable(error.to_string()))?);
        }
        let transaction = SqliteTransaction::begin(slot).await?;
        Ok(Box::new(transaction))
    }

    async fn connect(&self) -> Result<Writer, sqlx::Error> {
        let mut connection = self.options.connect().await?;
        let watch = Watch::install(&mut connection).await?;
        Ok(Writer { connection, watch })
    }
}

impl Database for Sqlite {
    fn begin(&self) -> Boxed<'_, Result<Box<dyn Transaction>, Error>> {
        Box::pin(self.begin_transaction())
    }
}

/// How every writing connection is opened.
fn options(config: &DatabaseConfig) -> Result<SqliteConnectOptions, CapabilityError> {
    let unusable = |reason: String| CapabilityError::DatabaseUrl { url: config.url.clone(), reason };
    if config.url.contains(":memory:") || config.url.contains("mode=memory") {
        return Err(unusable("a handler's database must be a file".to_owned()));
    }
    let options = SqliteConnectOptions::from_str(&config.url).map_err(|error| unusable(error.to_string()))?;
    let synchronous = match config.synchronous {
        Synchronous::Full => SqliteSynchronous::Full,
        Synchronous::Normal => SqliteSynchronous::Normal,
    };
    Ok(options
        .create_if_missing(true)
        .foreign_keys(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(synchronous)
        .busy_timeout(config.lock_wait)
        .statement_cache_capacity(PREPARED_MAX)
        .pragma("trusted_schema", "OFF")
        .pragma("cell_size_check", "ON")
        .pragma("hard_heap_limit", HEAP_BYTES_MAX.to_string())
        .disable_statement_logging())
}

async fn make_folder(config: &DatabaseConfig, file: &Path) -> Result<(), CapabilityError> {
    let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) else { return Ok(()) };
    tokio::fs::create_dir_all(folder).await.map_err(|error| CapabilityError::DatabaseOpen {
        url: config.url.clone(),
        reason: format!("the folder {} cannot be made: {error}", folder.display()),
        can_retry: false,
    })
}

#[cfg(test)]
#[path = "sqlite_tests.rs"]
mod tests;
