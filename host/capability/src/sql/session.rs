//! The session of one instance with its databases: what the event at work says to them, and whether one of
//! its statements has failed.
//!
//! Who waits: a call, for a connection, for locks and for its statement. What bounds: the database, where the
//! statement is one of the run; elsewhere [`elsewhere_most`], so that the run's own session is not idle for longer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use keylane_effects::{
    Insert, LATE_GRACE, ResultLimits, Rows, Statement, StatementError, StatementLimits, Value,
};

use crate::at_work::{AtWork, Failed};
use crate::capability::Session;
use crate::error::EffectsError;
use crate::prepared::OpenDatabase;
use crate::sql::known::Known;

/// What all instances of a revision share.
pub(crate) struct Granted {
    /// Databases by the name that the manifest gives them.
    pub databases: BTreeMap<String, GrantedDatabase>,
    /// How long one host call may take, waiting for a connection left out.
    pub host_call: Duration,
    /// Limits on a statement.
    pub statement: StatementLimits,
    /// What one query may answer, in bytes.
    pub result_bytes: usize,
    /// Statements of this handler.
    pub statements: metrics::Counter,
    /// Events of this handler that a failed statement doomed.
    pub doomed: metrics::Counter,
    /// Statements of this handler that passed a limit.
    pub limits_reached: metrics::Counter,
}

/// One of them.
pub(crate) struct GrantedDatabase {
    /// The database.
    pub database: OpenDatabase,
    /// The most rows one query may answer.
    pub rows_max: usize,
}

/// How much longer than its statement's time a query elsewhere may take: it waits for a connection as well, and where
/// it is late, until its database has said so. Who cut that short would take each such statement for a database that
/// is away.
const GRACE: Duration = LATE_GRACE.saturating_add(Duration::from_millis(500));

/// The most that one event waits for queries elsewhere in a run, where one call may take so long.
#[must_use]
pub fn elsewhere_most(host_call: Duration) -> Duration {
    host_call.saturating_add(GRACE)
}

/// The session of one instance.
pub(crate) struct SqlSession {
    granted: Arc<Granted>,
    at: Option<Arc<AtWork>>,
    /// By the database's name.
    statements: BTreeMap<String, Known<Statement>>,
    /// For the one database that is written to.
    inserts: Known<Insert>,
}

/// The event at work, and the database.
struct Place<'a> {
    at: Arc<AtWork>,
    database: &'a GrantedDatabase,
}

impl SqlSession {
    pub(crate) fn new(granted: Arc<Granted>) -> Self {
        Self { granted, at: None, statements: BTreeMap::new(), inserts: Known::default() }
    }

    /// Whether the manifest grants a database of this name.
    pub(crate) fn granted(&self, name: &str) -> Result<(), StatementError> {
        if self.granted.databases.contains_key(name) {
            return Ok(());
        }
        let names: Vec<_> = self.granted.databases.keys().map(|name| format!("{name:?}")).collect();
        Err(StatementError::NotGranted(format!(
            "the manifest grants no database {name:?}; it grants {}",
            names.join(", ")
        )))
    }

    /// Runs a statement that yields rows.
    pub(crate) async fn query(
        &mut self,
        name: &str,
        text: &str,
        parameters: Vec<Value>,
    ) -> Result<Rows, Failed> {
        let granted = self.granted.clone();
        let (Place { at, database }, statement) = self.ready(&granted, name, text, &parameters)?;
        let limits = ResultLimits { rows: database.rows_max, bytes: granted.result_bytes };
        let deadline = granted.host_call;
        if let OpenDatabase::Read(elsewhere) = &database.database {
            let deadline = self.left_elsewhere(&at, name, deadline)?;
            let asked = Instant::now();
            let answer = elsewhere.query(statement, parameters, limits, deadline);
            let answer = in_time(deadline.saturating_add(GRACE), answer).await;
            at.waited_elsewhere(asked.elapsed());
            return answer.map_err(|error| self.doomed_elsewhere(&at, name, error));
        }
        let answer = at.in_run(|run| run.query(statement, parameters, limits, deadline)).await;
        answer.map_err(|failed| self.failed(&at, name, failed))
    }

    /// Runs a statement and answers how many rows it changed.
    pub(crate) async fn execute(
        &mut self,
        name: &str,
        text: &str,
        parameters: Vec<Value>,
    ) -> Result<u64, Failed> {
        let granted = self.granted.clone();
        let (Place { at, database }, statement) = self.ready(&granted, name, text, &parameters)?;
        if let OpenDatabase::Read(_) = &database.database {
            return Err(self.only_read(&at, name));
        }
        let deadline = granted.host_call;
        let answer = at.in_run(|run| run.execute(statement, parameters, deadline)).await;
        answer.map_err(|failed| self.failed(&at, name, failed))
    }

    /// Runs an INSERT that asks for no answer, together with others of its kind.
    pub(crate) async fn append(
        &mut self,
        name: &str,
        text: &str,
        parameters: Vec<Value>,
    ) -> Result<(), Failed> {
        let granted = self.granted.clone();
        let Place { at, database } = self.place(&granted, name)?;
        let OpenDatabase::Write(written) = &database.database else {
            return Err(self.only_read(&at, name));
        };
        let insert = granted.statement.check(text, &parameters).and_then(|()| {
            let check = || written.check_append(text, &parameters, &granted.statement);
            self.inserts.or_check(text, parameters.len(), check)
        });
        let insert = insert.map_err(|error| self.doomed(&at, name, error))?;
        let deadline = granted.host_call;
        let answer = at.in_run(|run| run.append(insert, parameters, deadline)).await;
        answer.map_err(|failed| self.failed(&at, name, failed))
    }

    /// The manifest grants it for reading only.
    fn only_read(&self, at: &AtWork, name: &str) -> Failed {
        let said = format!(
            "the manifest grants the database {name:?} for reading only: use query, or write \
             access = \"write\" under [grants.sql.{name}]"
        );
        self.doomed(at, name, StatementError::Refused(said))
    }

    /// How long a query elsewhere may take.
    fn left_elsewhere(&self, at: &AtWork, name: &str, call: Duration) -> Result<Duration, Failed> {
        let left = at.left_elsewhere(call);
        if left.is_zero() {
            let said = format!("the event has waited {call:?} elsewhere (host-call)");
            return Err(self.doomed(at, name, StatementError::Limit(said)));
        }
        Ok(left)
    }

    /// Where a statement would run now.
    fn place<'a>(&self, granted: &'a Granted, name: &str) -> Result<Place<'a>, Failed> {
        let Some(at) = self.at.clone() else {
            let said = "no event is at work, so there is nothing to read or write for".to_owned();
            return Err(Failed::Told(StatementError::Refused(said)));
        };
        if at.is_doomed() {
            return Err(Failed::Told(StatementError::Aborted));
        }
        granted.statements.increment(1);
        let Some(database) = granted.databases.get(name) else {
            let said = format!("the manifest grants no database {name:?}");
            return Err(self.doomed(&at, name, StatementError::NotGranted(said)));
        };
        Ok(Place { at, database })
    }

    /// Checks a statement.
    fn ready<'a>(
        &mut self,
        granted: &'a Granted,
        name: &str,
        text: &str,
        parameters: &[Value],
    ) -> Result<(Place<'a>, Statement), Failed> {
        let place = self.place(granted, name)?;
        let check = || match &place.database.database {
            OpenDatabase::Write(written) => written.check(text, parameters, &granted.statement),
            OpenDatabase::Read(elsewhere) => elsewhere.check(text, parameters, &granted.statement),
        };
        let checked = granted.statement.check(text, parameters).and_then(|()| {
            let known = self.statements.entry(name.to_owned()).or_default();
            known.or_check(text, parameters.len(), check)
        });
        let statement = checked.map_err(|error| self.doomed(&place.at, name, error))?;
        Ok((place, statement))
    }

    fn failed(&self, at: &AtWork, database: &str, failed: Failed) -> Failed {
        match failed {
            Failed::Told(error) => self.doomed(at, database, error),
            Failed::RunUndone => Failed::RunUndone,
        }
    }

    /// The same for a query elsewhere, which may fail because nobody could be asked.
    fn doomed_elsewhere(&self, at: &AtWork, database: &str, error: StatementError) -> Failed {
        if matches!(error, StatementError::Unavailable(_)) {
            at.away(database, &error);
        }
        self.doomed(at, database, error)
    }

    /// A statement failed, and its event with it.
    fn doomed(&self, at: &AtWork, database: &str, error: StatementError) -> Failed {
        if matches!(error, StatementError::Limit(_)) {
            self.granted.limits_reached.increment(1);
        }
        self.granted.doomed.increment(1);
        at.doom(database, &error);
        Failed::Told(error)
    }
}

/// Holds a query elsewhere to its time, in which a statement that is late has been told so.
async fn in_time(
    most: Duration,
    query: impl Future<Output = Result<Rows, StatementError>>,
) -> Result<Rows, StatementError> {
    tokio::time::timeout(most, query).await.unwrap_or_else(|_| {
        Err(StatementError::Unavailable(format!("the database took no query within {most:?} (host-call)")))
    })
}

impl Session for SqlSession {
    fn begin(&mut self, at: &Arc<AtWork>) {
        self.at = Some(at.clone());
    }

    fn close(&mut self) -> Result<(), EffectsError> {
        self.at.take().map_or(Ok(()), |at| at.close())
    }

    fn forget(&mut self) {
        self.at = None;
    }
}
