//! Reading a handler's database from outside, while the host runs or after it.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use sqlx::sqlite::{SqliteConnectOptions, SqliteRow};
use sqlx::{ConnectOptions, Decode, Row, Sqlite, SqliteConnection, Type};
use tokio::runtime::Runtime;

/// How long a look waits for the host's own transaction.
const BUSY_LIMIT: Duration = Duration::from_secs(30);

/// A connection of its own to a handler's database.
pub struct Database {
    runtime: Runtime,
    connection: SqliteConnection,
}

impl Database {
    /// Opens the file, which must be there.
    ///
    /// # Errors
    /// When it is not, or is no database.
    pub fn open(file: &Path) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let options =
            SqliteConnectOptions::new().filename(file).create_if_missing(false).busy_timeout(BUSY_LIMIT);
        let connection =
            runtime.block_on(options.connect()).with_context(|| format!("cannot open {}", file.display()))?;
        Ok(Self { runtime, connection })
    }

    /// All rows of a query.
    ///
    /// # Errors
    /// When the database refuses it.
    pub fn rows(&mut self, query: &'static str) -> Result<Vec<SqliteRow>> {
        let rows = sqlx::query(query).fetch_all(&mut self.connection);
        self.runtime.block_on(rows).with_context(|| query.to_owned())
    }

    /// The numbers that a query answers, one in each row.
    ///
    /// # Errors
    /// When the database refuses it, or it answers something else.
    pub fn numbers(&mut self, query: &'static str) -> Result<Vec<i64>> {
        let numbers = sqlx::query_scalar(query).fetch_all(&mut self.connection);
        self.runtime.block_on(numbers).with_context(|| query.to_owned())
    }

    /// The only number that a query answers.
    ///
    /// # Errors
    /// When the database refuses it, or it answers something else.
    pub fn number(&mut self, query: &'static str) -> Result<i64> {
        let number = sqlx::query_scalar(query).fetch_one(&mut self.connection);
        self.runtime.block_on(number).with_context(|| query.to_owned())
    }
}

/// The value of a column.
///
/// # Errors
/// When there is no such column, or it is of another type.
pub fn column<'row, T: Decode<'row, Sqlite> + Type<Sqlite>>(row: &'row SqliteRow, name: &str) -> Result<T> {
    row.try_get(name).with_context(|| format!("column {name}"))
}
