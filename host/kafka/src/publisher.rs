//! The producer: idempotent, acknowledged by all replicas, partitioned as Kafka's own clients do.
//!
//! Who owns: the client owns a record from the hand-over until its delivery report. Who waits: the
//! caller, first for room, then for the acknowledgement; never a thread. Who wakes: the client's own
//! polling thread, which takes the delivery reports. What bounds: [`IN_FLIGHT_KIB`] in flight, and
//! [`DELIVERY_LIMIT`](crate::config::DELIVERY_LIMIT) for each record.
//!
//! A broker takes or refuses a batch as a whole, so that one bad record, or a topic whose limit is smaller
//! than our batches, would take innocent records along. Therefore a record that was refused for what it is
//! is sent once more, in a batch of its own, by a second client; only that answer counts. Where a
//! topic's limit is known to be smaller than a batch its records go that way from the start, because
//! records sent again arrive behind those that came after them ([`Topics`]).
//!
//! The client's own future-based producer is not used: while its queue is full it sleeps in steps of
//! 100 ms, and it copies every record that failed.

mod client;
mod meters;
mod topics;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use keylane_engine::{Acknowledgement, Header, OutgoingRecord, PublishError, Publisher};
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode as Code};
use rdkafka::message::{Header as ClientHeader, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer};
use tokio::sync::{Semaphore, oneshot};

use self::client::{Client, InFlight, Room};
use self::meters::{IN_FLIGHT_MAX, QUEUE_FULL, REFUSED, RESENT};
use self::topics::Topics;
use crate::config::{IN_FLIGHT_KIB, KafkaConfig};
use crate::error::{KafkaError, publish_can_retry};

/// Time between two tries where the client's own queue is full in spite of our bound.
const QUEUE_FULL_PAUSE: Duration = Duration::from_millis(5);

/// One way to the brokers. There are two: records together in batches, and each alone.
struct Way {
    config: ClientConfig,
    /// Made when it is first needed, and replaced when the client gives up for good, which idempotence
    /// makes it do in rare cases.
    client: Mutex<Option<Arc<Client>>>,
}

impl Way {
    fn new(config: ClientConfig) -> Self {
        Self { config, client: Mutex::new(None) }
    }

    fn client(&self) -> Result<Arc<Client>, ClientError> {
        let mut current = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        match &*current {
            Some(client) => Ok(client.clone()),
            None => Ok(current.insert(Client::new(&self.config)?).clone()),
        }
    }

    /// The client, if there is one already.
    fn present(&self) -> Option<Arc<Client>> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lets go of a client that has given up for good; the next record makes a new one. What it still had
    /// fails, and its callers try again.
    fn leave_if_dead(&self, dead: &Arc<Client>) {
        let fatal = dead.producer().and_then(|producer| producer.client().fatal_error());
        let Some((code, reason)) = fatal else { return };
        let mut current = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, dead)) {
            tracing::error!(%code, reason, "the producer gave up for good; a new one takes its place");
            *current = None;
        }
    }
}

struct Shared {
    together: Way,
    alone: Way,
    topics: Topics,
    room: Arc<Semaphore>,
}

/// Sends records to Kafka. Cheap to clone; all clones share their clients.
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
        metrics::gauge!(IN_FLIGHT_MAX).set(f64::from(IN_FLIGHT_KIB));
        let together = kafka.producer();
        let mut alone = together.clone();
        alone.set("batch.num.messages", "1");
        let shared = Shared {
            topics: Topics::new(kafka.onlooker(), &together),
            together: Way::new(together),
            alone: Way::new(alone),
            room: Arc::new(Semaphore::new(IN_FLIGHT_KIB as usize)),
        };
        // What is wrong with the configuration is to be said now, not with the first record.
        shared.together.client().map_err(|error| KafkaError::from_creation(&kafka.bootstrap, error))?;
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Waits until everything handed over has been answered, for at most `limit`. Answers whether it has.
    pub async fn flush(&self, limit: Duration) -> bool {
        let clients = [self.shared.together.present(), self.shared.alone.present()];
        let flushed =
            move |client: Arc<Client>| client.producer().is_some_and(|one| one.flush(limit).is_ok());
        let flush = move || clients.into_iter().flatten().all(flushed);
        tokio::task::spawn_blocking(flush).await.unwrap_or(false)
    }

    async fn send(&self, record: OutgoingRecord) -> Result<Acknowledgement, PublishError> {
        let shared = self.shared.clone();
        if shared.topics.needs_alone(&record.topic).await {
            let handed = shared.hand_over(&shared.alone, &record).await;
            let handed = handed.map_err(|error| refused(&record.topic, &error))?;
            return Ok(Box::pin(async move {
                handed.answer(&shared.alone).await.map_err(|error| refused(&record.topic, &error))
            }));
        }
        let handed = shared.hand_over(&shared.together, &record).await;
        let handed = handed.map_err(|error| refused(&record.topic, &error))?;
        Ok(Box::pin(async move {
            match handed.answer(&shared.together).await {
                Err(error) if !publish_can_retry(error.rdkafka_error_code()) => {
                    shared.once_more_alone(&record, &error).await
                }
                answer => answer.map_err(|error| refused(&record.topic, &error)),
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

/// A record that a client has.
struct Handed {
    client: Arc<Client>,
    answered: oneshot::Receiver<Result<(), ClientError>>,
}

impl Handed {
    async fn answer(self, way: &Way) -> Result<(), ClientError> {
        // A client that ends without an answer is one that was closed.
        let answer = self.answered.await.unwrap_or(Err(ClientError::Canceled));
        if answer.is_err() {
            way.leave_if_dead(&self.client);
        }
        answer
    }
}

impl Shared {
    async fn hand_over(&self, way: &Way, record: &OutgoingRecord) -> Result<Handed, ClientError> {
        let room = self.room.clone().acquire_many_owned(weight_kib(record)).await;
        let room = Room::taken(room.map_err(|_| ClientError::Canceled)?);
        let (answer, answered) = oneshot::channel();
        let client = way.client()?;
        let producer = client.producer().ok_or(ClientError::Canceled)?;
        let mut pending = Some(base_record(record, Box::new(InFlight { answer, room })));
        while let Some(next) = pending.take() {
            match producer.send(next) {
                Ok(()) => {}
                Err((ClientError::MessageProduction(Code::QueueFull), back)) => {
                    pending = Some(back);
                    metrics::counter!(QUEUE_FULL).increment(1);
                    tokio::time::sleep(QUEUE_FULL_PAUSE).await;
                }
                Err((error, _)) => {
                    way.leave_if_dead(&client);
                    return Err(error);
                }
            }
        }
        Ok(Handed { client, answered })
    }

    /// Whether the record itself is at fault, or only the batch that it was in.
    async fn once_more_alone(
        &self,
        record: &OutgoingRecord,
        first: &ClientError,
    ) -> Result<(), PublishError> {
        metrics::counter!(RESENT, "topic" => record.topic.clone()).increment(1);
        let alone = async { self.hand_over(&self.alone, record).await?.answer(&self.alone).await };
        alone.await.map_err(|error| refused(&record.topic, &error))?;
        if first.rdkafka_error_code() == Some(Code::MessageSizeTooLarge) {
            self.topics.note_small(&record.topic);
        }
        Ok(())
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
    base.headers = client_headers(&record.headers);
    base
}

/// Headers as the client takes them; none for none.
pub(crate) fn client_headers(headers: &[Header]) -> Option<OwnedHeaders> {
    let add = |all: OwnedHeaders, header: &Header| {
        all.insert(ClientHeader { key: &header.name, value: header.value.as_deref() })
    };
    let empty = || OwnedHeaders::new_with_capacity(headers.len());
    (!headers.is_empty()).then(|| headers.iter().fold(empty(), add))
}

fn refused(topic: &str, error: &ClientError) -> PublishError {
    let code = error.rdkafka_error_code();
    let reason = match error {
        ClientError::Canceled => "the publisher was closed before the answer".to_owned(),
        error => code.map_or_else(|| error.to_string(), |code| code.to_string()),
    };
    let can_retry = publish_can_retry(code);
    let is_final = if can_retry { "no" } else { "yes" };
    metrics::counter!(REFUSED, "topic" => topic.to_owned(), "final" => is_final).increment(1);
    PublishError { topic: topic.to_owned(), reason, can_retry }
}

#[cfg(test)]
mod tests;
