//! Reading a handler's database from outside, for the host's own reports and for tests.
//! The connection is read-only and takes no part in the queue for the writer.

use std::str::FromStr;
use std::time::Duration;

use futures::TryStreamExt;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};

use crate::bindings::keylane::handler::sql::{Error, Value};
use crate::sql::database::DatabaseConfig;
use crate::sql::sqlite_row;
use crate::sql::sqlite_transaction::explain;

/// The most rows that one report reads.
const ROWS_MAX: usize = 100_000;

/// A report could not be read.
#[derive(Debug, thiserror::Error)]
#[error("the database {url} could not be read: {reason}")]
pub struct ReportError {
    /// The database's address.
    pub url: String,
    /// What went wrong.
    pub reason: String,
    can_retry: bool,
}

impl ReportError {
    /// Whether the same report may succeed later: a locked or missing database may come.
    #[must_use]
    pub fn can_retry(&self) -> bool {
        self.can_retry
    }
}

/// Runs one query of the host's own on a handler's database and answers its rows.
///
/// # Errors
/// When the database is missing, the query is wrong, or it answers more than 100,000 rows.
pub async fn read_rows(config: &DatabaseConfig, sql: &str) -> Result<Vec<Vec<Value>>, ReportError> {
    let failed = |reason, can_retry| ReportError { url: config.url.clone(), reason, can_retry };
    match rows(config, sql).await {
        Ok(Some(rows)) => Ok(rows),
        Ok(None) => Err(failed(format!("the report has more than {ROWS_MAX} rows"), false)),
        Err(error) => Err(failed(error.to_string(), matches!(explain(&error), Error::Unavailable(_)))),
    }
}

async fn rows(config: &DatabaseConfig, sql: &str) -> Result<Option<Vec<Vec<Value>>>, sqlx::Error> {
    const LOCK_WAIT: Duration = Duration::from_secs(5);
    let options = SqliteConnectOptions::from_str(&config.url)?;
    let options = options.read_only(true).busy_timeout(LOCK_WAIT).disable_statement_logging();
    let mut connection = options.connect().await?;
    let mut rows = Vec::new();
    {
        let mut stream = sqlx::query(AssertSqlSafe(sql)).fetch(&mut connection);
        while let Some(row) = stream.try_next().await? {
            if rows.len() >= ROWS_MAX {
                return Ok(None);
            }
            rows.push(sqlite_row::values(&row)?);
        }
    }
    connection.close().await?;
    Ok(Some(rows))
}
