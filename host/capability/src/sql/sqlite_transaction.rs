//! One transaction of SQLite, and what its errors mean to a guest.

use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use sqlx::{AssertSqlSafe, Executor, SqlSafeStr, Statement as _};
use tokio::sync::OwnedMutexGuard;

use crate::bindings::keylane::handler::sql::{Error, Rows, Value};
use crate::capability::Boxed;
use crate::sql::database::{ResultLimits, Step, Transaction};
use crate::sql::session::said;
use crate::sql::sqlite::Writer;
use crate::sql::sqlite_row;
use crate::sql::statement::{Statement, size_bytes};
use crate::sql::watch::Watch;

/// How much longer than its deadline a statement is awaited: SQLite looks at the deadline between
/// steps, but a step that waits for the disk does not.
const GRACE: Duration = Duration::from_secs(1);

/// An open transaction. It holds the writer's lock.
pub(crate) struct SqliteTransaction {
    slot: OwnedMutexGuard<Option<Writer>>,
    /// The transaction has ended cleanly and the connection may be used again.
    ended: bool,
}

impl SqliteTransaction {
    /// Begins a transaction on the writer in the slot. BEGIN IMMEDIATE, because a transaction that begins
    /// by reading cannot be raised to writing when another process has written meanwhile.
    pub(crate) async fn begin(slot: OwnedMutexGuard<Option<Writer>>) -> Result<Self, Error> {
        let mut transaction = Self { slot, ended: false };
        let writer = transaction.writer()?;
        writer.watch.begin();
        writer.watch.allow(Duration::MAX);
        let begun = sqlx::query("BEGIN IMMEDIATE").execute(&mut writer.connection).await;
        begun.map_err(|error| explain(&error))?;
        Ok(transaction)
    }

    fn writer(&mut self) -> Result<&mut Writer, Error> {
        self.slot.as_mut().ok_or_else(|| Error::Unavailable("the connection is closed".to_owned()))
    }

    async fn rows(
        &mut self,
        text: Arc<str>,
        parameters: Vec<Value>,
        limits: ResultLimits,
    ) -> Result<Rows, Error> {
        let writer = self.writer()?;
        let query = sqlx::query(AssertSqlSafe(text.clone()));
        let query = parameters.into_iter().fold(query, sqlite_row::bind);
        let mut answer = Rows { columns: Vec::new(), rows: Vec::new() };
        let mut bytes = 0_usize;
        {
            let mut stream = query.fetch(&mut writer.connection);
            while let Some(row) = stream.try_next().await.map_err(|error| explain(&error))? {
                if answer.rows.is_empty() {
                    answer.columns = sqlite_row::names(sqlx::Row::columns(&row));
                }
                let values = sqlite_row::values(&row).map_err(|error| explain(&error))?;
                bytes = values.iter().map(size_bytes).fold(bytes, usize::saturating_add);
                if answer.rows.len() >= limits.rows {
                    let said = format!("the query answers more than {} rows (rows-max)", limits.rows);
                    return Err(Error::Limit(said));
                }
                if bytes > limits.bytes {
                    return Err(Error::Limit(format!("the query answers more than {} bytes", limits.bytes)));
                }
                answer.rows.push(values);
            }
        }
        if answer.rows.is_empty() {
            let prepared = writer.connection.prepare(AssertSqlSafe(text).into_sql_str()).await;
            answer.columns = sqlite_row::names(prepared.map_err(|error| explain(&error))?.columns());
        }
        Ok(answer)
    }

    async fn changes(&mut self, statement: Statement, parameters: Vec<Value>) -> Result<u64, Error> {
        let query = sqlx::query(AssertSqlSafe(statement.text));
        let query = parameters.into_iter().fold(query, sqlite_row::bind);
        let done = query.execute(&mut self.writer()?.connection).await.map_err(|error| explain(&error))?;
        Ok(if statement.changes { done.rows_affected() } else { 0 })
    }

    /// Ends a statement: the transaction must still be alive.
    fn alive(&mut self) -> Result<(), Error> {
        if self.writer()?.watch.ended() {
            return Err(Error::Refused("the statement ended the transaction".to_owned()));
        }
        Ok(())
    }

    async fn end(&mut self, how: &'static str) -> Result<(), Error> {
        let writer = self.writer()?;
        writer.watch.allow(Duration::MAX);
        sqlx::query(how).execute(&mut writer.connection).await.map_err(|error| explain(&error))?;
        Ok(())
    }

    async fn commit_or_not(&mut self, deadline: Duration) -> Result<(), String> {
        let writer = self.writer().map_err(|error| said(&error))?;
        if writer.watch.ended() {
            return Err("the transaction had ended before".to_owned());
        }
        writer.watch.allow_commit();
        match tokio::time::timeout(deadline.saturating_add(GRACE), self.end("COMMIT")).await {
            Err(_) => Err(format!("no answer within {deadline:?}; it may have been committed all the same")),
            Ok(Err(error)) => Err(said(&error)),
            Ok(Ok(())) => {
                let rolled_back = self.writer().map_err(|error| said(&error))?.watch.ended();
                self.ended = !rolled_back;
                if rolled_back { Err("the database rolled it back".to_owned()) } else { Ok(()) }
            }
        }
    }
}

/// Runs one statement under its deadline, which stops it in the database; the outer one is for a
/// database that does not even answer that.
async fn within<T>(
    watch: &Arc<Watch>,
    deadline: Duration,
    statement: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    watch.allow(deadline);
    let late = || Error::Unavailable(format!("the statement took longer than {deadline:?} (host-call)"));
    match tokio::time::timeout(deadline.saturating_add(GRACE), statement).await {
        Ok(Err(Error::Unavailable(_))) if watch.late() => Err(late()),
        Ok(answer) => answer,
        Err(_) => Err(late()),
    }
}

impl Transaction for SqliteTransaction {
    fn query(
        mut self: Box<Self>,
        statement: Statement,
        parameters: Vec<Value>,
        limits: ResultLimits,
        deadline: Duration,
    ) -> Step<Rows> {
        Box::pin(async move {
            let watch = self.writer()?.watch.clone();
            let rows = within(&watch, deadline, self.rows(statement.text, parameters, limits)).await?;
            self.alive()?;
            Ok((rows, self as Box<dyn Transaction>))
        })
    }

    fn execute(
        mut self: Box<Self>,
        statement: Statement,
        parameters: Vec<Value>,
        deadline: Duration,
    ) -> Step<u64> {
        Box::pin(async move {
            let watch = self.writer()?.watch.clone();
            let changes = within(&watch, deadline, self.changes(statement, parameters)).await?;
            self.alive()?;
            Ok((changes, self as Box<dyn Transaction>))
        })
    }

    fn commit(mut self: Box<Self>, deadline: Duration) -> Boxed<'static, Result<(), String>> {
        Box::pin(async move { self.commit_or_not(deadline).await })
    }

    fn rollback(mut self: Box<Self>) -> Boxed<'static, ()> {
        Box::pin(async move { self.ended = self.end("ROLLBACK").await.is_ok() })
    }
}

impl Drop for SqliteTransaction {
    /// A transaction that has not ended cleanly takes its connection with it.
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        if let Some(writer) = self.slot.take() {
            writer.watch.abandon();
        }
    }
}

/// What an error of the driver means to a guest.
pub(crate) fn explain(error: &sqlx::Error) -> Error {
    /// SQLite's primary result codes.
    const BUSY: u32 = 5;
    const LOCKED: u32 = 6;
    const NO_MEMORY: u32 = 7;
    const INTERRUPTED: u32 = 9;
    const IO_ERROR: u32 = 10;
    const FULL: u32 = 13;
    const CANNOT_OPEN: u32 = 14;
    const TOO_BIG: u32 = 18;
    let sqlx::Error::Database(database) = error else {
        return match error {
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Protocol(_) => Error::Refused(error.to_string()),
            _ => Error::Unavailable(error.to_string()),
        };
    };
    let said = database.message().to_owned();
    let code = database.code().and_then(|code| code.parse::<u32>().ok());
    match code.map(|code| code & 0xff) {
        Some(BUSY | LOCKED | INTERRUPTED | IO_ERROR | FULL | CANNOT_OPEN) => Error::Unavailable(said),
        Some(NO_MEMORY | TOO_BIG) => Error::Limit(format!("the statement needs too much memory: {said}")),
        _ => Error::Refused(said),
    }
}
