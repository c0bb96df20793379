//! A database that a handler only reads: often a replica, and often another handler's. It is opened without
//! making or changing anything there, by a user who needs no more than to read.

use std::sync::Arc;
use std::time::Duration;

use keylane_engine::Boxed;

use crate::config::DatabaseConfig;
use crate::database::unknown_driver;
use crate::error::{DatabaseError, StatementError};
use crate::statement::{Statement, StatementLimits};
use crate::value::{ResultLimits, Rows, Value};
use crate::{postgres, sqlite};

/// A database that is only read.
pub trait ReadDatabase: Send + Sync {
    /// Checks a guest's statement as this database reads it.
    ///
    /// # Errors
    /// `Refused` or `Limit`, with what to change.
    fn check(
        &self,
        text: &str,
        parameters: &[Value],
        limits: &StatementLimits,
    ) -> Result<Statement, StatementError>;

    /// Reads, by a connection that cannot write.
    fn query(
        &self,
        statement: Statement,
        parameters: Vec<Value>,
        limits: ResultLimits,
        deadline: Duration,
    ) -> Boxed<'_, Result<Rows, StatementError>>;
}

/// Opens a database for reading at its read address, or at its write address if it has no other.
///
/// # Errors
/// When no driver knows the address or the database does not answer. A SQLite file that is missing counts as
/// the latter: the handler that writes it makes it.
pub async fn open_reading(config: &DatabaseConfig) -> Result<Arc<dyn ReadDatabase>, DatabaseError> {
    let address = config.read.as_ref().unwrap_or(&config.write).clone();
    let config = DatabaseConfig { write: address, read: None, ..config.clone() };
    if config.write.starts_with("sqlite:") {
        return sqlite::open_reading(&config).await;
    }
    if config.write.starts_with("postgres:") || config.write.starts_with("postgresql:") {
        return postgres::open_reading(&config).await;
    }
    Err(unknown_driver(&config.write))
}
