//! Questions to the handler's database, each a task of its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use keylane_engine::{Claims, ClaimsError, Hold, Lease, TopicId, TopicPartition};
use metrics::Gauge;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::AbortHandle;

use super::super::shared::Doorbell;

/// Takes at once: each holds a connection. The others wait in their tasks, one for each partition.
pub(in super::super) const TAKES_AT_ONCE: usize = 16;

type Answer<T> = Result<T, ClaimsError>;

/// A question that is out. Dropping it breaks its task off.
pub(super) struct Question<T> {
    answer: oneshot::Receiver<Answer<T>>,
    task: AbortHandle,
}

impl<T> Question<T> {
    /// The answer, once it is there. A task that ended without one has met with a fault of the host.
    pub(super) fn answer(&mut self) -> Option<Answer<T>> {
        match self.answer.try_recv() {
            Ok(answer) => Some(answer),
            Err(oneshot::error::TryRecvError::Empty) => None,
            Err(oneshot::error::TryRecvError::Closed) => {
                let words = "the question ended without an answer; see the log before this line";
                Some(Err(ClaimsError::Unknown(words.to_owned())))
            }
        }
    }
}

impl<T> Drop for Question<T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Rings, and counts, when a task ends, however it ends.
struct AtTheEnd {
    doorbell: Arc<Doorbell>,
    in_flight: Gauge,
}

impl AtTheEnd {
    fn new(doorbell: Arc<Doorbell>, in_flight: Gauge) -> Self {
        in_flight.increment(1.0);
        Self { doorbell, in_flight }
    }
}

impl Drop for AtTheEnd {
    fn drop(&mut self) {
        self.in_flight.decrement(1.0);
        self.doorbell.ring();
    }
}

/// Asks the database.
pub(super) struct Asker {
    claims: Arc<dyn Claims>,
    runtime: Handle,
    doorbell: Arc<Doorbell>,
    permits: Arc<Semaphore>,
    group: String,
    in_flight: Gauge,
}

impl Asker {
    pub(super) fn new(
        claims: Arc<dyn Claims>,
        runtime: Handle,
        doorbell: Arc<Doorbell>,
        group: &str,
    ) -> Self {
        Self {
            claims,
            runtime,
            doorbell,
            permits: Arc::new(Semaphore::new(TAKES_AT_ONCE)),
            group: group.to_owned(),
            in_flight: metrics::gauge!("keylane_kafka_takes_in_flight", "group" => group.to_owned()),
        }
    }

    pub(super) fn database(&self) -> &str {
        self.claims.database()
    }

    /// Takes a partition, when there is room for another take and the lease still holds then.
    pub(super) fn take(
        &self,
        partition: &TopicPartition,
        topic_id: TopicId,
        lease: &Arc<Lease>,
    ) -> Question<Option<Hold>> {
        let (claims, partition, lease) = (self.claims.clone(), partition.clone(), lease.clone());
        let (permits, group) = (self.permits.clone(), self.group.clone());
        self.ask(async move {
            // The semaphore is never closed.
            let _room = permits.acquire().await;
            if !lease.holds() {
                let words = "the proof of membership was out before the partition's turn came";
                return Err(ClaimsError::Unavailable(words.to_owned()));
            }
            let taken = within(lease.term(), claims.take(&partition, topic_id)).await;
            let outcome = match &taken {
                Ok(Some(_)) => "taken",
                Ok(None) => "unsettled",
                Err(_) => "failed",
            };
            metrics::counter!("keylane_kafka_takes_total", "group" => group, "outcome" => outcome)
                .increment(1);
            taken
        })
    }

    /// Settles the starts of a topic.
    pub(super) fn settle(
        &self,
        topic: &Arc<str>,
        topic_id: TopicId,
        starts: Vec<(i32, i64)>,
        lease: &Lease,
    ) -> Question<BTreeMap<i32, i64>> {
        let (claims, topic, limit) = (self.claims.clone(), topic.clone(), lease.term());
        self.ask(async move { within(limit, claims.settle(&topic, topic_id, &starts)).await })
    }

    fn ask<T: Send + 'static>(
        &self,
        question: impl Future<Output = Answer<T>> + Send + 'static,
    ) -> Question<T> {
        let end = AtTheEnd::new(self.doorbell.clone(), self.in_flight.clone());
        let (sender, answer) = oneshot::channel();
        let task = self.runtime.spawn(async move {
            let _end = end;
            // Nobody listens where the partition was given up meanwhile.
            let _unheard = sender.send(question.await);
        });
        Question { answer, task: task.abort_handle() }
    }
}

/// An answer that comes later than the lease's term would find the proof of membership out.
async fn within<T>(limit: Duration, asked: impl Future<Output = Answer<T>>) -> Answer<T> {
    tokio::time::timeout(limit, asked).await.unwrap_or_else(|_elapsed| {
        Err(ClaimsError::Unavailable(format!("it did not answer within {} s", limit.as_secs_f64())))
    })
}
