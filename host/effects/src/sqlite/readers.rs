//! The connections that only read: opened as they are needed, at most so many, and kept.
//!
//! Who owns: a query holds a permit and one connection. Who waits: queries beyond the permits, in order of
//! arrival, for at most `wait`. Who wakes: the end of a query. A connection goes back after an answer or a fault of
//! the query's own, if it has answered since; one that was cancelled does not.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::sqlite::SqliteConnectOptions;
use tokio::sync::Semaphore;

use crate::error::StatementError;
use crate::sqlite::connection::Connection;
use crate::sqlite::fault::Fault;
use crate::statement::Statement;
use crate::value::{ResultLimits, Rows, Value};

/// The connections.
pub(crate) struct Readers {
    options: SqliteConnectOptions,
    permits: Semaphore,
    idle: Mutex<Vec<Connection>>,
    wait: Duration,
    waited: metrics::Histogram,
    used: metrics::Gauge,
}

impl Readers {
    /// Nothing is opened yet. The address is for metrics.
    pub(crate) fn new(options: SqliteConnectOptions, connections: u32, wait: Duration, url: &str) -> Self {
        let permits = Semaphore::new(usize::try_from(connections.max(1)).unwrap_or(1));
        let gauge =
            |what: &'static str| metrics::gauge!(what, "database" => url.to_owned(), "pool" => "reads");
        gauge("keylane_sql_connections_max").set(f64::from(connections.max(1)));
        let waited = metrics::histogram!("keylane_sql_connection_wait_seconds",
            "database" => url.to_owned(), "pool" => "reads");
        let used = gauge("keylane_sql_connections_used");
        Self { options, permits, idle: Mutex::new(Vec::new()), wait, waited, used }
    }

    /// Runs a guest's query. SQLite itself refuses to write on this connection.
    pub(crate) async fn query(
        &self,
        statement: Statement,
        parameters: Vec<Value>,
        limits: ResultLimits,
        deadline: Duration,
    ) -> Result<Rows, StatementError> {
        let asked = Instant::now();
        let permit = tokio::time::timeout(self.wait, self.permits.acquire()).await;
        self.waited.record(asked.elapsed().as_secs_f64());
        let busy =
            |wait| StatementError::Unavailable(format!("other queries kept all connections for {wait:?}"));
        let _permit = match permit {
            Ok(Ok(permit)) => permit,
            _ => return Err(busy(self.wait)),
        };
        let _used = Used::of(&self.used);
        let mut connection = self.connection().await.map_err(Fault::guest)?;
        let rows = connection.guest_rows(&statement, parameters, limits, deadline).await;
        match &rows {
            Ok(_) | Err(Fault::Statement(_)) if !connection.is_spent() => {
                self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            }
            _ => connection.abandon(),
        }
        rows.map_err(Fault::guest)
    }

    async fn connection(&self) -> Result<Connection, Fault> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match idle {
            Some(connection) if !connection.has_moved() => Ok(connection),
            _ => {
                let mut connection = Connection::open(&self.options).await?;
                connection.for_guests().await?;
                Ok(connection)
            }
        }
    }
}

/// One connection in use, until it is dropped.
struct Used<'a>(&'a metrics::Gauge);

impl<'a> Used<'a> {
    fn of(gauge: &'a metrics::Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for Used<'_> {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}
