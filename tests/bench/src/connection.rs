//! One connection to either database, for the consumer that is written by hand and for looking at what an
//! engine has done. Statements are kept prepared.

use std::str::FromStr as _;
use std::time::Duration;

use anyhow::Result;
use sqlx::postgres::{PgConnectOptions, PgConnection, Postgres};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Sqlite};

/// How long SQLite waits for another process that writes.
const BUSY: Duration = Duration::from_secs(30);

/// A connection.
pub(crate) enum Connection {
    Postgres(PgConnection),
    Sqlite(SqliteConnection),
}

/// A parameter of a statement.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Sql<'text> {
    Number(i64),
    Text(&'text str),
}

/// Binds the parameters.
macro_rules! bound {
    ($query:expr, $values:expr) => {
        $values.iter().fold($query, |query, value| match *value {
            Sql::Number(number) => query.bind(number),
            Sql::Text(text) => query.bind(text.to_owned()),
        })
    };
}

impl Connection {
    /// Connects to `sqlite://PATH`, which is made if it is missing, or to `postgres://...`. Each commit is
    /// pressed to the disk.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(crate) async fn open(url: &str) -> Result<Self> {
        if url.starts_with("sqlite:") {
            let options = SqliteConnectOptions::from_str(url)?
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Full)
                .busy_timeout(BUSY)
                .disable_statement_logging();
            return Ok(Self::Sqlite(options.connect().await?));
        }
        let options = PgConnectOptions::from_str(url)?.disable_statement_logging();
        Ok(Self::Postgres(options.connect().await?))
    }

    /// Runs a statement and answers how many rows it changed.
    ///
    /// # Errors
    /// When the database refuses.
    pub(crate) async fn execute(&mut self, text: &'static str, values: &[Sql<'_>]) -> Result<u64> {
        Ok(match self {
            Self::Postgres(connection) => {
                bound!(sqlx::query::<Postgres>(text), values).execute(connection).await?.rows_affected()
            }
            Self::Sqlite(connection) => {
                bound!(sqlx::query::<Sqlite>(text), values).execute(connection).await?.rows_affected()
            }
        })
    }

    /// The two numbers of the first row, if there is one.
    ///
    /// # Errors
    /// When the database refuses.
    pub(crate) async fn numbers(
        &mut self,
        text: &'static str,
        values: &[Sql<'_>],
    ) -> Result<Option<(i64, i64)>> {
        Ok(match self {
            Self::Postgres(connection) => {
                let query = sqlx::query_as::<Postgres, (i64, i64)>(text);
                bound!(query, values).fetch_optional(connection).await?
            }
            Self::Sqlite(connection) => {
                let query = sqlx::query_as::<Sqlite, (i64, i64)>(text);
                bound!(query, values).fetch_optional(connection).await?
            }
        })
    }

    /// Rows of a number and two texts.
    ///
    /// # Errors
    /// When the database refuses.
    pub(crate) async fn texts(&mut self, text: &'static str) -> Result<Vec<(i64, String, String)>> {
        Ok(match self {
            Self::Postgres(connection) => sqlx::query_as::<Postgres, _>(text).fetch_all(connection).await?,
            Self::Sqlite(connection) => sqlx::query_as::<Sqlite, _>(text).fetch_all(connection).await?,
        })
    }

    /// Runs statements that are not kept.
    ///
    /// # Errors
    /// When the database refuses.
    pub(crate) async fn script(&mut self, text: String) -> Result<()> {
        let script = sqlx::raw_sql(AssertSqlSafe(text));
        match self {
            Self::Postgres(connection) => script.execute(connection).await.map(drop)?,
            Self::Sqlite(connection) => script.execute(connection).await.map(drop)?,
        }
        Ok(())
    }
}
