//! One pool of connections, and what is done to the sessions of its server from outside.
//!
//! Who waits: whoever needs a connection, in order of arrival, for at most `wait`; then for the server, for at
//! most [`CONNECT_WAIT`], since one that does not answer must not look like one that is busy. Who wakes: the
//! end of a session. A read replica is a server of its own, with its own numbers of sessions: it is asked
//! about its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::postgres::{PgArguments, PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::query::Query;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::postgres::faults;

/// A statement about another session.
type Saying = Query<'static, sqlx::Postgres, PgArguments>;

/// Connections that end other sessions or ask who is in the way.
const WATCH_CONNECTIONS: u32 = 2;
/// How long a question about other sessions may take.
const WATCH_WAIT: Duration = Duration::from_secs(5);
/// How long the end of a session is waited for that this host has given up, in milliseconds.
const END_WAIT_MS: i64 = 2_000;
/// How long a server may take to answer a new connection.
pub(crate) const CONNECT_WAIT: Duration = Duration::from_secs(5);

/// The clock of a transaction, which stands still in it, in microseconds since 1970.
pub(crate) const NOW: &str =
    "(EXTRACT(epoch FROM pg_catalog.now()) OPERATOR(pg_catalog.*) 1000000)::pg_catalog.int8";

/// A session of the server's. Numbers are given anew: under the same one, whoever came after that moment is
/// somebody else, another host or a program that has nothing to do with keylane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Backend {
    /// The number of its process.
    pub pid: i32,
    /// When it was there, by the server's clock: when its transaction began.
    pub at_us: i64,
}

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
    /// How many sessions are being ended.
    ending: watch::Sender<usize>,
}

impl Watch {
    /// Nothing is connected yet. The address is without its password.
    pub(crate) fn new(options: &PgConnectOptions, url: String) -> Arc<Self> {
        let ending = watch::Sender::new(0);
        Arc::new(Self { pool: pool(options, WATCH_CONNECTIONS), url, ending })
    }

    /// Whether a session waits for a lock that another one holds. An answer that does not come is a no.
    /// Statements are asked about often, and `pg_blocking_pids` would stop all locking for each answer.
    pub(crate) async fn waits_for_lock(&self, backend: Backend) -> bool {
        let text = "SELECT pg_catalog.count(*) FILTER (WHERE wait_event_type = 'Lock') > 0 \
                    FROM pg_catalog.pg_stat_get_activity($1)";
        let asked = sqlx::query_scalar::<_, bool>(text).bind(backend.pid);
        matches!(tokio::time::timeout(WATCH_WAIT, asked.fetch_one(&self.pool)).await, Ok(Ok(true)))
    }

    /// Whether the server answers at all.
    pub(crate) async fn answers(&self) -> bool {
        let asked = sqlx::query("SELECT 1").execute(&self.pool);
        matches!(tokio::time::timeout(WATCH_WAIT, asked).await, Ok(Ok(_)))
    }

    /// Stops what a session does.
    pub(crate) async fn cancel(&self, backend: Backend) {
        let text = "SELECT pg_catalog.pg_cancel_backend(pid) FROM pg_catalog.pg_stat_get_activity($1) \
                    WHERE EXTRACT(epoch FROM backend_start) * 1000000 <= $2";
        self.signal(sqlx::query(text), backend).await;
    }

    /// Ends a session that this host has given up, in the background, and waits there for its end.
    pub(crate) fn end(self: &Arc<Self>, backend: Backend) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let watch = self.clone();
        self.ending.send_modify(|ending| *ending += 1);
        runtime.spawn(async move {
            let text = "SELECT pg_catalog.pg_terminate_backend(pid, $1) \
                        FROM pg_catalog.pg_stat_get_activity($2) \
                        WHERE EXTRACT(epoch FROM backend_start) * 1000000 <= $3";
            watch.signal(sqlx::query(text).bind(END_WAIT_MS), backend).await;
            watch.ending.send_modify(|ending| *ending -= 1);
        });
    }

    /// Waits until the sessions are gone that this host has given up: until then one may still commit.
    pub(crate) async fn none_is_ending(&self) {
        let mut ending = self.ending.subscribe();
        let none = ending.wait_for(|ending| *ending == 0);
        let _too_long = tokio::time::timeout(WATCH_WAIT, none).await;
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

    /// Says this to one session; the last two of the statement's parameters tell which.
    async fn signal(&self, saying: Saying, backend: Backend) {
        let asked = saying.bind(backend.pid).bind(backend.at_us).execute(&self.pool);
        if !matches!(tokio::time::timeout(WATCH_WAIT, asked).await, Ok(Ok(_))) {
            tracing::warn!(
                url = self.url,
                pid = backend.pid,
                "a session could not be stopped; its own time-outs will end it"
            );
        }
    }
}

#[cfg(test)]
#[path = "place_tests.rs"]
mod tests;
