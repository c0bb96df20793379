//! The connections to one database, and what is done to other sessions of it.

use std::str::FromStr;
use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};

use crate::config::{DatabaseConfig, Isolation, Synchronous};
use crate::error::DatabaseError;
use crate::postgres::faults;

/// Statements that a connection keeps prepared.
const PREPARED_MAX: usize = 200;
/// Connections for takes, pruning and look-ups.
const OWN_CONNECTIONS: u32 = 4;
/// Connections that end other sessions or ask who is in the way.
const WATCH_CONNECTIONS: u32 = 2;
/// How long a question about other sessions may take.
const WATCH_WAIT: Duration = Duration::from_secs(5);
/// What every session of the host begins with. A client that is gone is noticed within seconds, so that
/// its locks do not outlive it for long.
const SETTINGS: [(&str, &str); 9] = [
    ("synchronous_commit", "on"),
    ("timezone", "UTC"),
    ("standard_conforming_strings", "on"),
    ("bytea_output", "hex"),
    ("client_connection_check_interval", "1s"),
    ("tcp_keepalives_idle", "5"),
    ("tcp_keepalives_interval", "3"),
    ("tcp_keepalives_count", "3"),
    ("search_path", "public"),
];

/// One database and its pools.
pub(crate) struct Server {
    /// The address without its password, for messages.
    pub url: String,
    /// How to open a connection that belongs to no pool.
    pub options: PgConnectOptions,
    /// Runs.
    pub runs: PgPool,
    /// Takes, pruning, look-ups.
    pub own: PgPool,
    /// `access = "read"`.
    pub reads: PgPool,
    watch: PgPool,
    /// Of runs.
    pub isolation: Isolation,
    /// The value of `synchronous_commit`.
    pub synchronous: &'static str,
    /// How long a statement waits for one lock.
    pub lock_wait: Duration,
}

impl Server {
    /// Nothing is connected yet.
    pub(crate) fn new(config: &DatabaseConfig) -> Result<Self, DatabaseError> {
        let options = options(&config.write)?;
        let reads = config.read.as_deref().map_or(Ok(options.clone()), self::options)?;
        let pool = |max: u32, options: &PgConnectOptions| {
            PgPoolOptions::new()
                .max_connections(max.max(1))
                .acquire_timeout(config.writer_wait)
                // Asking each connection whether it lives would cost every run a round trip.
                .test_before_acquire(false)
                .connect_lazy_with(options.clone())
        };
        Ok(Self {
            url: without_password(&config.write),
            runs: pool(config.write_connections, &options),
            own: pool(OWN_CONNECTIONS, &options),
            watch: pool(WATCH_CONNECTIONS, &options),
            reads: pool(config.read_connections, &reads),
            options,
            isolation: config.isolation,
            synchronous: match config.synchronous {
                Synchronous::Full => "on",
                Synchronous::Normal => "off",
            },
            lock_wait: config.lock_wait,
        })
    }

    /// A failure of a statement of the host's own.
    pub(crate) fn fault(&self, error: &sqlx::Error) -> DatabaseError {
        faults::of_host(error, &self.url)
    }

    /// Whether a session waits for a lock that another one holds. An answer that does not come is a no.
    pub(crate) async fn waits_for_lock(&self, pid: i32) -> bool {
        let asked = sqlx::query_scalar::<_, bool>("SELECT cardinality(pg_blocking_pids($1)) > 0").bind(pid);
        matches!(tokio::time::timeout(WATCH_WAIT, asked.fetch_one(&self.watch)).await, Ok(Ok(true)))
    }

    /// Stops what a session does.
    pub(crate) async fn cancel(&self, pid: i32) {
        self.signal("SELECT pg_cancel_backend($1)", pid).await;
    }

    /// Ends a session that this host has given up.
    pub(crate) async fn end(&self, pid: i32) {
        self.signal("SELECT pg_terminate_backend($1)", pid).await;
    }

    /// Ends the sessions that hold what this one waits for. Answers how many.
    pub(crate) async fn end_blockers(&self, pid: i32) -> i64 {
        let text = "SELECT count(*) FILTER (WHERE pg_terminate_backend(blocker)) \
                    FROM unnest(pg_blocking_pids($1)) AS blocker";
        let asked = sqlx::query_scalar::<_, i64>(text).bind(pid).fetch_one(&self.watch);
        match tokio::time::timeout(WATCH_WAIT, asked).await {
            Ok(Ok(ended)) => ended,
            Ok(Err(error)) => {
                tracing::warn!(url = self.url, %error, "sessions that are in the way could not be ended");
                0
            }
            Err(_) => 0,
        }
    }

    async fn signal(&self, text: &'static str, pid: i32) {
        let asked = sqlx::query(text).bind(pid).execute(&self.watch);
        if !matches!(tokio::time::timeout(WATCH_WAIT, asked).await, Ok(Ok(_))) {
            tracing::warn!(
                url = self.url,
                pid,
                "a session could not be stopped; its own time-outs will end it"
            );
        }
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
