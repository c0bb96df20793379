//! A run's transaction.

use std::sync::Arc;
use std::time::Duration;

use keylane_engine::{Boxed, Fence};

use crate::config::Isolation;
use crate::database::{EndedAs, OutboxRow, RunTransaction, Step};
use crate::error::{BeginError, FinishError, StatementError, StatementFailed, StepError};
use crate::postgres::read::{self, Failure};
use crate::postgres::server::Server;
use crate::postgres::session::Session;
use crate::postgres::tables::GUEST;
use crate::postgres::{closing, faults};
use crate::statement::Statement;
use crate::value::{ResultLimits, Rows, Value};

/// How long a run's session may be idle between statements before the database ends it: longer than a
/// guest's event, shorter than the consumer group's session time-out.
const IDLE_MAX: Duration = Duration::from_secs(20);

/// Ends an event and begins the next one, in one message. Deferred constraints are checked for the event, in
/// a savepoint that is rolled back, so that they are deferred (or not) afterwards as they were before.
const NEXT_SAVEPOINT: &str = "SAVEPOINT keylane_check; SET CONSTRAINTS ALL IMMEDIATE; \
    ROLLBACK TO SAVEPOINT keylane_check; RELEASE SAVEPOINT keylane; SAVEPOINT keylane";

/// An open transaction.
pub(crate) struct Run {
    session: Session,
    server: Arc<Server>,
    fence: Fence,
    /// When the transaction began, by the server's clock: the same to its end.
    begun: String,
    /// A savepoint stands.
    savepoint: bool,
    /// A statement failed after the savepoint and was not undone yet.
    failed: bool,
    /// The deadline that the session's `statement_timeout` was set for.
    allowed: Option<Duration>,
}

/// Begins, if the epoch is one's own.
pub(crate) async fn begin(server: &Arc<Server>, fence: Fence) -> Result<Box<dyn RunTransaction>, BeginError> {
    let mut left = server.runs.options().get_max_connections().max(2);
    loop {
        let unavailable = |error: &sqlx::Error| BeginError::Database(server.fault(error));
        let session = Session::acquire(server, &server.runs).await.map_err(|error| unavailable(&error))?;
        match try_begin(session, server, fence).await {
            Ok(Some(run)) => return Ok(Box::new(run)),
            Ok(None) => return Err(BeginError::NotOwner),
            Err(error) if left == 0 => return Err(unavailable(&error)),
            // A take was committed while this one waited for it; or the connection died with its server.
            Err(_) => left -= 1,
        }
    }
}

/// All in one message. None: the epoch has passed.
async fn try_begin(
    mut session: Session,
    server: &Arc<Server>,
    fence: Fence,
) -> Result<Option<Run>, sqlx::Error> {
    let rows = match session.say(begin_text(server, fence)).await {
        Ok(rows) => rows,
        Err(error) => {
            if faults::is_answer(&error) {
                session.rollback().await;
            }
            return Err(error);
        }
    };
    let Some(row) = rows.first() else {
        session.rollback().await;
        return Ok(None);
    };
    session.pid = sqlx::Row::try_get(row, 0)?;
    let begun = sqlx::Row::try_get(row, 1)?;
    let server = server.clone();
    Ok(Some(Run { session, server, fence, begun, savepoint: false, failed: false, allowed: None }))
}

/// The share-lock keeps takes out until the end; whoever holds it at an epoch that has passed writes nothing.
/// A session's settings may have been changed by a function of the handler's, so they are set for each run.
fn begin_text(server: &Server, fence: Fence) -> String {
    let isolation = match server.isolation {
        Isolation::Serializable => "SERIALIZABLE",
        Isolation::ReadCommitted => "READ COMMITTED",
    };
    format!(
        "BEGIN ISOLATION LEVEL {isolation} READ WRITE; SET LOCAL ROLE NONE; SET LOCAL search_path = public; \
         SET LOCAL timezone = 'UTC'; SET LOCAL synchronous_commit = {synchronous}; \
         SET LOCAL lock_timeout = {lock}; SET LOCAL statement_timeout = 0; \
         SET LOCAL idle_in_transaction_session_timeout = {idle}; \
         SELECT pg_catalog.pg_backend_pid(), pg_catalog.now()::text FROM keylane.fence \
         WHERE stream = {stream} AND epoch = {count} AND nonce = {nonce} FOR SHARE; \
         SET LOCAL ROLE {GUEST}",
        synchronous = server.synchronous,
        lock = server.lock_wait.as_millis(),
        idle = IDLE_MAX.as_millis(),
        stream = fence.stream,
        count = fence.epoch.count,
        nonce = fence.epoch.nonce,
    )
}

impl Run {
    /// Before a guest's statement: nothing has failed, and the database's own time-out stands as the bound
    /// behind the host's clock.
    async fn ready(&mut self, deadline: Duration) -> Result<(), Failure> {
        if self.allowed != Some(deadline) {
            let bound = deadline.saturating_add(self.server.lock_wait).as_millis().clamp(1, 2_000_000_000);
            self.session.say(format!("SET LOCAL statement_timeout = {bound}")).await?;
            self.allowed = Some(deadline);
        }
        Ok(())
    }

    async fn rows(
        &mut self,
        statement: Statement,
        parameters: Vec<Value>,
        limits: ResultLimits,
        deadline: Duration,
    ) -> Result<Rows, Failure> {
        self.ready(deadline).await?;
        let pid = self.session.pid;
        let connection = self.session.connection()?;
        let statement = read::rows(connection, statement, parameters, limits);
        read::within(&self.server, pid, deadline, statement).await
    }

    async fn changes(
        &mut self,
        statement: Statement,
        parameters: Vec<Value>,
        deadline: Duration,
    ) -> Result<u64, Failure> {
        self.ready(deadline).await?;
        let pid = self.session.pid;
        let connection = self.session.connection()?;
        read::within(&self.server, pid, deadline, read::changes(connection, statement, parameters)).await
    }

    /// Ends a step: what succeeded goes on; what failed is rolled back at once, so that its locks are free,
    /// unless it can be undone to the savepoint.
    async fn settle<T>(
        mut self: Box<Self>,
        answer: Result<T, Failure>,
        deadline: Duration,
    ) -> Result<(T, Box<dyn RunTransaction>), StatementFailed> {
        let failure = match answer {
            Ok(answer) => return Ok((answer, self)),
            Err(failure) => failure,
        };
        let error = failure.explain(&self.server.url, deadline);
        let lives = failure.leaves(&mut self.session).await;
        if let Failure::Said(said) = &failure {
            self.session.stale |= faults::is_stale(said);
        }
        if lives && self.savepoint && matches!(error, StepError::Statement(_)) {
            self.failed = true;
            return Err(StatementFailed { error, transaction: Some(self) });
        }
        if lives {
            self.session.rollback().await;
        }
        Err(StatementFailed { error, transaction: None })
    }

    /// A step between events. What a constraint says there, put off until then, is the event's fault.
    async fn step(
        mut self: Box<Self>,
        text: &'static str,
    ) -> Result<((), Box<dyn RunTransaction>), StatementFailed> {
        let said = self.session.say(text.to_owned()).await;
        self.settle(said.map(|_| ()).map_err(Failure::Said), Duration::ZERO).await
    }

    fn refused(self: Box<Self>) -> StatementFailed {
        StatementFailed { error: StatementError::Aborted.into(), transaction: Some(self) }
    }

    /// Outbox rows and claims, in one statement each. Whatever a guest's function did to the session's
    /// settings is undone first, and the transaction must be the one that began.
    async fn write(
        &mut self,
        outbox: closing::OutboxColumns,
        endings: closing::ClaimColumns,
    ) -> Result<(), FinishError> {
        let text = format!(
            "SET LOCAL ROLE NONE; SET LOCAL search_path = pg_catalog; SET LOCAL synchronous_commit = {}; \
             SET LOCAL statement_timeout = 0; SELECT now()::text",
            self.server.synchronous
        );
        let rows = self.session.say(text).await.map_err(|error| self.not_written(&error))?;
        let begun: Option<String> = rows.first().and_then(|row| sqlx::Row::try_get(row, 0).ok());
        if begun.as_ref() != Some(&self.begun) {
            return Err(FinishError::Void("it is not the transaction that began".to_owned()));
        }
        let stream = self.fence.stream;
        let written = async {
            let connection = self.session.connection()?;
            outbox.insert(connection, stream).await?;
            endings.insert(connection, stream).await
        };
        match written.await {
            Ok(true) => Ok(()),
            Ok(false) => Err(FinishError::ClaimExists),
            Err(error) => Err(self.not_written(&error)),
        }
    }

    fn not_written(&self, error: &sqlx::Error) -> FinishError {
        let of_claims =
            || error.as_database_error().and_then(|answer| answer.constraint()) == Some("claim_pkey");
        match faults::code(error).as_deref() {
            Some(faults::ABORTED) => FinishError::Void("a statement had failed".to_owned()),
            Some(faults::UNIQUE) if of_claims() => FinishError::ClaimExists,
            _ if faults::is_conflict(error) => FinishError::Conflict(error.to_string()),
            _ => self.server.fault(error).into(),
        }
    }

    /// COMMIT. The server's clear no is one; anything else leaves the outcome unknown.
    async fn commit(&mut self) -> Result<(), FinishError> {
        match self.session.commit().await {
            Ok(()) => Ok(()),
            Err(error) if faults::is_conflict(&error) => Err(FinishError::Conflict(error.to_string())),
            // A constraint that was deferred to this moment.
            Err(error) if faults::code(&error).is_some_and(|code| code.starts_with("23")) => {
                Err(FinishError::Refused(error.to_string()))
            }
            Err(error) => Err(FinishError::Unknown(error.to_string())),
        }
    }

    async fn write_and_commit(
        &mut self,
        outbox: closing::OutboxColumns,
        endings: closing::ClaimColumns,
        deadline: Duration,
    ) -> Result<(), FinishError> {
        if self.failed {
            return Err(FinishError::Void("a failed statement was not rolled back".to_owned()));
        }
        let until = tokio::time::Instant::now() + deadline;
        let late = || {
            faults::unavailable(
                format!("the closing statements took longer than {deadline:?}"),
                &self.server.url,
            )
        };
        let late = late();
        let written = tokio::time::timeout_at(until, self.write(outbox, endings)).await;
        match written {
            Err(_) => return Err(late.into()),
            Ok(Err(error)) => {
                if !matches!(error, FinishError::Database(_)) {
                    self.session.rollback().await;
                }
                return Err(error);
            }
            Ok(Ok(())) => {}
        }
        let committed = tokio::time::timeout_at(until, self.commit()).await;
        committed.unwrap_or_else(|_| Err(FinishError::Unknown(format!("no answer within {deadline:?}"))))
    }
}

impl RunTransaction for Run {
    fn query(
        mut self: Box<Self>,
        statement: Statement,
        parameters: Vec<Value>,
        limits: ResultLimits,
        deadline: Duration,
    ) -> Step<Rows> {
        Box::pin(async move {
            if self.failed {
                return Err(self.refused());
            }
            let answer = self.rows(statement, parameters, limits, deadline).await;
            self.settle(answer, deadline).await
        })
    }

    fn execute(
        mut self: Box<Self>,
        statement: Statement,
        parameters: Vec<Value>,
        deadline: Duration,
    ) -> Step<u64> {
        Box::pin(async move {
            if self.failed {
                return Err(self.refused());
            }
            let answer = self.changes(statement, parameters, deadline).await;
            self.settle(answer, deadline).await
        })
    }

    fn savepoint(mut self: Box<Self>) -> Step<()> {
        Box::pin(async move {
            if self.failed {
                return Err(self.refused());
            }
            let former = std::mem::replace(&mut self.savepoint, true);
            self.step(if former { NEXT_SAVEPOINT } else { "SAVEPOINT keylane" }).await
        })
    }

    fn rollback_to_savepoint(mut self: Box<Self>) -> Step<()> {
        Box::pin(async move {
            self.failed = false;
            // The time-out may have been set after the savepoint.
            self.allowed = None;
            self.step("ROLLBACK TO SAVEPOINT keylane").await
        })
    }

    fn finish(
        mut self: Box<Self>,
        outbox: &[OutboxRow],
        endings: &[(i64, EndedAs)],
        deadline: Duration,
    ) -> Boxed<'static, Result<(), FinishError>> {
        let outbox = closing::OutboxColumns::of(outbox);
        let endings = closing::ClaimColumns::of(endings);
        Box::pin(async move { self.write_and_commit(outbox, endings, deadline).await })
    }

    fn rollback(mut self: Box<Self>) -> Boxed<'static, ()> {
        Box::pin(async move { self.session.rollback().await })
    }
}
