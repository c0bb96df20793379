//! A database that fails where a test wants it: a real one behind it does all the rest.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use keylane_effects::{
    BeginError, Database, DatabaseError, EndedAs, FinishError, Identity, Insert, KeyRequest, KeyRow, Outbox,
    OutboxRow, Pruned, ReadDatabase, ReplayError, ReplayRequest, Replayed, ResultLimits, Rows,
    RunTransaction, Statement, StatementError, StatementFailed, StatementLimits, Step, StepError, StreamKey,
    Taken, Value,
};
use keylane_engine::{Boxed, Fence, LogPosition};

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
    /// At a query that belongs to no run.
    Elsewhere,
}

/// What it meets there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Another transaction is in the way.
    Conflict,
    /// Another transaction keeps a lock.
    Waited,
    /// The database is gone.
    Lost,
    /// The database says that its disk is full.
    Unable,
    /// It is committed, and nobody says so.
    Unknown,
    /// Nothing answers, ever.
    Hang,
    /// It takes so many milliseconds longer; not at its end.
    Late(u64),
}

/// The faults to come, each met once.
#[derive(Default)]
pub struct Faults {
    to_come: Mutex<Vec<(At, Fault)>>,
    poison: Mutex<Option<(At, Fault)>>,
    /// Whether the database says that another process does its work.
    pub is_elsewhere: AtomicBool,
}

impl Faults {
    /// The next one to be met there, so many times.
    pub fn add(&self, at: At, fault: Fault, times: usize) {
        self.to_come.lock().unwrap().extend(vec![(at, fault); times]);
    }

    /// What a run meets there each time, if it has said a statement that names [`POISON`].
    pub fn poison(&self, at: At, fault: Fault) {
        *self.poison.lock().unwrap() = Some((at, fault));
    }

    fn of_poison(&self, at: At) -> Option<Fault> {
        self.poison.lock().unwrap().filter(|(there, _)| *there == at).map(|(_, fault)| fault)
    }

    /// How many were not met.
    pub fn left(&self) -> usize {
        self.to_come.lock().unwrap().len()
    }

    /// The next one, when what is only late has come.
    async fn take_late(&self, at: At) -> Option<Fault> {
        match self.take(at)? {
            Fault::Late(time_ms) => {
                tokio::time::sleep(Duration::from_millis(time_ms)).await;
                None
            }
            fault => Some(fault),
        }
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

/// What a statement says that poisons its run.
pub const POISON: &str = "666";

struct FaultyRun {
    inner: Box<dyn RunTransaction>,
    faults: Arc<Faults>,
    poisoned: bool,
}

/// The same for what is only read.
pub struct FaultyReading {
    pub inner: Arc<dyn ReadDatabase>,
    pub faults: Arc<Faults>,
}

impl ReadDatabase for FaultyReading {
    fn check(
        &self,
        text: &str,
        parameters: &[Value],
        limits: &StatementLimits,
    ) -> Result<Statement, StatementError> {
        self.inner.check(text, parameters, limits)
    }

    fn query(
        &self,
        statement: Statement,
        parameters: Vec<Value>,
        limits: ResultLimits,
        deadline: Duration,
    ) -> Boxed<'_, Result<Rows, StatementError>> {
        match self.faults.take(At::Elsewhere) {
            None => self.inner.query(statement, parameters, limits, deadline),
            Some(Fault::Hang) => Box::pin(std::future::pending()),
            Some(_) => Box::pin(std::future::ready(Err(StatementError::Unavailable(lost().to_string())))),
        }
    }
}

fn lost() -> DatabaseError {
    DatabaseError::Unavailable { url: "test".to_owned(), reason: "gone by the test".to_owned() }
}

fn unable() -> DatabaseError {
    DatabaseError::Unable { url: "test".to_owned(), reason: "full by the test".to_owned() }
}

fn failed(fault: Fault) -> StatementFailed {
    let error = match fault {
        Fault::Conflict => StepError::Conflict("a conflict by the test".to_owned()),
        Fault::Waited => StepError::Waited("a lock by the test".to_owned()),
        Fault::Unable => unable().into(),
        _ => lost().into(),
    };
    StatementFailed { error, transaction: None }
}

impl FaultyRun {
    fn hearing(mut self: Box<Self>, statement: &Statement) -> Box<Self> {
        self.poisoned |= format!("{statement:?}").contains(POISON);
        self
    }

    /// Does a step, or meets a fault with the transaction inside it.
    fn step<T: Send + 'static>(
        self: Box<Self>,
        at: At,
        doing: impl FnOnce(Box<dyn RunTransaction>) -> Step<T> + Send + 'static,
    ) -> Step<T> {
        Box::pin(async move {
            let Self { inner, faults, poisoned } = *self;
            let again = |inner| -> Box<dyn RunTransaction> {
                Box::new(FaultyRun { inner, faults: faults.clone(), poisoned })
            };
            let of_poison = faults.of_poison(at).filter(|_| poisoned);
            match of_poison.or(faults.take_late(at).await) {
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
        let run = self.hearing(&statement);
        run.step(At::Statement, move |run| run.query(statement, parameters, limits, deadline))
    }

    fn execute(
        self: Box<Self>,
        statement: Statement,
        parameters: Vec<Value>,
        deadline: Duration,
    ) -> Step<u64> {
        let run = self.hearing(&statement);
        run.step(At::Statement, move |run| run.execute(statement, parameters, deadline))
    }

    fn append(self: Box<Self>, insert: Insert, parameters: Vec<Value>, deadline: Duration) -> Step<()> {
        self.step(At::Statement, move |run| run.append(insert, parameters, deadline))
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
        let of_poison = self.faults.of_poison(At::Finish).filter(|_| self.poisoned);
        match of_poison.or_else(|| self.faults.take(At::Finish)) {
            None => self.inner.finish(outbox, endings, deadline),
            Some(Fault::Conflict) => {
                Box::pin(std::future::ready(Err(FinishError::Conflict("a conflict by the test".to_owned()))))
            }
            Some(Fault::Waited) => {
                Box::pin(std::future::ready(Err(FinishError::Waited("a lock by the test".to_owned()))))
            }
            Some(Fault::Unable) => Box::pin(std::future::ready(Err(unable().into()))),
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

    fn is_elsewhere(&self) -> bool {
        self.faults.is_elsewhere.load(Ordering::SeqCst)
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

    fn check_append(
        &self,
        text: &str,
        parameters: &[Value],
        limits: &StatementLimits,
    ) -> Result<Insert, StatementError> {
        self.inner.check_append(text, parameters, limits)
    }

    fn take(&self, stream: &StreamKey, limit: Duration) -> Boxed<'_, Result<Taken, DatabaseError>> {
        self.inner.take(stream, limit)
    }

    fn begin(&self, fence: &Fence) -> Boxed<'_, Result<Box<dyn RunTransaction>, BeginError>> {
        let fence = *fence;
        Box::pin(async move {
            if self.faults.take_late(At::Begin).await.is_some() {
                return Err(lost().into());
            }
            let inner = self.inner.begin(&fence).await?;
            let faults = self.faults.clone();
            let run: Box<dyn RunTransaction> = Box::new(FaultyRun { inner, faults, poisoned: false });
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

    fn adopt_progress(&self, handler: &str, fleet: &str) -> Boxed<'_, Result<(), DatabaseError>> {
        self.inner.adopt_progress(handler, fleet)
    }

    fn replay(&self, request: &ReplayRequest, limit: Duration) -> Boxed<'_, Result<Replayed, ReplayError>> {
        self.inner.replay(request, limit)
    }

    fn raise_floor(
        &self,
        fence: &Fence,
        floor: i64,
        position: Option<LogPosition>,
    ) -> Boxed<'_, Result<Pruned, BeginError>> {
        self.inner.raise_floor(fence, floor, position)
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
