//! One pool of connections, and what is done to the sessions of its server from outside.
//!
//! Who waits: whoever needs a connection, in order of arrival, for at most `wait`; then for the server, for at
//! most [`CONNECT_WAIT`], since one that does not answer must not look like one that is busy. Who wakes: the
//! end of a session. A read replica is a server of its own, with its own numbers of sessions: it is asked
//! about its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::postgres::faults;

/// Connections that end other sessions or ask who is in the way.
const WATCH_CONNECTIONS: u32 = 2;
/// How long a question about other sessions may take.
const WATCH_WAIT: Duration = Duration::from_secs(5);
/// How long a server may take to answer a new connection.
pub(crate) const CONNECT_WAIT: Duration = Duration::from_secs(5);

/// A pool.
pub(crate) struct Place {
    pool: PgPool,
    /// One for each connection that the pool may have.
    permits: Arc<Semaphore>,
    wait: Duration,
    /// The server's sessions.
    pub watch: Arc<Watch>,
    waited: metrics::Histogram,
    used: metrics::Gauge,
}

impl Place {
    /// Nothing is connected yet. The names are for metrics.
    pub(crate) fn new(
        options: &PgConnectOptions,
        max: u32,
        wait: Duration,
        watch: &Arc<Watch>,
        name: &'static str,
    ) -> Self {
        let (max, url) = (max.max(1), &watch.url);
        let gauge = |what: &'static str| metrics::gauge!(what, "database" => url.clone(), "pool" => name);
        gauge("keylane_sql_connections_max").set(f64::from(max));
        let waited = metrics::histogram!("keylane_sql_connection_wait_seconds",
            "database" => url.clone(), "pool" => name);
        Self {
            pool: pool(options, max),
            permits: Arc::new(Semaphore::new(usize::try_from(max).unwrap_or(1))),
            wait,
            watch: watch.clone(),
            waited,
            used: gauge("keylane_sql_connections_used"),
        }
    }

    /// How many connections there may be.
    pub(crate) fn max(&self) -> u32 {
        self.pool.options().get_max_connections()
    }

    /// Waits for a connection.
    pub(crate) async fn acquire(
        &self,
    ) -> Result<(sqlx::pool::PoolConnection<sqlx::Postgres>, Permit), sqlx::Error> {
        let asked = Instant::now();
        let permit = tokio::time::timeout(self.wait, self.permits.clone().acquire_owned()).await;
        self.waited.record(asked.elapsed().as_secs_f64());
        let said = || {
            faults::late(format!("other transactions of this host kept every connection for {:?}", self.wait))
        };
        let permit = permit.map_err(|_| said())?.map_err(|_| sqlx::Error::PoolClosed)?;
        self.used.increment(1.0);
        let permit = Permit { _held: permit, used: self.used.clone() };
        match self.pool.acquire().await {
            Ok(connection) => Ok((connection, permit)),
            Err(sqlx::Error::PoolTimedOut) => {
                Err(faults::late(format!("the server takes no connection within {CONNECT_WAIT:?}")))
            }
            Err(error) => Err(error),
        }
    }
}

/// The right to one connection of a pool.
pub(crate) struct Permit {
    _held: OwnedSemaphorePermit,
    used: metrics::Gauge,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.used.decrement(1.0);
    }
}

fn pool(options: &PgConnectOptions, max: u32) -> PgPool {
    PgPoolOptions::new()
        .max_connections(max)
        .acquire_timeout(CONNECT_WAIT)
        // Asking each connection whether it lives would cost every run a round trip.
        .test_before_acquire(false)
        .connect_lazy_with(options.clone())
}

/// A server's sessions, seen by connections that do nothing else, so that they can be had when all wait.
pub(crate) struct Watch {
    pool: PgPool,
    url: String,
}

impl Watch {
    /// Nothing is connected yet. The address is without its password.
    pub(crate) fn new(options: &PgConnectOptions, url: String) -> Arc<Self> {
        Arc::new(Self { pool: pool(options, WATCH_CONNECTIONS), url })
    }

    /// Whether a session waits for a lock that another one holds. An answer that does not come is a no.
    pub(crate) async fn waits_for_lock(&self, pid: i32) -> bool {
        let text = "SELECT pg_catalog.cardinality(pg_catalog.pg_blocking_pids($1)) > 0";
        let asked = sqlx::query_scalar::<_, bool>(text).bind(pid);
        matches!(tokio::time::timeout(WATCH_WAIT, asked.fetch_one(&self.pool)).await, Ok(Ok(true)))
    }

    /// Whether the server answers at all.
    pub(crate) async fn answers(&self) -> bool {
        let asked = sqlx::query("SELECT 1").execute(&self.pool);
        matches!(tokio::time::timeout(WATCH_WAIT, asked).await, Ok(Ok(_)))
    }

    /// Stops what a session does.
    pub(crate) async fn cancel(&self, pid: i32) {
        self.signal("SELECT pg_catalog.pg_cancel_backend($1)", pid).await;
    }

    /// Ends a session that this host has given up.
    pub(crate) async fn end(&self, pid: i32) {
        self.signal("SELECT pg_catalog.pg_terminate_backend($1)", pid).await;
    }

    /// Ends the sessions that hold what this one waits for. Answers how many.
    pub(crate) async fn end_blockers(&self, pid: i32) -> i64 {
        let text = "SELECT pg_catalog.count(*) FILTER (WHERE pg_catalog.pg_terminate_backend(blocker)) \
                    FROM pg_catalog.unnest(pg_catalog.pg_blocking_pids($1)) AS blocker";
        let asked = sqlx::query_scalar::<_, i64>(text).bind(pid).fetch_one(&self.pool);
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
        let asked = sqlx::query(text).bind(pid).execute(&self.pool);
        if !matches!(tokio::time::timeout(WATCH_WAIT, asked).await, Ok(Ok(_))) {
            tracing::warn!(
                url = self.url,
                pid,
                "a session could not be stopped; its own time-outs will end it"
            );
        }
    }
}
