//! The host's own steps of a run's transaction: how it begins, its savepoints, its rollback. Each is bounded
//! by the host's own clock.

use std::time::Duration;

use keylane_capability::RunSlot;
use keylane_effects::{
    BeginError, Database, RunTransaction, StatementError, StatementFailed, Step, StepError,
};
use keylane_engine::Fence;

use crate::transaction::pass::Ended;

/// How long a transaction may take to begin, the wait for a connection included.
const BEGIN_MAX: Duration = Duration::from_secs(60);
/// How long a savepoint may take, or the way back to it.
const SAVEPOINT_MAX: Duration = Duration::from_secs(30);
/// How long an orderly rollback may take. After it the transaction is dropped, which takes back the rest.
const ROLLBACK_MAX: Duration = Duration::from_secs(5);

/// Begins a run's transaction, if the partition is still one's own.
pub(super) async fn begin(database: &dyn Database, fence: Fence) -> Result<Box<dyn RunTransaction>, Ended> {
    match tokio::time::timeout(BEGIN_MAX, database.begin(&fence)).await {
        Ok(Ok(transaction)) => Ok(transaction),
        Ok(Err(BeginError::NotOwner)) => Err(Ended::Overtaken),
        Ok(Err(BeginError::Database(error))) => Err(Ended::Gone(error)),
        Err(_) => Err(Ended::InDoubt(format!("a transaction did not begin within {BEGIN_MAX:?}"))),
    }
}

/// A step of the host's own between statements. The inner error is the event's fault.
pub(super) async fn step(
    slot: &RunSlot,
    doing: impl FnOnce(Box<dyn RunTransaction>) -> Step<()>,
) -> Result<Result<(), StatementError>, Ended> {
    let Some(run) = slot.take() else {
        return Ok(Err(StatementError::Refused("a statement ended the transaction".to_owned())));
    };
    match slot.step(tokio::time::timeout(SAVEPOINT_MAX, doing(run))).await {
        Ok(Ok(((), run))) => {
            slot.give_back(run);
            Ok(Ok(()))
        }
        Ok(Err(StatementFailed { error, transaction })) => {
            if let Some(run) = transaction {
                slot.give_back(run);
            }
            match error {
                StepError::Statement(error) => Ok(Err(error)),
                StepError::Conflict(said) => Err(Ended::Conflict { said, locks: false }),
                StepError::Waited(said) => Err(Ended::Conflict { said, locks: true }),
                StepError::Database(error) => Err(Ended::Gone(error)),
            }
        }
        Err(_) => Err(Ended::InDoubt(format!("a savepoint did not answer within {SAVEPOINT_MAX:?}"))),
    }
}

/// Takes back what is still open.
pub(super) async fn roll_back(slot: &RunSlot) {
    let Some(run) = slot.take() else { return };
    if tokio::time::timeout(ROLLBACK_MAX, run.rollback()).await.is_err() {
        tracing::warn!(limit = ?ROLLBACK_MAX, "a rollback did not end in time; its connection is closed");
    }
}
