//! The session of one instance with its databases: what the event at work says to them, and whether one of
//! its statements has failed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use keylane_effects::{
    ResultLimits, Rows, RunTransaction, Statement, StatementError, StatementFailed, StatementLimits, Step,
    StepError, Value,
};
use keylane_engine::Event;

use crate::capability::Session;
use crate::error::EffectsError;
use crate::prepared::OpenDatabase;
use crate::transaction::{RunFault, RunSlot};

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

/// Why a statement has no answer.
pub(crate) enum Failed {
    /// The guest is told.
    Told(StatementError),
    /// The run is undone, for a reason that is none of the guest's business: its call ends here.
    RunUndone,
}

/// The first statement that failed.
struct Doom {
    database: String,
    reason: String,
}

/// The session of one instance.
pub(crate) struct SqlSession {
    granted: Arc<Granted>,
    run: Option<Arc<RunSlot>>,
    doom: Option<Doom>,
    /// What the event has spent on reading elsewhere, while the run's transaction lay idle.
    elsewhere: Duration,
}

/// A statement that may run now.
struct Ready<'a> {
    database: &'a GrantedDatabase,
    statement: Statement,
}

impl SqlSession {
    pub(crate) fn new(granted: Arc<Granted>) -> Self {
        Self { granted, run: None, doom: None, elsewhere: Duration::ZERO }
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
        let Ready { database, statement } = self.ready(&granted, name, text, &parameters)?;
        let limits = ResultLimits { rows: database.rows_max, bytes: granted.result_bytes };
        let deadline = granted.host_call;
        if let OpenDatabase::Read(elsewhere) = &database.database {
            let deadline = self.left_elsewhere(name, deadline)?;
            let asked = Instant::now();
            let answer = elsewhere.query(statement, parameters, limits, deadline).await;
            self.elsewhere = self.elsewhere.saturating_add(asked.elapsed());
            return answer.map_err(|error| self.doomed(name, error));
        }
        self.in_run(name, |run| run.query(statement, parameters, limits, deadline)).await
    }

    /// Runs a statement and answers how many rows it changed.
    pub(crate) async fn execute(
        &mut self,
        name: &str,
        text: &str,
        parameters: Vec<Value>,
    ) -> Result<u64, Failed> {
        let granted = self.granted.clone();
        let Ready { database, statement } = self.ready(&granted, name, text, &parameters)?;
        if let OpenDatabase::Read(_) = &database.database {
            let said = format!(
                "the manifest grants the database {name:?} for reading only: use query, or write \
                 access = \"write\" under [grants.sql.{name}]"
            );
            return Err(self.doomed(name, StatementError::Refused(said)));
        }
        let deadline = granted.host_call;
        self.in_run(name, |run| run.execute(statement, parameters, deadline)).await
    }

    /// How long a query elsewhere may take. All of one event's together have the time of one call, so that the
    /// database does not end the run's transaction as an idle one.
    fn left_elsewhere(&mut self, name: &str, deadline: Duration) -> Result<Duration, Failed> {
        if self.run.is_none() {
            return Ok(deadline);
        }
        let left = deadline.saturating_sub(self.elsewhere);
        if left.is_zero() {
            let said = format!("the event's queries elsewhere together took {deadline:?} (host-call)");
            return Err(self.doomed(name, StatementError::Limit(said)));
        }
        Ok(left)
    }

    /// Checks a statement.
    fn ready<'a>(
        &mut self,
        granted: &'a Granted,
        name: &str,
        text: &str,
        parameters: &[Value],
    ) -> Result<Ready<'a>, Failed> {
        if self.doom.is_some() {
            return Err(Failed::Told(StatementError::Aborted));
        }
        granted.statements.increment(1);
        let Some(database) = granted.databases.get(name) else {
            let said = format!("the manifest grants no database {name:?}");
            return Err(self.doomed(name, StatementError::NotGranted(said)));
        };
        let checked = match &database.database {
            OpenDatabase::Write(written) => written.check(text, parameters, &granted.statement),
            OpenDatabase::Read(elsewhere) => elsewhere.check(text, parameters, &granted.statement),
        };
        let statement = checked.map_err(|error| self.doomed(name, error))?;
        Ok(Ready { database, statement })
    }

    /// One statement in the run's transaction.
    async fn in_run<T>(
        &mut self,
        name: &str,
        statement: impl FnOnce(Box<dyn RunTransaction>) -> Step<T>,
    ) -> Result<T, Failed> {
        let Some(run) = self.run.clone() else {
            let said = "no event is at work, so there is no transaction".to_owned();
            return Err(self.doomed(name, StatementError::Refused(said)));
        };
        let transaction = run.take().ok_or(Failed::RunUndone)?;
        match statement(transaction).await {
            Ok((answer, transaction)) => {
                run.give_back(transaction);
                Ok(answer)
            }
            Err(StatementFailed { error, transaction }) => {
                if let Some(transaction) = transaction {
                    run.give_back(transaction);
                }
                Err(match error {
                    StepError::Statement(error) => self.doomed(name, error),
                    StepError::Conflict(said) => undone(&run, RunFault::Conflict(said)),
                    StepError::Database(error) => undone(&run, RunFault::Lost(error.to_string())),
                })
            }
        }
    }

    /// A statement failed, and its event with it.
    fn doomed(&mut self, database: &str, error: StatementError) -> Failed {
        if matches!(error, StatementError::Limit(_)) {
            self.granted.limits_reached.increment(1);
        }
        self.granted.doomed.increment(1);
        self.doom = Some(Doom { database: database.to_owned(), reason: error.to_string() });
        Failed::Told(error)
    }
}

fn undone(run: &RunSlot, fault: RunFault) -> Failed {
    run.fail(fault);
    Failed::RunUndone
}

impl Session for SqlSession {
    fn begin(&mut self, _event: &Arc<Event>, run: Option<&Arc<RunSlot>>) {
        self.run = run.cloned();
        self.doom = None;
        self.elsewhere = Duration::ZERO;
    }

    fn close(&mut self) -> Result<(), EffectsError> {
        self.run = None;
        match self.doom.take() {
            None => Ok(()),
            Some(Doom { database, reason }) => Err(EffectsError::Doomed { database, reason }),
        }
    }

    fn forget(&mut self) {
        self.run = None;
        self.doom = None;
    }
}
