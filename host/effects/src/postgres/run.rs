//! A run's transaction.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use keylane_engine::{Boxed, Fence};

use crate::config::Isolation;
use crate::database::{EndedAs, OutboxRow, RunTransaction, Step};
use crate::error::{BeginError, FinishError, StatementError, StatementFailed, StepError};
use crate::keyvalue::{KeyRequest, KeyRow};
use crate::postgres::closing::{Stage, Words};
use crate::postgres::place::{Backend, NOW};
use crate::postgres::read::{self, Failure};
use crate::postgres::server::Server;
use crate::postgres::session::Session;
use crate::postgres::tables::{GUEST, GUEST_PATH};
use crate::postgres::{closing, faults, keyvalue};
use crate::relay::Written;
use crate::statement::Statement;
use crate::value::{ResultLimits, Rows, Value};

/// How long a step of the host's own inside a run may take, by the host's clock, beside its wait for locks.
const STEP_LIMIT: Duration = Duration::from_secs(10);

/// Ends an event and begins the next one, in one message. Deferred constraints are checked for the event, in
/// a savepoint that is rolled back, so that they are deferred (or not) afterwards as they were before.
/// A role that is not the guest's any more, or a transaction that only reads, divides by zero.
const NEXT_SAVEPOINT: &str = "SELECT 1 OPERATOR(pg_catalog./) \
    (pg_catalog.current_setting('role') OPERATOR(pg_catalog.=) 'keylane_guest' \
     AND pg_catalog.current_setting('transaction_read_only') OPERATOR(pg_catalog.=) 'off')::pg_catalog.int4; \
    SAVEPOINT keylane_check; SET CONSTRAINTS ALL IMMEDIATE; \
    ROLLBACK TO SAVEPOINT keylane_check; RELEASE SAVEPOINT keylane; SAVEPOINT keylane";

/// An open transaction.
pub(crate) struct Run {
    pub(super) session: Session,
    pub(super) server: Arc<Server>,
    fence: Fence,
    /// The session, and when the transaction began: the same to its end.
    pub(super) backend: Backend,
    /// A savepoint stands.
    savepoint: bool,
    /// A statement failed after the savepoint and was not undone yet.
    pub(super) failed: bool,
    /// What it did not find among the values by key.
    pub(super) missing: keyvalue::Missing,
    /// The session's `statement_timeout`, in milliseconds; none where it is not known.
    allowed_ms: Option<u64>,
}

/// Begins, if the epoch is one's own.
pub(crate) async fn begin(server: &Arc<Server>, fence: Fence) -> Result<Box<dyn RunTransaction>, BeginError> {
    let mut left = server.runs.max().max(2);
    loop {
        let unavailable = |error: &sqlx::Error| BeginError::Database(server.fault(error));
        let session = Session::acquire(&server.runs).await.map_err(|error| unavailable(&error))?;
        match bounded(server, try_begin(session, server, fence)).await {
            Ok(Some(run)) => return Ok(Box::new(run)),
            Ok(None) => return Err(BeginError::NotOwner),
            Err(error) if left == 0 || !helps_again(&error) => return Err(unavailable(&error)),
            Err(_) => left -= 1,
        }
    }
}

/// Whether beginning again helps: a take was committed while this one waited for it, or the connection died
/// in the pool with its server. A lock that was not had in its time is not asked for again.
fn helps_again(error: &sqlx::Error) -> bool {
    !faults::is_late(error) && !faults::is_lock_timeout(error)
}

/// Holds a step of the host's own to the host's clock.
async fn bounded<T>(
    server: &Server,
    doing: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    let limit = STEP_LIMIT.saturating_add(server.lock_wait);
    let late = || Err(faults::late(format!("the server has not answered within {limit:?}")));
    tokio::time::timeout(limit, doing).await.unwrap_or_else(|_| late())
}

/// All in one message. None: the epoch has passed.
async fn try_begin(
    mut session: Session,
    server: &Arc<Server>,
    fence: Fence,
) -> Result<Option<Run>, sqlx::Error> {
    let allowed_ms = server.statement_ms.load(Ordering::Relaxed);
    let rows = match session.say(begin_text(server, fence, allowed_ms)).await {
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
    let backend = Backend { pid: sqlx::Row::try_get(row, 0)?, at_us: sqlx::Row::try_get(row, 1)? };
    session.backend = Some(backend);
    let server = server.clone();
    let (allowed_ms, missing) = (Some(allowed_ms), keyvalue::Missing::default());
    Ok(Some(Run { session, server, fence, backend, savepoint: false, failed: false, missing, allowed_ms }))
}

/// Whoever holds the fence at an epoch that has passed writes nothing: no row is answered then. A
/// session's settings may have been changed by a function of the handler's, so they are set for each run.
/// Its statements may take as long as those of the run before; where they may not, it is said with the first one.
fn begin_text(server: &Server, fence: Fence, allowed_ms: u64) -> String {
    let isolation = match server.isolation {
        Isolation::Serializable => "SERIALIZABLE",
        Isolation::ReadCommitted => "READ COMMITTED",
    };
    format!(
        "BEGIN ISOLATION LEVEL {isolation} READ WRITE; SET LOCAL ROLE NONE; \
         SET LOCAL search_path = pg_catalog, pg_temp; SET LOCAL timezone = 'UTC'; SET LOCAL datestyle = 'ISO'; \
         SET LOCAL client_encoding = 'UTF8'; \
         SET LOCAL standard_conforming_strings = on; SET LOCAL synchronous_commit = on; \
         SET LOCAL lock_timeout = {lock}; SET LOCAL statement_timeout = 0; \
         SET LOCAL idle_in_transaction_session_timeout = {idle}; \
         SELECT pg_catalog.pg_backend_pid(), {NOW} WHERE keylane.holds({stream}, {count}, {nonce}); \
         SET LOCAL statement_timeout = {allowed_ms}; {GUEST_PATH}; SET LOCAL ROLE {GUEST}",
        lock = server.lock_wait.as_millis(),
        idle = server.idle.as_millis(),
        stream = fence.stream,
        count = fence.epoch.count,
        nonce = fence.epoch.nonce,
    )
}

impl Run {
    /// Before a guest's statement: nothing has failed, and the database's own time-out stands as the bound
    /// behind the host's clock.
    pub(super) async fn ready(&mut self, deadline: Duration) -> Result<(), Failure> {
        let bound_ms = read::statement_timeout_ms(&self.server, deadline);
        if self.allowed_ms != Some(bound_ms) {
            let text = format!("SET LOCAL statement_timeout = {bound_ms}");
            bounded(&self.server, self.session.say(text)).await?;
            self.allowed_ms = Some(bound_ms);
            self.server.statement_ms.store(bound_ms, Ordering::Relaxed);
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
        let times = (deadline, read::lock_waits(&self.server));
        let connection = self.session.connection()?;
        let statement = read::rows(connection, statement, parameters, limits);
        read::within(&self.server.runs.watch, self.backend, times, statement).await
    }

    async fn changes(
        &mut self,
        statement: Statement,
        parameters: Vec<Value>,
        deadline: Duration,
    ) -> Result<u64, Failure> {
        self.ready(deadline).await?;
        let times = (deadline, read::lock_waits(&self.server));
        let connection = self.session.connection()?;
        let statement = read::changes(connection, statement, parameters);
        read::within(&self.server.runs.watch, self.backend, times, statement).await
    }

    /// Ends a step: what succeeded goes on; what failed is rolled back at once, so that its locks are free,
    /// unless it can be undone to the savepoint.
    pub(super) async fn settle<T>(
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
        let said = bounded(&self.server, self.session.say(text.to_owned())).await;
        let said = said.map(|_| ()).map_err(|error| match error {
            error if faults::is_division(&error) => Failure::Refused(closing::SETTINGS_CHANGED),
            error => Failure::Said(error),
        });
        self.settle(said, Duration::ZERO).await
    }

    pub(super) fn refused(self: Box<Self>) -> StatementFailed {
        StatementFailed { error: StatementError::Aborted.into(), transaction: Some(self) }
    }

    /// Outbox rows and claims, in one statement each, and the commit. Whatever a function of the handler's did to
    /// the session's settings is undone first. The transaction must be the one that began, and the role the guest's
    /// still: a session that took the host's has run the guest's statements with the host's rights.
    async fn write_and_commit(
        &mut self,
        outbox: closing::OutboxColumns,
        endings: &[(i64, EndedAs)],
        deadline: Duration,
    ) -> Result<(), FinishError> {
        if self.failed {
            return Err(FinishError::Void("a failed statement was not rolled back".to_owned()));
        }
        let until = tokio::time::Instant::now() + deadline;
        let mut words = Words::before(self.backend);
        if !outbox.is_empty() {
            let written = tokio::time::timeout_at(until, self.write(words, outbox)).await;
            let late = || format!("the closing statements took longer than {deadline:?}");
            written.unwrap_or_else(|_| Err(faults::unavailable(late(), &self.server.url).into()))?;
            words = Words::default();
        }
        let words = words.claims(self.fence.stream, endings).commit();
        let committed = self.session.commit_with(words.text(), words.before_commit());
        let committed = tokio::time::timeout_at(until, committed).await;
        match committed {
            Ok(Ok(())) => Ok(()),
            Ok(Err((carried_out, error))) => Err(self.not_committed(words.stage(carried_out), &error)),
            Err(_) => Err(FinishError::Unknown(format!("no answer within {deadline:?}"))),
        }
    }

    /// Outbox rows, behind these words.
    async fn write(&mut self, words: Words, outbox: closing::OutboxColumns) -> Result<(), FinishError> {
        let said = self.session.say_each(words.text()).await;
        said.map_err(|(carried_out, error)| self.not_done(words.stage(carried_out), &error))?;
        let connection = self.session.connection().map_err(|error| self.server.fault(&error))?;
        let written = outbox.insert(connection, self.fence.stream).await;
        written.map_err(|error| {
            self.session.stale |= faults::is_stale(&error);
            self.not_written(&error)
        })
    }

    /// What it means that the message with COMMIT has failed. The server's clear no is one, whatever its reason, and
    /// so is all that it says before it came to the commit; anything else leaves the outcome unknown.
    fn not_committed(&mut self, stage: Stage, error: &sqlx::Error) -> FinishError {
        match faults::code(error) {
            Some(_) if stage != Stage::Commit => self.not_done(stage, error),
            Some(_) if faults::is_answer(error) => self.not_done(stage, error),
            _ => FinishError::Unknown(error.to_string()),
        }
    }

    /// What it means that a word of the closing ones has failed.
    fn not_done(&mut self, stage: Stage, error: &sqlx::Error) -> FinishError {
        match stage {
            // What the handler's own constraints and deferred triggers say at the end.
            Stage::PutOff if faults::is_own(error) => FinishError::Refused(error.to_string()),
            Stage::SameTransaction if faults::is_division(error) => {
                FinishError::Void("it is not the transaction that began".to_owned())
            }
            Stage::SameSettings if faults::is_division(error) => {
                // What a function has prepared there outlives the run.
                self.session.stale = true;
                FinishError::Refused(closing::SETTINGS_CHANGED.to_owned())
            }
            Stage::Claims if matches!(faults::code(error), Some(faults::UNIQUE | faults::NOT_NULL)) => {
                FinishError::ClaimExists
            }
            // What a trigger has put off once more, to this moment.
            Stage::Commit if faults::is_own(error) && !faults::is_canceled(error) => {
                FinishError::Refused(error.to_string())
            }
            _ => self.not_written(error),
        }
    }

    fn not_written(&self, error: &sqlx::Error) -> FinishError {
        match faults::code(error) {
            Some(faults::ABORTED) => FinishError::Void("a statement had failed".to_owned()),
            _ if faults::is_lock_timeout(error) => FinishError::Waited(error.to_string()),
            _ if faults::is_conflict(error) => FinishError::Conflict(error.to_string()),
            _ => self.server.fault(error).into(),
        }
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

    fn keyvalue(self: Box<Self>, request: KeyRequest, deadline: Duration) -> Step<Vec<KeyRow>> {
        Box::pin(keyvalue::step(self, request, deadline))
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
            self.missing.forget();
            // The time-out may have been set after the savepoint.
            self.allowed_ms = None;
            self.step("ROLLBACK TO SAVEPOINT keylane").await
        })
    }

    fn finish(
        mut self: Box<Self>,
        outbox: &[OutboxRow],
        endings: &[(i64, EndedAs)],
        deadline: Duration,
    ) -> Boxed<'static, Result<(), FinishError>> {
        let (written, endings) = (Written::of(outbox), endings.to_vec());
        let outbox = closing::OutboxColumns::of(outbox);
        Box::pin(async move {
            let finished = self.write_and_commit(outbox, &endings, deadline).await;
            match &finished {
                Ok(()) | Err(FinishError::Unknown(_)) => {
                    if let Some(database) = self.server.database.get() {
                        written.tell(database);
                    }
                }
                // In doubt, or with the server in trouble, the session ends.
                Err(FinishError::Database(_)) => {}
                Err(_) => self.session.rollback().await,
            }
            finished
        })
    }

    fn rollback(mut self: Box<Self>) -> Boxed<'static, ()> {
        Box::pin(async move { self.session.rollback().await })
    }
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
