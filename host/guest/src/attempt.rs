//! One attempt at one event on one instance: begin, call, and then what it gave out, or why it failed. After a
//! failure the instance must not be used again: its memory may remember what the database forgot.

use std::sync::Arc;

use keylane_capability::{Delivery, RunSlot};
use keylane_deployment::Limits;
use keylane_effects::OutboxRow;
use keylane_engine::{Attempt, OutgoingRecord, TopicId};

use crate::convert::guest_event;
use crate::failure::AttemptFailure;
use crate::instance::Instance;

/// For a handler whose records leave at each event's end. Answers what is still to be acknowledged.
///
/// The handing over has no limit of its own here: its records have the client's, and while Kafka is away it
/// is better to wait than to charge the event.
pub(crate) async fn carry_out(
    instance: &mut Instance,
    attempt: &Attempt,
    limits: &Limits,
    topic_id: TopicId,
) -> Result<Delivery, AttemptFailure> {
    call(instance, attempt, limits, topic_id, None).await?;
    instance.store.data_mut().commit().await.map_err(|error| AttemptFailure::effects(&error))
}

/// For one in cuts. Answers the records to be committed with the event.
pub(crate) async fn carry_out_held(
    instance: &mut Instance,
    attempt: &Attempt,
    limits: &Limits,
    topic_id: TopicId,
) -> Result<Vec<OutgoingRecord>, AttemptFailure> {
    call(instance, attempt, limits, topic_id, None).await?;
    instance.store.data_mut().records().map_err(|error| AttemptFailure::effects(&error))
}

/// For one that writes, in its run's transaction. Answers the rows to be committed with the event.
pub(crate) async fn carry_out_in(
    instance: &mut Instance,
    attempt: &Attempt,
    limits: &Limits,
    topic_id: TopicId,
    run: &Arc<RunSlot>,
) -> Result<Vec<OutboxRow>, AttemptFailure> {
    call(instance, attempt, limits, topic_id, Some(run)).await?;
    instance.store.data_mut().outbox().map_err(|error| AttemptFailure::effects(&error))
}

async fn call(
    instance: &mut Instance,
    attempt: &Attempt,
    limits: &Limits,
    topic_id: TopicId,
    run: Option<&Arc<RunSlot>>,
) -> Result<(), AttemptFailure> {
    instance.store.data_mut().begin(&attempt.event, topic_id, run);
    let answer = instance.call(&guest_event(&attempt.event, attempt.number), limits).await;
    let answer = answer.and_then(|verdict| verdict.map_err(AttemptFailure::answered));
    answer.map_err(|failure| {
        let state = instance.store.data_mut();
        let away = state.away();
        state.forget();
        match away {
            Some(error) => failure.away(&error),
            None => failure,
        }
    })
}
