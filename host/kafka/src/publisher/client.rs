//! One client under the publisher: what it has until it is answered, and its end.

use std::sync::Arc;

use rdkafka::config::ClientConfig;
use rdkafka::error::KafkaError as ClientError;
use rdkafka::producer::{DeliveryResult, ProducerContext, ThreadedProducer};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::meters::IN_FLIGHT;
use crate::context::{Listener, tells_its_listener};
use crate::error::written_at;

/// A record that the client has, until its delivery report.
pub(super) struct InFlight {
    pub(super) answer: oneshot::Sender<Result<(), ClientError>>,
    pub(super) room: Room,
}

/// A record's share of the bound on what is in flight, shown while it is held.
pub(super) struct Room(OwnedSemaphorePermit);

impl Room {
    pub(super) fn taken(permit: OwnedSemaphorePermit) -> Self {
        metrics::gauge!(IN_FLIGHT).increment(permit.num_permits() as f64);
        Self(permit)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        metrics::gauge!(IN_FLIGHT).decrement(self.0.num_permits() as f64);
    }
}

#[derive(Default)]
pub(super) struct Deliveries {
    listener: Listener,
}

tells_its_listener!(Deliveries);

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Box<InFlight>;

    fn delivery(&self, result: &DeliveryResult<'_>, in_flight: Box<InFlight>) {
        let InFlight { answer, room } = *in_flight;
        drop(room);
        // The caller may have stopped waiting; the record is delivered or not all the same.
        let _unheard = answer.send(written_at(result).map(drop));
    }
}

/// A client of which any task may be the last owner. Its end joins a thread and purges what is left,
/// which takes up to a second, so that happens on a thread of its own.
pub(super) struct Client(Option<ThreadedProducer<Deliveries>>);

impl Client {
    pub(super) fn new(config: &ClientConfig) -> Result<Arc<Self>, ClientError> {
        config.create_with_context(Deliveries::default()).map(|producer| Arc::new(Self(Some(producer))))
    }

    /// None only while it ends.
    pub(super) fn producer(&self) -> Option<&ThreadedProducer<Deliveries>> {
        self.0.as_ref()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let producer = self.0.take();
        let _detached =
            std::thread::Builder::new().name("kafka-producer-end".to_owned()).spawn(move || drop(producer));
    }
}
