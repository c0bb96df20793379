//! One attempt at one event on one instance: begin, call, and then commit or roll back.

use std::time::Duration;

use keylane_capability::Delivery;
use keylane_deployment::Limits;
use keylane_engine::Attempt;

use crate::convert::guest_event;
use crate::failure::AttemptFailure;
use crate::instance::Instance;

/// How long an orderly rollback may take. After it the instance is dropped, which takes back the rest.
const ROLLBACK_MAX: Duration = Duration::from_secs(5);

/// Answers what is still to be acknowledged, or why the attempt failed. After a failure the instance must
/// not be used again: its memory may remember what the database forgot.
///
/// The commit has no limit of its own here: its statements have the database's, its records the client's,
/// and while Kafka is away it is better to wait than to charge the event.
pub(crate) async fn carry_out(
    instance: &mut Instance,
    attempt: &Attempt,
    limits: &Limits,
) -> Result<Delivery, AttemptFailure> {
    instance.store.data_mut().begin(&attempt.event);
    let answer = instance.call(&guest_event(&attempt.event, attempt.number), limits).await;
    match answer.and_then(|verdict| verdict.map_err(AttemptFailure::answered)) {
        Ok(()) => instance.store.data_mut().commit().await.map_err(|error| AttemptFailure::effects(&error)),
        Err(failure) => {
            let rollback = instance.store.data_mut().rollback();
            if tokio::time::timeout(ROLLBACK_MAX, rollback).await.is_err() {
                tracing::warn!(limit = ?ROLLBACK_MAX, "a rollback did not end in time; its instance is dropped");
            }
            Err(failure)
        }
    }
}
