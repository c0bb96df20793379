//! Statements of guests: how one is run and held to its time, and reads that belong to no run.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use sqlx::{AssertSqlSafe, Executor, PgConnection, SqlSafeStr, Statement as _};

use crate::error::{StatementError, StepError};
use crate::postgres::faults;
use crate::postgres::place::{Backend, CONNECT_WAIT, Watch};
use crate::postgres::server::Server;
use crate::postgres::session::Session;
use crate::postgres::tables::{GUEST, GUEST_PATH};
use crate::postgres::value::{Parameter, names, prepared_text, values};
use crate::statement::{LATE_GRACE, Statement};
use crate::value::{Collected, ResultLimits, Rows, Value};

/// How often a statement is looked at: whether it waits for a lock.
const LOOK: Duration = Duration::from_millis(100);
/// The same when little of its time is left.
const LOOK_LEAST: Duration = Duration::from_millis(10);
/// How many times the longest wait for one lock a statement may wait for all of its locks.
const LOCK_WAITS_MAX: u32 = 6;

/// Why a statement gave no answer.
pub(crate) enum Failure {
    /// The server or the driver says so; the session goes on if the server answered.
    Said(sqlx::Error),
    /// The answer passes a limit; there is more of it to come.
    TooMuch(String),
    /// The answer is there, and not for the guest.
    Unfit(StatementError),
    /// The host refuses what the server would have let pass.
    Refused(&'static str),
    /// The host found out that another transaction was in the way: the run is done again.
    Conflict(&'static str),
    /// It was cancelled at its deadline.
    Late,
    /// It was cancelled after it had waited for locks for so long.
    Waited(Duration),
    /// It was cancelled and goes on all the same, on a server that answers others.
    Deaf,
    /// The server answers nobody.
    Silent,
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Said(error)
    }
}

impl Failure {
    /// Whether the session can be used further.
    pub(crate) async fn leaves(&self, session: &mut Session) -> bool {
        match self {
            // A value that could not be said or read leaves rows behind, or nothing was sent at all.
            Self::Said(error) if faults::code(error).is_none() => {
                faults::is_value(error) && session.drain().await
            }
            Self::Said(error) => faults::is_answer(error),
            Self::TooMuch(_) => session.drain().await,
            Self::Refused(_) | Self::Conflict(_) | Self::Unfit(_) => true,
            Self::Late | Self::Waited(_) => true,
            Self::Deaf | Self::Silent => false,
        }
    }

    /// What it means.
    pub(crate) fn explain(&self, url: &str, deadline: Duration) -> StepError {
        match self {
            Self::Said(error) => faults::of_guest(error, url),
            Self::TooMuch(said) => StatementError::Limit(said.clone()).into(),
            Self::Unfit(error) => error.clone().into(),
            Self::Refused(said) => StatementError::Refused((*said).to_owned()).into(),
            Self::Conflict(said) => StepError::Conflict((*said).to_owned()),
            Self::Late | Self::Deaf => {
                let said = format!("the statement took longer than {deadline:?} (host-call)");
                StatementError::Late(said).into()
            }
            Self::Waited(waited) => StepError::Waited(format!(
                "a statement waited for locks of other transactions for {waited:?}"
            )),
            Self::Silent => {
                faults::unavailable(format!("the server has not answered within {deadline:?}"), url).into()
            }
        }
    }
}

/// Runs a guest's statement that yields rows.
pub(crate) async fn rows(
    connection: &mut PgConnection,
    statement: Statement,
    parameters: Vec<Value>,
    limits: ResultLimits,
) -> Result<Rows, Failure> {
    let text = prepared_text(&statement.text, &parameters);
    let query = sqlx::query(AssertSqlSafe(text.clone()));
    let query = parameters.into_iter().fold(query, |query, value| query.bind(Parameter(value)));
    let mut collected = Collected::new(limits);
    {
        let mut stream = query.fetch(&mut *connection);
        while let Some(row) = stream.try_next().await? {
            if collected.rows.columns.is_empty() {
                collected.rows.columns = names(sqlx::Row::columns(&row));
            }
            collected.push(values(&row)?).map_err(Failure::TooMuch)?;
        }
    }
    if collected.rows.rows.is_empty() {
        // Prepared a moment ago, so this asks the server nothing.
        let prepared = connection.prepare(AssertSqlSafe(text).into_sql_str()).await?;
        collected.rows.columns = names(prepared.columns());
    }
    Ok(collected.rows)
}

/// Runs a guest's statement and answers how many rows it changed.
pub(crate) async fn changes(
    connection: &mut PgConnection,
    statement: Statement,
    parameters: Vec<Value>,
) -> Result<u64, Failure> {
    let query = sqlx::query(AssertSqlSafe(prepared_text(&statement.text, &parameters)));
    let query = parameters.into_iter().fold(query, |query, value| query.bind(Parameter(value)));
    let done = query.execute(connection).await?;
    Ok(if statement.changes { done.rows_affected() } else { 0 })
}

/// The most that a statement may wait for locks.
pub(crate) fn lock_waits(server: &Server) -> Duration {
    server.lock_wait.saturating_mul(LOCK_WAITS_MAX)
}

/// The database's own bound on a statement, behind the host's clock.
pub(crate) fn statement_timeout_ms(server: &Server, deadline: Duration) -> u64 {
    let bound = deadline.saturating_add(lock_waits(server)).as_millis();
    u64::try_from(bound).unwrap_or(u64::MAX).clamp(1, 2_000_000_000)
}

/// Holds a statement to its deadline by the host's clock, and cancels it in the database. What it waits for
/// other transactions' locks is not its time; that is bounded for one lock by `lock_timeout`, and for all by
/// `waits`.
pub(crate) async fn within<T>(
    watch: &Watch,
    backend: Backend,
    (deadline, waits): (Duration, Duration),
    statement: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let mut statement = pin!(statement);
    let (begun, mut waited) = (Instant::now(), Duration::ZERO);
    let given_up = loop {
        let left = deadline.saturating_sub(begun.elapsed().saturating_sub(waited));
        if left.is_zero() {
            break Failure::Late;
        }
        if waited >= waits {
            break Failure::Waited(waited);
        }
        let looked = Instant::now();
        match tokio::time::timeout(left.clamp(LOOK_LEAST, LOOK), &mut statement).await {
            Ok(Err(Failure::TooMuch(said))) => {
                watch.cancel(backend).await;
                return Err(Failure::TooMuch(said));
            }
            Ok(answer) => return answer,
            Err(_) if watch.waits_for_lock(backend).await => waited += looked.elapsed(),
            Err(_) => {}
        }
    };
    watch.cancel(backend).await;
    match tokio::time::timeout(LATE_GRACE, &mut statement).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(_)) => Err(given_up),
        Err(_) if watch.answers().await => Err(Failure::Deaf),
        Err(_) => Err(Failure::Silent),
    }
}

/// How a read begins. A hot standby refuses serializable.
fn begin_text(server: &Server, deadline: Duration) -> String {
    let bound = statement_timeout_ms(server, deadline);
    format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL ROLE NONE; {GUEST_PATH}; \
         SET LOCAL timezone = 'UTC'; SET LOCAL client_encoding = 'UTF8'; SET LOCAL standard_conforming_strings = on; \
         SET LOCAL lock_timeout = {}; SET LOCAL statement_timeout = {bound}; \
         SET LOCAL ROLE {GUEST}",
        server.lock_wait.as_millis()
    )
}

/// Reads without a run. What is no fault of the statement's is told as [`StatementError::Unavailable`], also that a
/// hot standby's recovery was in its way.
pub(crate) async fn query(
    server: Arc<Server>,
    statement: Statement,
    parameters: Vec<Value>,
    limits: ResultLimits,
    deadline: Duration,
) -> Result<Rows, StatementError> {
    let unavailable = |error: &sqlx::Error| StatementError::Unavailable(error.to_string());
    let begin = begin_text(&server, deadline);
    let mut session = begin_reading(&server, &begin).await.map_err(|error| unavailable(&error))?;
    let backend = session.known().map_err(|error| unavailable(&error))?;
    let connection = session.connection().map_err(|error| unavailable(&error))?;
    let times = (deadline, lock_waits(&server));
    let answer =
        within(&server.reads.watch, backend, times, rows(connection, statement, parameters, limits)).await;
    let lives = match &answer {
        Ok(_) => true,
        Err(failure) => failure.leaves(&mut session).await,
    };
    if let Err(Failure::Said(error)) = &answer {
        // Its prepared statements are of a table that has changed since.
        session.stale |= faults::is_stale(error);
    }
    if lives {
        session.rollback().await;
    }
    answer.map_err(|failure| match failure.explain(&server.url, deadline) {
        StepError::Statement(error) => error,
        StepError::Conflict(said) | StepError::Waited(said) => StatementError::Unavailable(said),
        StepError::Database(error) => StatementError::Unavailable(error.to_string()),
    })
}

async fn begin_reading(server: &Arc<Server>, begin: &str) -> Result<Session, sqlx::Error> {
    let mut left = server.reads.max();
    loop {
        let mut session = Session::acquire(&server.reads).await?;
        let begun = tokio::time::timeout(CONNECT_WAIT, session.begin(begin)).await;
        let late = || Err(faults::late(format!("the server has not answered within {CONNECT_WAIT:?}")));
        match begun.unwrap_or_else(|_| late()) {
            Ok(_) => return Ok(session),
            // One that does not answer in its time would not do so by another connection.
            Err(error) if left == 0 || faults::is_late(&error) => return Err(error),
            // Idle connections that died with the server are dropped one by one.
            Err(_) => left -= 1,
        }
    }
}
