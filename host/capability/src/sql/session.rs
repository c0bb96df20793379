//! The session of one instance with its database: the transaction of the event that is under way.

use std::sync::Arc;
use std::time::Duration;

use keylane_engine::Event;

use crate::bindings::keylane::handler::sql::{Error, Rows, Value};
use crate::capability::{Boxed, Session};
use crate::error::EffectsError;
use crate::limits::CapabilityLimits;
use crate::sql::database::{Database, ResultLimits, Transaction};
use crate::sql::statement::Statement;

/// What all instances of a revision share.
pub(crate) struct Granted {
    /// The database's name in the manifest.
    pub name: String,
    /// The database.
    pub database: Arc<dyn Database>,
    /// The most rows one query may answer.
    pub rows_max: usize,
    /// How long one host call may take, waiting for the writer left out.
    pub host_call: Duration,
    /// The host's own limits.
    pub limits: CapabilityLimits,
    /// Statements of this handler.
    pub statements: metrics::Counter,
    /// Events of this handler that a failed statement doomed.
    pub doomed: metrics::Counter,
    /// Statements of this handler that passed a limit.
    pub limits_reached: metrics::Counter,
}

/// How the event stands with its database.
enum Stage {
    /// No statement has run.
    Untouched,
    /// Statements have run and all of them succeeded.
    Open(Box<dyn Transaction>),
    /// A statement failed or was cancelled, with this reason; its transaction is gone.
    Doomed(String),
}

/// The session of one instance.
pub(crate) struct SqlSession {
    granted: Arc<Granted>,
    stage: Stage,
}

impl SqlSession {
    pub(crate) fn new(granted: Arc<Granted>) -> Self {
        Self { granted, stage: Stage::Untouched }
    }

    /// Whether the manifest grants a database of this name.
    pub(crate) fn granted(&self, name: &str) -> Result<(), Error> {
        if name == self.granted.name {
            return Ok(());
        }
        Err(Error::NotGranted(format!(
            "the manifest grants no database {name:?}; it grants {:?}",
            self.granted.name
        )))
    }

    /// Runs a statement that yields rows.
    pub(crate) async fn query(&mut self, statement: String, parameters: Vec<Value>) -> Result<Rows, Error> {
        let limits = ResultLimits { rows: self.granted.rows_max, bytes: self.granted.limits.result_bytes };
        let deadline = self.granted.host_call;
        let (statement, transaction) = self.ready(statement, &parameters).await?;
        let ended = transaction.query(statement, parameters, limits, deadline).await;
        self.settle(ended)
    }

    /// Runs a statement and answers how many rows it changed.
    pub(crate) async fn execute(&mut self, statement: String, parameters: Vec<Value>) -> Result<u64, Error> {
        let deadline = self.granted.host_call;
        let (statement, transaction) = self.ready(statement, &parameters).await?;
        let ended = transaction.execute(statement, parameters, deadline).await;
        self.settle(ended)
    }

    /// Checks a statement and takes the transaction out, beginning it if this is the first one. Until
    /// [`Self::settle`] the event counts as doomed, so that a call cancelled on the way cannot be
    /// committed.
    async fn ready(
        &mut self,
        statement: String,
        parameters: &[Value],
    ) -> Result<(Statement, Box<dyn Transaction>), Error> {
        let stage = std::mem::replace(&mut self.stage, Stage::Doomed("a statement was cancelled".to_owned()));
        if let Stage::Doomed(reason) = stage {
            self.stage = Stage::Doomed(reason);
            return Err(Error::Aborted);
        }
        self.granted.statements.increment(1);
        let statement = match Statement::check(statement, parameters, &self.granted.limits) {
            Ok(statement) => statement,
            Err(error) => {
                if let Stage::Open(transaction) = stage {
                    transaction.rollback().await;
                }
                return Err(self.doom(error));
            }
        };
        let transaction = match stage {
            Stage::Open(transaction) => Ok(transaction),
            _ => self.granted.database.begin().await,
        };
        transaction.map(|transaction| (statement, transaction)).map_err(|error| self.doom(error))
    }

    /// Keeps the transaction of a statement that succeeded.
    fn settle<T>(&mut self, ended: Result<(T, Box<dyn Transaction>), Error>) -> Result<T, Error> {
        let (answer, transaction) = ended.map_err(|error| self.doom(error))?;
        self.stage = Stage::Open(transaction);
        Ok(answer)
    }

    fn doom(&mut self, error: Error) -> Error {
        if matches!(error, Error::Limit(_)) {
            self.granted.limits_reached.increment(1);
        }
        self.stage = Stage::Doomed(said(&error));
        self.granted.doomed.increment(1);
        error
    }

    async fn end(&mut self) -> Result<(), EffectsError> {
        let database = || self.granted.name.clone();
        match std::mem::replace(&mut self.stage, Stage::Untouched) {
            Stage::Untouched => Ok(()),
            Stage::Doomed(reason) => Err(EffectsError::Doomed { database: database(), reason }),
            Stage::Open(transaction) => transaction
                .commit(self.granted.host_call)
                .await
                .map_err(|reason| EffectsError::Commit { database: database(), reason }),
        }
    }

    async fn take_back(&mut self) {
        if let Stage::Open(transaction) = std::mem::replace(&mut self.stage, Stage::Untouched) {
            transaction.rollback().await;
        }
    }
}

/// The error in words.
pub(crate) fn said(error: &Error) -> String {
    match error {
        Error::NotGranted(said) | Error::Refused(said) | Error::Limit(said) | Error::Unavailable(said) => {
            said.clone()
        }
        Error::Aborted => "an earlier statement of this event failed".to_owned(),
    }
}

impl Session for SqlSession {
    /// What an earlier event left open is dropped, which rolls it back.
    fn begin(&mut self, _event: &Arc<Event>) {
        self.stage = Stage::Untouched;
    }

    fn commit(&mut self) -> Boxed<'_, Result<(), EffectsError>> {
        Box::pin(self.end())
    }

    fn rollback(&mut self) -> Boxed<'_, ()> {
        Box::pin(self.take_back())
    }
}
