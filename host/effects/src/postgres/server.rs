//! The connections to one database.

use std::str::FromStr;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, PgConnection};

use crate::config::{DatabaseConfig, Isolation, Synchronous};
use crate::error::DatabaseError;
use crate::postgres::faults;
use crate::postgres::place::{CONNECT_WAIT, Place, Watch};

/// Statements that a connection keeps prepared.
const PREPARED_MAX: usize = 200;
/// Connections for takes, pruning and look-ups.
const OWN_CONNECTIONS: u32 = 4;
/// Connections for the relay and what is asked of the outbox: one that waits for the relay's row, and another.
const OUTBOX_CONNECTIONS: u32 = 2;
/// How long a transaction of the host's own may take, by the host's clock, beside what it waits for locks.
const OWN_LIMIT: Duration = Duration::from_secs(30);
/// What every session of the host begins with. A client that is gone is noticed within seconds, so that
/// its locks do not outlive it for long. Names are looked up in the catalogue alone: in a schema where a
/// handler may make functions, one of them could be taken for the host's.
const SETTINGS: [(&str, &str); 9] = [
    ("synchronous_commit", "on"),
    ("timezone", "UTC"),
    ("standard_conforming_strings", "on"),
    ("bytea_output", "hex"),
    ("client_connection_check_interval", "1s"),
    ("tcp_keepalives_idle", "5"),
    ("tcp_keepalives_interval", "3"),
    ("tcp_keepalives_count", "3"),
    ("search_path", "pg_catalog"),
];

/// One database and its pools.
pub(crate) struct Server {
    /// The address without its password, for messages.
    pub url: String,
    /// The database's identity, once it is opened: from then on no other one is taken for it.
    pub database: OnceLock<String>,
    /// The Kafka cluster that it serves, once that is asked for.
    pub cluster: OnceLock<String>,
    /// How to open a connection that belongs to no pool.
    options: PgConnectOptions,
    /// Runs.
    pub runs: Arc<Place>,
    /// Takes, pruning, look-ups.
    pub own: Arc<Place>,
    /// The relay, and looks into the outbox.
    pub outbox: Arc<Place>,
    /// `access = "read"`.
    pub reads: Arc<Place>,
    /// Of runs.
    pub isolation: Isolation,
    /// How long a statement of the last run could take, in milliseconds, by the server's clock; 0 is for ever.
    pub statement_ms: AtomicU64,
    /// How long a statement waits for one lock.
    pub lock_wait: Duration,
    /// How long a session may be idle inside a transaction.
    pub idle: Duration,
}

impl Server {
    /// Nothing is connected yet.
    pub(crate) fn new(config: &DatabaseConfig) -> Result<Self, DatabaseError> {
        if config.synchronous == Synchronous::Normal {
            let reason =
                "synchronous = \"normal\" is for SQLite: here a commit whose outputs have left could be \
                          lost with the server. Leave it out"
                    .to_owned();
            return Err(DatabaseError::Address { url: without_password(&config.write), reason });
        }
        let options = options(&config.write)?;
        let reads = config.read.as_deref().map_or(Ok(options.clone()), self::options)?;
        let url = without_password(&config.write);
        let watch = Watch::new(&options, url.clone());
        let read_watch = config
            .read
            .as_deref()
            .map_or_else(|| watch.clone(), |read| Watch::new(&reads, without_password(read)));
        let place = |options: &PgConnectOptions, max: u32, watch: &Arc<Watch>, name| {
            Arc::new(Place::new(options, max, config.writer_wait, watch, name))
        };
        Ok(Self {
            runs: place(&options, config.write_connections, &watch, "runs"),
            own: place(&options, OWN_CONNECTIONS, &watch, "own"),
            outbox: place(&options, OUTBOX_CONNECTIONS, &watch, "outbox"),
            reads: place(&reads, config.read_connections, &read_watch, "reads"),
            url,
            database: OnceLock::new(),
            cluster: OnceLock::new(),
            options,
            isolation: config.isolation,
            statement_ms: AtomicU64::new(0),
            lock_wait: config.lock_wait,
            idle: config.idle_in_transaction,
        })
    }

    /// A failure of a statement of the host's own.
    pub(crate) fn fault(&self, error: &sqlx::Error) -> DatabaseError {
        faults::of_host(error, &self.url)
    }

    /// A connection that belongs to no pool.
    pub(crate) async fn connect(&self) -> Result<PgConnection, DatabaseError> {
        let connected = tokio::time::timeout(CONNECT_WAIT, self.options.connect()).await;
        let said = || faults::late(format!("the server takes no connection within {CONNECT_WAIT:?}"));
        connected.unwrap_or_else(|_| Err(said())).map_err(|error| self.fault(&error))
    }

    /// Holds a transaction of the host's own to the host's clock: a server that is stopped answers nothing.
    pub(crate) async fn within<T>(
        &self,
        waits: Duration,
        doing: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, DatabaseError> {
        let limit = OWN_LIMIT.saturating_add(waits);
        let done = tokio::time::timeout(limit, doing).await;
        let late = || Err(faults::late(format!("the server has not answered within {limit:?}")));
        done.unwrap_or_else(|_| late()).map_err(|error| self.fault(&error))
    }
}

fn options(url: &str) -> Result<PgConnectOptions, DatabaseError> {
    let options = PgConnectOptions::from_str(url)
        .map_err(|error| DatabaseError::Address { url: without_password(url), reason: error.to_string() })?;
    Ok(options
        .application_name("keylane")
        .options(SETTINGS)
        .statement_cache_capacity(PREPARED_MAX)
        .disable_statement_logging())
}

/// The address as it may stand in a log.
fn without_password(url: &str) -> String {
    let url = url.split_once('?').map_or(url, |(before, _)| before);
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let Some((user, host)) = rest.rsplit_once('@') else { return url.to_owned() };
    let user = user.split_once(':').map_or(user, |(name, _)| name);
    format!("{scheme}://{user}@{host}")
}
