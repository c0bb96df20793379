//! The event at work in an instance, as its sessions share it: what it is, the run's transaction that it
//! writes in, whether it is doomed, and what it has spent on others while that transaction lay idle.
//!
//! Who owns: the instance's data, until the next event. Who waits: nobody; the lock is held for single
//! steps. A request under way outlives its call, and so has its own share of this.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use keylane_effects::{RunTransaction, StatementError, StatementFailed, Step, StepError};
use keylane_engine::{Event, TopicId};

use crate::error::EffectsError;
use crate::transaction::{RunFault, RunSlot};

/// An event at work.
pub struct AtWork {
    /// The event.
    pub event: Arc<Event>,
    /// The id of its topic.
    pub topic_id: TopicId,
    /// The run's transaction, if its handler writes to a database.
    pub run: Option<Arc<RunSlot>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    doom: Option<Doom>,
    /// A database that it reads was not to be had.
    away: Option<Doom>,
    elsewhere: Duration,
}

/// The first statement that failed.
#[derive(Clone)]
struct Doom {
    database: String,
    reason: String,
}

/// Why a statement has no answer.
pub(crate) enum Failed {
    /// The guest is told.
    Told(StatementError),
    /// The run is undone, for a reason that is none of the guest's business: its call ends here.
    RunUndone,
}

impl AtWork {
    pub(crate) fn new(event: &Arc<Event>, topic_id: TopicId, run: Option<&Arc<RunSlot>>) -> Arc<Self> {
        Arc::new(Self {
            event: event.clone(),
            topic_id,
            run: run.cloned(),
            state: Mutex::new(State::default()),
        })
    }

    /// What stands behind the names of the event's outputs where an operator had its partition handled again:
    /// nothing else tells them from the former ones, and after a log was cut another event has its offset.
    pub(crate) fn again(&self) -> String {
        match self.run.as_ref().map_or(0, |run| run.replay()) {
            0 => String::new(),
            replay => format!(".again-{replay}"),
        }
    }

    /// A statement failed: nothing of the event becomes real, whatever its handler answers.
    pub(crate) fn doom(&self, database: &str, error: &StatementError) {
        let doom = Doom { database: database.to_owned(), reason: error.to_string() };
        self.lock().doom.get_or_insert(doom);
    }

    /// A database that it only reads was away, or others were in the way there: it is doomed, through no fault of
    /// its own.
    pub(crate) fn away(&self, database: &str, error: &StatementError) {
        let away = Doom { database: database.to_owned(), reason: error.to_string() };
        self.lock().away.get_or_insert(away);
        self.doom(database, error);
    }

    /// Why it fails through no fault of its own, whatever its handler answers.
    pub(crate) fn is_away(&self) -> Option<EffectsError> {
        let Doom { database, reason } = self.lock().away.clone()?;
        Some(EffectsError::Away { database, reason })
    }

    /// Whether a statement has failed.
    pub(crate) fn is_doomed(&self) -> bool {
        self.lock().doom.is_some()
    }

    /// Whether what it did may become real.
    pub(crate) fn close(&self) -> Result<(), EffectsError> {
        if let Some(away) = self.is_away() {
            return Err(away);
        }
        match self.lock().doom.clone() {
            None => Ok(()),
            Some(Doom { database, reason }) => Err(EffectsError::Doomed { database, reason }),
        }
    }

    /// How long it may still wait for others, within this time of one call. All of one event's waits together
    /// have that, so that the database does not end the run's transaction as an idle one.
    pub(crate) fn left_elsewhere(&self, call: Duration) -> Duration {
        if self.run.is_none() {
            return call;
        }
        call.saturating_sub(self.lock().elsewhere)
    }

    /// So long it has waited for others.
    pub(crate) fn waited_elsewhere(&self, time: Duration) {
        let mut state = self.lock();
        state.elsewhere = state.elsewhere.saturating_add(time);
    }

    /// One step in the run's transaction.
    pub(crate) async fn in_run<T>(
        &self,
        step: impl FnOnce(Box<dyn RunTransaction>) -> Step<T>,
    ) -> Result<T, Failed> {
        let Some(run) = &self.run else {
            let said = "its handler writes to no database, so there is no transaction".to_owned();
            return Err(Failed::Told(StatementError::Refused(said)));
        };
        let transaction = run.take().ok_or(Failed::RunUndone)?;
        match run.step(step(transaction)).await {
            Ok((answer, transaction)) => {
                run.give_back(transaction);
                Ok(answer)
            }
            Err(StatementFailed { error, transaction }) => {
                if let Some(transaction) = transaction {
                    run.give_back(transaction);
                }
                Err(match error {
                    StepError::Statement(error) => Failed::Told(error),
                    StepError::Conflict(said) => undone(run, RunFault::Conflict(said)),
                    StepError::Waited(said) => undone(run, RunFault::Waited(said)),
                    StepError::Database(error) => undone(run, RunFault::Lost(error)),
                })
            }
        }
    }

    /// A panic elsewhere leaves the state whole: it is changed in single steps.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn undone(run: &RunSlot, fault: RunFault) -> Failed {
    run.fail(fault);
    Failed::RunUndone
}

/// What a guest's call answers; where the run is undone there is no answer, and its call ends.
pub(crate) fn told<T, E>(
    answer: Result<T, Failed>,
    error: impl FnOnce(StatementError) -> E,
) -> wasmtime::Result<Result<T, E>> {
    match answer {
        Ok(answer) => Ok(Ok(answer)),
        Err(Failed::Told(said)) => Ok(Err(error(said))),
        Err(Failed::RunUndone) => Err(wasmtime::Error::msg("the run that this event belongs to is undone")),
    }
}
