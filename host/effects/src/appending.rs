//! A run's transaction that holds back what asks for no answer ([`RunTransaction::append`]) and sends it
//! together: one statement for many rows, in place of one turn to the database for each.
//!
//! Rows wait until their run ends, until a statement comes whose text names their table, until the event's end
//! where events have savepoints (so that a row that is refused fails its own event), or until there are too many.
//! Those of one table go out in the order of their calls; the tables in the order in which each came first.
//!
//! Who owns: the run. What bounds: [`CALLS_MAX`], [`TEXTS_MAX`], [`BYTES_MAX`].

use std::time::Duration;

use keylane_engine::Boxed;

use crate::database::{EndedAs, OutboxRow, RunTransaction, Step};
use crate::error::{FinishError, StatementError, StatementFailed, StepError};
use crate::insert::Insert;
use crate::keyvalue::{KeyRequest, KeyRow};
use crate::statement::Statement;
use crate::value::{ResultLimits, Rows, Value};

/// The most calls that wait.
const CALLS_MAX: usize = 4_096;
/// The most texts among them: who writes values into the text has a new one for each call.
const TEXTS_MAX: usize = 64;
/// What those that wait may weigh together, in bytes; one more call may pass it.
const BYTES_MAX: usize = 1024 * 1024;

/// The wrapper.
pub(crate) struct Appending {
    inner: Box<dyn RunTransaction>,
    waiting: Waiting,
    /// A step failed: only the way back to the savepoint is open.
    failed: bool,
}

/// What waits.
#[derive(Default)]
struct Waiting {
    groups: Vec<Group>,
    calls: usize,
    bytes: usize,
    /// The longest time that one of the calls was given.
    deadline: Duration,
}

/// Calls of one text, with none of another for the same table between them.
struct Group {
    insert: Insert,
    calls: Vec<Vec<Value>>,
}

impl Waiting {
    fn push(&mut self, insert: Insert, parameters: Vec<Value>, deadline: Duration) {
        self.calls += 1;
        self.bytes = parameters.iter().map(Value::size_bytes).fold(self.bytes, usize::saturating_add);
        self.deadline = self.deadline.max(deadline);
        let last = self.groups.iter().rposition(|group| group.insert.is_beside(&insert));
        match last.and_then(|at| self.groups.get_mut(at)).filter(|group| group.insert.is_same(&insert)) {
            Some(group) => group.calls.push(parameters),
            None => {
                self.bytes = self.bytes.saturating_add(insert.size_bytes());
                // Behind its table's others, before the tables that came later and may need its rows.
                let at = last.map_or(self.groups.len(), |last| last + 1);
                self.groups.insert(at, Group { insert, calls: vec![parameters] });
            }
        }
    }

    fn is_full(&self) -> bool {
        self.calls >= CALLS_MAX || self.groups.len() >= TEXTS_MAX || self.bytes >= BYTES_MAX
    }

    fn may_be_seen_by(&self, statement: &Statement) -> bool {
        if self.groups.is_empty() {
            return false;
        }
        let text_lower = statement.text.to_ascii_lowercase();
        self.groups.iter().any(|group| group.insert.may_be_named_in(&text_lower))
    }
}

type Sent = Result<Box<dyn RunTransaction>, StatementFailed>;

impl Appending {
    /// Of a driver's own.
    pub(crate) fn around(inner: Box<dyn RunTransaction>) -> Box<dyn RunTransaction> {
        Box::new(Self::with(inner, Waiting::default()))
    }

    fn with(inner: Box<dyn RunTransaction>, waiting: Waiting) -> Self {
        Self { inner, waiting, failed: false }
    }

    /// Sends what waits. Where that fails, what is left is undone with it.
    async fn sent(self) -> Sent {
        let Self { mut inner, waiting: Waiting { groups, deadline, .. }, .. } = self;
        for Group { insert, calls } in groups {
            let (mut left, mut values) = (calls.len(), calls.into_iter());
            while left > 0 {
                let calls = insert.calls_of(left);
                let parameters = values.by_ref().take(calls).flatten().collect();
                (_, inner) = inner.execute(insert.statement(calls), parameters, deadline).await?;
                left -= calls;
            }
        }
        Ok(inner)
    }

    async fn sent_before(self, statement: &Statement) -> Result<Self, StatementFailed> {
        if !self.waiting.may_be_seen_by(statement) {
            return Ok(self);
        }
        let inner = self.sent().await.map_err(again)?;
        Ok(Self::with(inner, Waiting::default()))
    }

    /// Goes on with what waits after a step of the driver's.
    fn after<T>(
        waiting: Waiting,
        answer: Result<(T, Box<dyn RunTransaction>), StatementFailed>,
    ) -> Result<(T, Box<dyn RunTransaction>), StatementFailed> {
        let (answer, inner) = answer.map_err(again)?;
        Ok((answer, Box::new(Self::with(inner, waiting))))
    }
}

/// After a failure nothing waits.
fn again(failed: StatementFailed) -> StatementFailed {
    let around = |inner| -> Box<dyn RunTransaction> {
        Box::new(Appending { inner, waiting: Waiting::default(), failed: true })
    };
    StatementFailed { transaction: failed.transaction.map(around), ..failed }
}

impl RunTransaction for Appending {
    fn query(
        self: Box<Self>,
        statement: Statement,
        parameters: Vec<Value>,
        limits: ResultLimits,
        deadline: Duration,
    ) -> Step<Rows> {
        Box::pin(async move {
            let Self { inner, waiting, .. } = self.sent_before(&statement).await?;
            Self::after(waiting, inner.query(statement, parameters, limits, deadline).await)
        })
    }

    fn execute(
        self: Box<Self>,
        statement: Statement,
        parameters: Vec<Value>,
        deadline: Duration,
    ) -> Step<u64> {
        Box::pin(async move {
            let Self { inner, waiting, .. } = self.sent_before(&statement).await?;
            Self::after(waiting, inner.execute(statement, parameters, deadline).await)
        })
    }

    fn append(mut self: Box<Self>, insert: Insert, parameters: Vec<Value>, deadline: Duration) -> Step<()> {
        Box::pin(async move {
            if self.failed {
                let error = StatementError::Aborted.into();
                return Err(StatementFailed { error, transaction: Some(self) });
            }
            self.waiting.push(insert, parameters, deadline);
            if !self.waiting.is_full() {
                return Ok(((), self as Box<dyn RunTransaction>));
            }
            let inner = self.sent().await.map_err(again)?;
            Ok(((), Self::around(inner)))
        })
    }

    fn keyvalue(self: Box<Self>, request: KeyRequest, deadline: Duration) -> Step<Vec<KeyRow>> {
        let Self { inner, waiting, .. } = *self;
        Box::pin(async move { Self::after(waiting, inner.keyvalue(request, deadline).await) })
    }

    fn savepoint(self: Box<Self>) -> Step<()> {
        Box::pin(async move {
            let inner = self.sent().await.map_err(again)?;
            Self::after(Waiting::default(), inner.savepoint().await)
        })
    }

    fn rollback_to_savepoint(self: Box<Self>) -> Step<()> {
        Box::pin(async move { Self::after(Waiting::default(), self.inner.rollback_to_savepoint().await) })
    }

    fn finish(
        self: Box<Self>,
        outbox: &[OutboxRow],
        endings: &[(i64, EndedAs)],
        deadline: Duration,
    ) -> Boxed<'static, Result<(), FinishError>> {
        if self.waiting.groups.is_empty() {
            return self.inner.finish(outbox, endings, deadline);
        }
        let (outbox, endings) = (outbox.to_vec(), endings.to_vec());
        Box::pin(async move {
            match self.sent().await {
                Ok(inner) => inner.finish(&outbox, &endings, deadline).await,
                Err(StatementFailed { error, transaction }) => {
                    if let Some(transaction) = transaction {
                        transaction.rollback().await;
                    }
                    Err(at_the_end(error))
                }
            }
        })
    }

    fn rollback(self: Box<Self>) -> Boxed<'static, ()> {
        self.inner.rollback()
    }
}

/// What it means to a run that what waited was not taken.
fn at_the_end(error: StepError) -> FinishError {
    match error {
        StepError::Statement(error) => FinishError::Refused(error.to_string()),
        StepError::Conflict(said) => FinishError::Conflict(said),
        StepError::Waited(said) => FinishError::Waited(said),
        StepError::Database(error) => FinishError::Database(error),
    }
}
