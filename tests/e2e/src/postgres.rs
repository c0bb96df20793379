//! Reading a handler's database on PostgreSQL from outside, while the host runs or after it.

use anyhow::{Context, Result};
use sqlx::{Connection, PgConnection};
use tokio::runtime::Runtime;

/// A database at this address. Each look has a connection of its own, since the server may be killed between two.
pub struct Database {
    runtime: Runtime,
    address: String,
}

impl Database {
    /// It is not asked for yet.
    ///
    /// # Errors
    /// When the machine gives no runtime.
    pub fn new(address: &str) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { runtime, address: address.to_owned() })
    }

    /// The only number that a query answers.
    ///
    /// # Errors
    /// When the server does not answer or refuses it, or it answers something else.
    pub fn number(&self, query: &'static str) -> Result<i64> {
        self.runtime.block_on(async {
            let mut connection = PgConnection::connect(&self.address).await?;
            let number = sqlx::query_scalar(query).fetch_one(&mut connection).await;
            connection.close().await?;
            number.with_context(|| query.to_owned())
        })
    }

    /// Whether it has this table.
    ///
    /// # Errors
    /// As [`Self::number`].
    pub fn has(&self, table: &'static str) -> Result<bool> {
        self.runtime.block_on(async {
            let mut connection = PgConnection::connect(&self.address).await?;
            let found = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL").bind(table);
            let found = found.fetch_one(&mut connection).await;
            connection.close().await?;
            found.with_context(|| table.to_owned())
        })
    }
}
