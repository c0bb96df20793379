//! A database that fails where a test wants it: a real one behind it does all the rest.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use keylane_effects::{
    BeginError, Database, DatabaseError, EndedAs, FinishError, Identity, KeyRequest, KeyRow, Outbox,
    OutboxRow, Pruned, ResultLimits, Rows, RunTransaction, Statement, StatementError, StatementFailed,
    StatementLimits, Step, StepError, StreamKey, Taken, Value,
};
use keylane_engine::{Boxed, Fence};

/// Where a run meets a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// At its begin.
    Begin,
    /// At a statement.
    Statement,
    /// At a savepoint.
    Savepoint,
    /// At its end.
    Finish,
}

/// What it meets there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Another transaction is in the way.
    Conflict,
    /// The database is gone.
    Lost,
    /// It is committed, and nobody says so.
    Unknown,
    /// Nothing answers, ever.
    Hang,
}

/// The faults to come, each met once.
#[derive(Default)]
pub struct Faults {
    to_come: Mutex<Vec<(At, Fault)>>,
}

impl Faults {
    /// The next one to be met there, so many times.
    pub fn add(&self, at: At, fault: Fault, times: usize) {
        self.to_come.lock().unwrap().extend(vec![(at, fault); times]);
    }

    /// How many were not met.
    pub fn left(&self) -> usize {
        self.to_come.lock().unwrap().len()
    }

    fn take(&self, at: At) -> Option<Fault> {
        let mut to_come = self.to_come.lock().unwrap();
        let place = to_come.iter().position(|(there, _)| *there == at)?;
        Some(to_come.remove(place).1)
    }
}

/// The database.
pub struct FaultyDatabase {
    pub inner: Arc<dyn Database>,
    pub faults: Arc<Faults>,
}

struct FaultyRun {
    inner: Box<dyn RunTransaction>,
    faults: Arc<Faults>,
}

fn lost() -> DatabaseError {
    DatabaseError::Unavailable { url: "test".to_owned(), reason: "gone by the test".to_owned() }
}

fn failed(fault: Fault) -> StatementFailed {
    let error = match fault {
        Fault::Conflict => StepError::Conflict("a conflict by the test".to_owned()),
        _ => lost().into(),
    };
    StatementFailed { error, transaction: None }
}

impl FaultyRun {
    /// Does a step, or meets a fault with the transaction inside it.
    fn step<T: Send + 'static>(
        self: Box<Self>,
        at: At,
        doing: impl FnOnce(Box<dyn RunTransaction>) -> Step<T> + Send + 'static,
    ) -> Step<T> {
        Box::pin(async move {
            let Self { inner, faults } = *self;
            let again =
                |inner| -> Box<dyn RunTransaction> { Box::new(FaultyRun { inner, faults: faults.clone() }) };
            match faults.take(at) {
                None => match doing(inner).await {
                    Ok((answer, inner)) => Ok((answer, again(inner))),
                    Err(StatementFailed { error, transaction }) => {
                        Err(StatementFailed { error, transaction: transaction.map(again) })
                    }
                },
                Some(Fault::Hang) => {
                    let _inner = inner;
                    std::future::pending().await
                }
                Some(fault) => Err(failed(fault)),
            }
        })
    }
}

impl RunTransaction for FaultyRun {
    fn query(
        self: Box<Self>,
        statement: Statement,
        parameters: Vec<Value>,
        limits: ResultLimits,
        deadline: Duration,
    ) -> Step<Rows> {
        self.step(At::Statement, move |run| run.query(statement, parameters, limits, deadline))
    }

    fn execute(
        self: Box<Self>,
        statement: Statement,
        parameters: Vec<Value>,
        deadline: Duration,
    ) -> Step<u64> {
        self.step(At::Statement, move |run| run.execute(statement, parameters, deadline))
    }

    fn keyvalue(self: Box<Self>, request: KeyRequest, deadline: Duration) -> Step<Vec<KeyRow>> {
        self.step(At::Statement, move |run| run.keyvalue(request, deadline))
    }

    fn savepoint(self: Box<Self>) -> Step<()> {
        self.step(At::Savepoint, |run| run.savepoint())
    }

    fn rollback_to_savepoint(self: Box<Self>) -> Step<()> {
        self.step(At::Savepoint, |run| run.rollback_to_savepoint())
    }

    fn finish(
        self: Box<Self>,
        outbox: &[OutboxRow],
        endings: &[(i64, EndedAs)],
        deadline: Duration,
    ) -> Boxed<'static, Result<(), FinishError>> {
        match self.faults.take(At::Finish) {
            None => self.inner.finish(outbox, endings, deadline),
            Some(Fault::Conflict) => {
                Box::pin(std::future::ready(Err(FinishError::Conflict("a conflict by the test".to_owned()))))
            }
            Some(Fault::Unknown) => {
                let committed = self.inner.finish(outbox, endings, deadline);
                Box::pin(async move {
                    committed.await?;
                    Err(FinishError::Unknown("swallowed by the test".to_owned()))
                })
            }
            Some(_) => Box::pin(std::future::ready(Err(lost().into()))),
        }
    }

    fn rollback(self: Box<Self>) -> Boxed<'static, ()> {
        self.inner.rollback()
    }
}

impl Database for FaultyDatabase {
    fn identity(&self) -> &Identity {
        self.inner.identity()
    }

    fn bind_cluster(&self, cluster: &str) -> Boxed<'_, Result<(), DatabaseError>> {
        self.inner.bind_cluster(cluster)
    }

    fn outbox(self: Arc<Self>) -> Arc<dyn Outbox> {
        self.inner.clone().outbox()
    }

    fn check(
        &self,
        text: &str,
        parameters: &[Value],
        limits: &StatementLimits,
    ) -> Result<Statement, StatementError> {
        self.inner.check(text, parameters, limits)
    }

    fn take(&self, stream: &StreamKey, limit: Duration) -> Boxed<'_, Result<Taken, DatabaseError>> {
        self.inner.take(stream, limit)
    }

    fn begin(&self, fence: &Fence) -> Boxed<'_, Result<Box<dyn RunTransaction>, BeginError>> {
        let fence = *fence;
        Box::pin(async move {
            if self.faults.take(At::Begin).is_some() {
                return Err(lost().into());
            }
            let inner = self.inner.begin(&fence).await?;
            let run: Box<dyn RunTransaction> = Box::new(FaultyRun { inner, faults: self.faults.clone() });
            Ok(run)
        })
    }

    fn settle_start(
        &self,
        stream: &StreamKey,
        floors: &[(i32, i64)],
    ) -> Boxed<'_, Result<BTreeMap<i32, i64>, DatabaseError>> {
        self.inner.settle_start(stream, floors)
    }

    fn raise_floor(&self, fence: &Fence, floor: i64) -> Boxed<'_, Result<Pruned, BeginError>> {
        self.inner.raise_floor(fence, floor)
    }

    fn ended(&self, fence: &Fence, offsets: &[i64]) -> Boxed<'_, Result<Vec<i64>, DatabaseError>> {
        self.inner.ended(fence, offsets)
    }

    fn query(
        &self,
        statement: Statement,
        parameters: Vec<Value>,
        limits: ResultLimits,
        deadline: Duration,
    ) -> Boxed<'_, Result<Rows, StatementError>> {
        self.inner.query(statement, parameters, limits, deadline)
    }

    fn migrate(&self, handler: &str, folder: &Path) -> Boxed<'_, Result<(), DatabaseError>> {
        self.inner.migrate(handler, folder)
    }
}
