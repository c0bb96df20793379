//! How the answer of a statement is read: to its end, or not at all.
//!
//! A row that the connection's thread cannot copy for want of memory ends the thread and with it the rows, without
//! an error. The driver says of each statement that it has ended, after its last row: without that word the rows
//! are no answer. So nobody needs to ask, for a turn of the thread, whether it still lives. In a text of several
//! statements the last word may be that of the one before, where not even a first row came: such a text has rows of
//! the last one only, and always some.

use futures::TryStreamExt;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, Either, Executor, SqlSafeStr, Statement as _};

use crate::error::StatementError;
use crate::sqlite::connection::Query;
use crate::sqlite::fault::{Fault, explain};
use crate::sqlite::row;
use crate::value::{Collected, ResultLimits, Rows, Value};

/// Runs a query and hands over its rows; answers how many rows it changed. A row that is not taken leaves the
/// statement running.
pub(crate) async fn each(
    inner: &mut SqliteConnection,
    query: Query<'_>,
    mut take: impl FnMut(SqliteRow) -> Result<(), Fault>,
) -> Result<u64, Fault> {
    let mut stream = inner.fetch_many(query);
    let (mut changed, mut ended) = (0_u64, false);
    while let Some(one) = stream.try_next().await.map_err(|error| explain(&error))? {
        ended = one.is_left();
        match one {
            Either::Left(done) => changed = changed.saturating_add(done.rows_affected()),
            Either::Right(row) => take(row)?,
        }
    }
    if ended { Ok(changed) } else { Err(explain(&sqlx::Error::WorkerCrashed)) }
}

/// All rows of a query.
pub(crate) async fn all(inner: &mut SqliteConnection, query: Query<'_>) -> Result<Vec<SqliteRow>, Fault> {
    let mut rows = Vec::new();
    let take = |row| {
        rows.push(row);
        Ok(())
    };
    each(inner, query, take).await?;
    Ok(rows)
}

/// How many rows a query changed; those that it answers are passed over.
pub(crate) async fn changes(inner: &mut SqliteConnection, query: Query<'_>) -> Result<u64, Fault> {
    each(inner, query, |_| Ok(())).await
}

/// Reads rows under their limits.
pub(crate) async fn collect(
    inner: &mut SqliteConnection,
    text: String,
    parameters: Vec<Value>,
    limits: ResultLimits,
) -> Result<Rows, Fault> {
    let refused = |said| Fault::Statement(StatementError::Limit(said));
    let query = sqlx::query(AssertSqlSafe(text.clone()));
    let query = parameters.into_iter().fold(query, row::bind);
    let mut collected = Collected::new(limits);
    let take = |one: SqliteRow| {
        if collected.rows.rows.is_empty() {
            collected.rows.columns = row::names(sqlx::Row::columns(&one));
        }
        collected.push(row::values(&one).map_err(|error| explain(&error))?).map_err(refused)
    };
    each(inner, query, take).await?;
    if collected.rows.rows.is_empty() {
        let prepared = inner.prepare(AssertSqlSafe(text).into_sql_str()).await;
        collected.rows.columns = row::names(prepared.map_err(|error| explain(&error))?.columns());
    }
    Ok(collected.rows)
}
