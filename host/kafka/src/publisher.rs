//! The producer: idempotent, acknowledged by all replicas, partitioned as Kafka's own clients do.
//!
//! Who owns: the client owns a record from the hand-over until its delivery report. Who waits: the
//! caller, first for room, then for the acknowledgement; never a thread. Who wakes: the client's own
//! polling thread, which takes the delivery reports. What bounds: [`IN_FLIGHT_KIB`] in flight, and
//! [`DELIVERY_LIMIT`](crate::config::DELIVERY_LIMIT) for each record.
//!
//! The client's own future-based producer is not used: while its queue is full it sleeps in steps of
//! 100 ms, and it copies every record that failed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use keylane_engine::{Acknowledgement, OutgoingRecord, PublishError, Publisher};
use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode as Code};
use rdkafka::message::{Header as ClientHeader, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::config::{IN_FLIGHT_KIB, KafkaConfig};
use crate::context::Listener;
use crate::error::{KafkaError, publish_can_retry};

/// Time between two tries where the client's own queue is full in spite of our bound.
const QUEUE_FULL_PAUSE: Duration = Duration::from_millis(5);

/// What is handed over and not answered yet, in KiB; bounded by [`IN_FLIGHT_KIB`].
const IN_FLIGHT_GAUGE: &str = "keylane_kafka_producer_in_flight_kib";

/// A record that the client has, until its delivery report.
struct InFlight {
    answer: oneshot::Sender<Result<(), ClientError>>,
    room: Room,
}

/// A record's share of the bound on what is in flight, shown while it is held.
struct Room(OwnedSemaphorePermit);

impl Room {
    fn taken(permit: OwnedSemaphorePermit) -> Self {
        metrics::gauge!(IN_FLIGHT_GAUGE).increment(permit.num_permits() as f64);
        Self(permit)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        metrics::gauge!(IN_FLIGHT_GAUGE).decrement(self.0.num_permits() as f64);
    }
}

#[derive(Default)]
struct Deliveries {
    listener: Listener,
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.listener.log(level, facility, line);
    }

    fn error(&self, error: ClientError, reason: &str) {
        self.listener.error(error, reason);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        self.listener.stats_raw(statistics);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Box<InFlight>;

    fn delivery(&self, result: &DeliveryResult<'_>, in_flight: Box<InFlight>) {
        let InFlight { answer, room } = *in_flight;
        drop(room);
        // The caller may have stopped waiting; the record is delivered or not all the same.
        let _unheard = answer.send(result.as_ref().map(|_| ()).map_err(|(error, _)| error.clone()));
    }
}

/// A client of which any task may be the last owner. Its end joins a thread and purges what is left,
/// which takes up to a second, so that happens on a thread of its own.
struct Client(Option<ThreadedProducer<Deliveries>>);

impl Client {
    fn new(config: &ClientConfig) -> Result<Arc<Self>, ClientError> {
        config.create_with_context(Deliveries::default()).map(|producer| Arc::new(Self(Some(producer))))
    }

    /// None only while it ends.
    fn producer(&self) -> Option<&ThreadedProducer<Deliveries>> {
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

struct Shared {
    config: ClientConfig,
    /// Replaced when the client gives up for good, which idempotence makes it do in rare cases.
    client: Mutex<Arc<Client>>,
    room: Arc<Semaphore>,
}

/// Sends records to Kafka. Cheap to clone; all clones share one client.
#[derive(Clone)]
pub struct KafkaPublisher {
    shared: Arc<Shared>,
}

impl KafkaPublisher {
    /// A publisher. Brokers need not answer yet.
    ///
    /// # Errors
    /// A property that is refused, or a configuration that the client does not accept.
    pub fn new(kafka: &KafkaConfig) -> Result<Self, KafkaError> {
        kafka.check()?;
        let config = kafka.producer();
        let client =
            Client::new(&config).map_err(|error| KafkaError::from_creation(&kafka.bootstrap, error))?;
        let room = Arc::new(Semaphore::new(IN_FLIGHT_KIB as usize));
        Ok(Self { shared: Arc::new(Shared { config, client: Mutex::new(client), room }) })
    }

    /// Waits until everything handed over has been answered, for at most `limit`. Answers whether it has.
    pub async fn flush(&self, limit: Duration) -> bool {
        let client = self.shared.client();
        let flush = move || client.producer().is_some_and(|producer| producer.flush(limit).is_ok());
        tokio::task::spawn_blocking(flush).await.unwrap_or(false)
    }

    async fn send(&self, record: OutgoingRecord) -> Result<Acknowledgement, PublishError> {
        let room = self.shared.room.clone().acquire_many_owned(weight_kib(&record)).await;
        let room = room.map_err(|_| failed(&record.topic, "the publisher is closed", true))?;
        let (answer, answered) = oneshot::channel();
        let client = self.shared.client();
        let closed = || failed(&record.topic, "the publisher is closed", true);
        let producer = client.producer().ok_or_else(closed)?;
        let room = Room::taken(room);
        let mut pending = Some(base_record(&record, Box::new(InFlight { answer, room })));
        while let Some(next) = pending.take() {
            match producer.send(next) {
                Ok(()) => {}
                Err((ClientError::MessageProduction(Code::QueueFull), back)) => {
                    pending = Some(back);
                    tokio::time::sleep(QUEUE_FULL_PAUSE).await;
                }
                Err((error, _)) => {
                    self.shared.replace_if_dead(&client);
                    return Err(refused(&record.topic, &error));
                }
            }
        }
        let (shared, topic) = (self.shared.clone(), record.topic);
        Ok(Box::pin(async move {
            match answered.await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => {
                    shared.replace_if_dead(&client);
                    Err(refused(&topic, &error))
                }
                Err(_) => Err(failed(&topic, "the publisher was closed before the answer", true)),
            }
        }))
    }
}

impl Publisher for KafkaPublisher {
    fn publish(
        &self,
        record: OutgoingRecord,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<Acknowledgement, PublishError>> + Send + '_>> {
        Box::pin(self.send(record))
    }
}

impl Shared {
    fn client(&self) -> Arc<Client> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts a new client in the place of one that has given up for good. What it still had fails, and
    /// its callers try again.
    fn replace_if_dead(&self, dead: &Arc<Client>) {
        let fatal = dead.producer().and_then(|producer| producer.client().fatal_error());
        let Some((code, reason)) = fatal else { return };
        let mut current = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&current, dead) {
            return;
        }
        tracing::error!(%code, reason, "the producer gave up for good; a new one takes its place");
        match Client::new(&self.config) {
            Ok(fresh) => *current = fresh,
            Err(error) => {
                tracing::error!(%error, "no new producer could be made; the next record tries again")
            }
        }
    }
}

/// What a record takes of the room, in KiB: at least 1, at most all of it.
fn weight_kib(record: &OutgoingRecord) -> u32 {
    let headers: usize = record
        .headers
        .iter()
        .map(|header| header.name.len() + header.value.as_ref().map_or(0, bytes::Bytes::len))
        .sum();
    let bytes = headers
        + record.key.as_ref().map_or(0, bytes::Bytes::len)
        + record.value.as_ref().map_or(0, bytes::Bytes::len);
    u32::try_from(bytes / 1024 + 1).map_or(IN_FLIGHT_KIB, |kib| kib.min(IN_FLIGHT_KIB))
}

fn base_record(
    record: &OutgoingRecord,
    in_flight: Box<InFlight>,
) -> BaseRecord<'_, [u8], [u8], Box<InFlight>> {
    let mut base = BaseRecord::with_opaque_to(&record.topic, in_flight);
    base.key = record.key.as_deref();
    base.payload = record.value.as_deref();
    if !record.headers.is_empty() {
        let headers = OwnedHeaders::new_with_capacity(record.headers.len());
        base.headers = Some(record.headers.iter().fold(headers, |headers, header| {
            headers.insert(ClientHeader { key: &header.name, value: header.value.as_deref() })
        }));
    }
    base
}

fn refused(topic: &str, error: &ClientError) -> PublishError {
    let code = error.rdkafka_error_code();
    let reason = code.map_or_else(|| error.to_string(), |code| code.to_string());
    failed(topic, &reason, publish_can_retry(code))
}

fn failed(topic: &str, reason: &str, can_retry: bool) -> PublishError {
    PublishError { topic: topic.to_owned(), reason: reason.to_owned(), can_retry }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn record(value: usize) -> OutgoingRecord {
        OutgoingRecord {
            topic: "t".to_owned(),
            key: None,
            value: Some(Bytes::from(vec![0; value])),
            headers: Vec::new(),
        }
    }

    #[test]
    fn a_record_takes_room_and_never_more_than_there_is() {
        assert_eq!(weight_kib(&record(0)), 1);
        assert_eq!(weight_kib(&record(1024)), 2);
        assert_eq!(weight_kib(&record(IN_FLIGHT_KIB as usize * 1024 * 2)), IN_FLIGHT_KIB);
    }
}
