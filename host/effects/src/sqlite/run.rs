//! A run's transaction on SQLite.

use std::sync::Arc;
use std::time::Duration;

use keylane_engine::{Boxed, Fence};

use crate::database::{EndedAs, OutboxRow, RunTransaction, Step};
use crate::error::{BeginError, FinishError, StatementError, StatementFailed, StepError};
use crate::keyvalue::{KeyRequest, KeyRow};
use crate::relay::Written;
use crate::sqlite::connection::{Connection, host};
use crate::sqlite::fault::Fault;
use crate::sqlite::file::File;
use crate::sqlite::writing::Writing;
use crate::sqlite::{closing, keyvalue, ownership};
use crate::statement::Statement;
use crate::value::{ResultLimits, Rows, Value};

/// A run's transaction.
pub(crate) struct SqliteRun {
    writing: Writing,
    url: Arc<str>,
    /// The database's identity.
    database: Option<String>,
    fence: Fence,
    /// A savepoint stands.
    savepoint: bool,
    /// A statement failed since: only the way back to the savepoint is open.
    failed: bool,
}

/// What a step of a run answers.
type Stepped<T> = Result<T, StepError>;

impl SqliteRun {
    /// Begins, if the epoch is still one's own.
    pub(crate) async fn begin(file: &File, fence: Fence) -> Result<Box<dyn RunTransaction>, BeginError> {
        let mut writing = ownership::begin(file, fence).await?;
        let url = file.url.clone();
        writing.connection()?.for_guests().await.map_err(|fault| fault.host(&url))?;
        let database = file.database.get().cloned();
        Ok(Box::new(Self { writing, url, database, fence, savepoint: false, failed: false }))
    }

    /// Whether nothing of it can have been committed, although a word failed.
    async fn is_undone(&mut self) -> bool {
        let Ok(connection) = self.writing.connection() else { return false };
        connection.rolled_back() || matches!(connection.in_transaction().await, Ok(true))
    }

    fn connection(&mut self) -> Stepped<&mut Connection> {
        Ok(self.writing.connection()?)
    }

    /// Whether a statement may run.
    fn ready(&self) -> Stepped<()> {
        if self.failed { Err(StatementError::Aborted.into()) } else { Ok(()) }
    }

    /// Whether the transaction lives: whatever ended it must not let the next insert commit alone.
    fn alive(&mut self) -> Stepped<()> {
        if self.connection()?.rolled_back() {
            return Err(StatementError::Refused("the statement ended the transaction".to_owned()).into());
        }
        Ok(())
    }

    async fn rows(
        &mut self,
        statement: Statement,
        parameters: Vec<Value>,
        limits: ResultLimits,
        deadline: Duration,
    ) -> Stepped<Rows> {
        self.ready()?;
        let url = self.url.clone();
        let rows = self.connection()?.guest_rows(&statement, parameters, limits, deadline).await;
        let rows = rows.map_err(|fault| fault.step(&url))?;
        self.alive()?;
        Ok(rows)
    }

    async fn changes(
        &mut self,
        statement: Statement,
        parameters: Vec<Value>,
        deadline: Duration,
    ) -> Stepped<u64> {
        self.ready()?;
        let url = self.url.clone();
        let changes = self.connection()?.guest_changes(&statement, parameters, deadline).await;
        let changes = changes.map_err(|fault| fault.step(&url))?;
        self.alive()?;
        Ok(changes)
    }

    async fn keys(&mut self, request: KeyRequest, deadline: Duration) -> Stepped<Vec<KeyRow>> {
        self.ready()?;
        let url = self.url.clone();
        let rows = keyvalue::answer(self.connection()?, request, deadline).await;
        let rows = rows.map_err(|fault| fault.step(&url))?;
        self.alive()?;
        Ok(rows)
    }

    /// Sets the savepoint anew. What is left open by a deferred foreign key is the fault of the event that
    /// ends here, not of whichever comes last.
    async fn mark(&mut self) -> Stepped<()> {
        self.ready()?;
        let url = self.url.clone();
        let step = |fault: Fault| fault.step(&url);
        if self.connection()?.foreign_keys_pending().await.map_err(step)? {
            return Err(StatementError::Refused("a deferred foreign key is not made good".to_owned()).into());
        }
        // Both in one message to the connection's thread.
        let anew = if self.savepoint {
            "RELEASE keylane_event; SAVEPOINT keylane_event"
        } else {
            "SAVEPOINT keylane_event"
        };
        self.savepoint = false;
        self.connection()?.run(host(anew)).await.map_err(step)?;
        self.savepoint = true;
        Ok(())
    }

    async fn back(&mut self) -> Stepped<()> {
        if !self.savepoint {
            return Err(StatementError::Refused("no savepoint stands".to_owned()).into());
        }
        let url = self.url.clone();
        let back = self.connection()?.run(host("ROLLBACK TO keylane_event")).await;
        back.map_err(|fault| fault.step(&url))?;
        self.failed = false;
        Ok(())
    }

    /// Ends a step that failed: the transaction is kept only where the savepoint stands and it lives.
    async fn fail(mut self: Box<Self>, error: StepError) -> StatementFailed {
        let own_fault = matches!(error, StepError::Statement(_));
        let kept = match self.writing.connection() {
            Ok(connection) if own_fault && self.savepoint => connection.in_transaction().await,
            _ => Ok(false),
        };
        if matches!(kept, Ok(true)) {
            self.failed = true;
            return StatementFailed { error, transaction: Some(self) };
        }
        self.writing.rollback().await;
        StatementFailed { error, transaction: None }
    }

    /// A deferred foreign key that the last event has left open is found by the commit.
    async fn write(
        &mut self,
        outbox: Vec<OutboxRow>,
        endings: Vec<(i64, EndedAs)>,
        deadline: Duration,
    ) -> Result<(), FinishError> {
        if self.failed {
            return Err(FinishError::Void("a failed statement was not rolled back".to_owned()));
        }
        if self.writing.connection()?.rolled_back() {
            return Err(FinishError::Void("a statement ended it".to_owned()));
        }
        let url = self.url.clone();
        let left = closing::ahead(self.writing.connection()?, self.fence, outbox).await;
        let mut words = closing::words(self.fence, left.map_err(|fault| fault.host(&url))?, endings);
        let Err(fault) = self.writing.commit_with(words.query(), deadline).await else { return Ok(()) };
        Err(match fault {
            Fault::Unique(_) => FinishError::ClaimExists,
            Fault::Unable(_) if self.is_undone().await => fault.host(&url).into(),
            Fault::Stuck(deadline) => FinishError::Unknown(format!("no answer within {deadline:?}")),
            // Stopped on the way, or a disk that fails in the middle: it may be committed all the same.
            Fault::Unable(said) | Fault::Gone(said) | Fault::Statement(StatementError::Late(said)) => {
                FinishError::Unknown(said)
            }
            Fault::Statement(error) => FinishError::Refused(error.to_string()),
            fault => fault.host(&url).into(),
        })
    }
}

/// Runs a step and hands the transaction back only where it succeeded.
async fn step<T, F>(
    mut run: Box<SqliteRun>,
    doing: F,
) -> Result<(T, Box<dyn RunTransaction>), StatementFailed>
where
    F: for<'a> FnOnce(&'a mut SqliteRun) -> Boxed<'a, Stepped<T>>,
{
    match doing(&mut run).await {
        Ok(answer) => Ok((answer, run)),
        Err(error) => Err(run.fail(error).await),
    }
}

impl RunTransaction for SqliteRun {
    fn query(
        self: Box<Self>,
        statement: Statement,
        parameters: Vec<Value>,
        limits: ResultLimits,
        deadline: Duration,
    ) -> Step<Rows> {
        Box::pin(step(self, move |run| Box::pin(run.rows(statement, parameters, limits, deadline))))
    }

    fn execute(
        self: Box<Self>,
        statement: Statement,
        parameters: Vec<Value>,
        deadline: Duration,
    ) -> Step<u64> {
        Box::pin(step(self, move |run| Box::pin(run.changes(statement, parameters, deadline))))
    }

    fn keyvalue(self: Box<Self>, request: KeyRequest, deadline: Duration) -> Step<Vec<KeyRow>> {
        Box::pin(step(self, move |run| Box::pin(run.keys(request, deadline))))
    }

    fn savepoint(self: Box<Self>) -> Step<()> {
        Box::pin(step(self, |run| Box::pin(run.mark())))
    }

    fn rollback_to_savepoint(self: Box<Self>) -> Step<()> {
        Box::pin(step(self, |run| Box::pin(run.back())))
    }

    fn finish(
        mut self: Box<Self>,
        outbox: &[OutboxRow],
        endings: &[(i64, EndedAs)],
        deadline: Duration,
    ) -> Boxed<'static, Result<(), FinishError>> {
        let (outbox, endings) = (outbox.to_vec(), endings.to_vec());
        Box::pin(async move {
            let written = Written::of(&outbox);
            let finished = self.write(outbox, endings, deadline).await;
            match &finished {
                Ok(()) | Err(FinishError::Unknown(_)) => {
                    if let Some(database) = &self.database {
                        written.tell(database);
                    }
                }
                Err(_) => self.writing.rollback().await,
            }
            finished
        })
    }

    fn rollback(self: Box<Self>) -> Boxed<'static, ()> {
        Box::pin(async move { self.writing.rollback().await })
    }
}
