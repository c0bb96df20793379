//! The transaction of a run, beside the instances that work in it.
//!
//! A statement takes the transaction out and gives it back when it has succeeded. So a trap between two
//! statements leaves it where it is, and a call that is dropped in the middle of one leaves nothing that
//! could be committed by mistake: the transaction is dropped with the statement, which rolls it back.
//!
//! Who owns: the run. Who waits: nobody; one instance at a time works for a run, so the lock is held for a
//! take or a give only. What bounds: one transaction.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use keylane_effects::{DatabaseError, RunTransaction};

/// Why a run cannot go on, though none of its events is at fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunFault {
    /// Another transaction was in the way: the run is to be done once more.
    Conflict(String),
    /// The same, and it is never an event's fault: a lock was not had in its time.
    Waited(String),
    /// The database is gone or in trouble.
    Lost(DatabaseError),
}

/// The place of a run's transaction.
pub struct RunSlot {
    replay: i64,
    state: Mutex<State>,
}

struct State {
    transaction: Option<Box<dyn RunTransaction>>,
    fault: Option<RunFault>,
    /// How long its ended steps took.
    stepped: Duration,
}

impl RunSlot {
    /// The place of this transaction, under a fence with this replay number.
    #[must_use]
    pub fn new(transaction: Box<dyn RunTransaction>, replay: i64) -> Arc<Self> {
        let state = State { transaction: Some(transaction), fault: None, stepped: Duration::ZERO };
        Arc::new(Self { replay, state: Mutex::new(state) })
    }

    /// How often an operator has had the run's partition handled again.
    #[must_use]
    pub fn replay(&self) -> i64 {
        self.replay
    }

    /// Takes the transaction out. None: it has ended, or was dropped with a statement.
    #[must_use]
    pub fn take(&self) -> Option<Box<dyn RunTransaction>> {
        self.lock().transaction.take()
    }

    /// Gives it back after a step that left it whole.
    pub fn give_back(&self, transaction: Box<dyn RunTransaction>) {
        self.lock().transaction = Some(transaction);
    }

    /// Awaits a step of the transaction, whose time counts for [`Self::stepped`].
    pub async fn step<T>(&self, step: impl Future<Output = T>) -> T {
        let begun = Instant::now();
        let answer = step.await;
        self.lock().stepped += begun.elapsed();
        answer
    }

    /// How long its steps took so far: statements and savepoints.
    #[must_use]
    pub fn stepped(&self) -> Duration {
        self.lock().stepped
    }

    /// Why the run cannot go on, if a statement met such a thing.
    #[must_use]
    pub fn fault(&self) -> Option<RunFault> {
        self.lock().fault.clone()
    }

    /// The run cannot go on.
    pub(crate) fn fail(&self, fault: RunFault) {
        self.lock().fault = Some(fault);
    }

    /// A panic elsewhere leaves the state whole: it is changed in single steps.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
