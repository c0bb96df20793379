//! The transactional producer of a redrive: letters and the note that they were sent, both or neither.
//!
//! Its transactional id belongs to the handler, so a second redrive takes the first one's place: the broker
//! refuses whatever the first still sends. All calls block; a redrive has a thread of its own.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use keylane_engine::OutgoingRecord;
use rdkafka::Message;
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode as Code};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};

use super::progress::PROGRESS_TOPIC;
use crate::admin::LETTER_HEADERS_BYTES;
use crate::config::KafkaConfig;
use crate::context::{Listener, tells_its_listener};
use crate::error::KafkaError;
use crate::publisher::client_headers;

/// The broker ends a transaction of which it has heard nothing for so long. Others wait for it that long.
const TRANSACTION_LIMIT: Duration = Duration::from_secs(60);
/// The longest the beginning, and each transaction, may take.
const CALL_LIMIT: Duration = Duration::from_secs(90);
/// The longest one call into the client blocks before it is made again.
const STEP_LIMIT: Duration = Duration::from_secs(10);
/// Time between two looks for delivery reports. The client's own flush looks every 100 ms.
const POLL_EVERY: Duration = Duration::from_millis(1);
/// Time between two tries while markers of the transaction before are being written; the client's own
/// default is 100 ms.
const RETRY_BACKOFF_MS: &str = "5";

/// A record and, for one without a key, the partition it goes to.
pub(crate) struct Outgoing {
    pub(crate) record: OutgoingRecord,
    pub(crate) partition: Option<i32>,
}

#[derive(Default)]
struct Reports {
    listener: Listener,
    heard: Mutex<Heard>,
}

#[derive(Default)]
struct Heard {
    /// Where the latest note of progress lies.
    noted: Option<i64>,
    /// The first record of the transaction that was refused: its topic and why.
    refused: Option<(String, String)>,
}

impl Reports {
    fn take(&self) -> Heard {
        std::mem::take(&mut *self.heard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

tells_its_listener!(Reports);

impl ProducerContext for Reports {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, _: ()) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(message) if message.topic() == PROGRESS_TOPIC => heard.noted = Some(message.offset()),
            Ok(_) => {}
            Err((error, message)) => {
                let refused = || (message.topic().to_owned(), error.to_string());
                heard.refused.get_or_insert_with(refused);
            }
        }
    }
}

/// The producer, as long as nobody has taken its place.
pub(crate) struct Sender {
    producer: BaseProducer<Reports>,
    bootstrap: String,
    handler: String,
    transactional_id: String,
}

impl Sender {
    /// Takes the place of any other redrive of this handler.
    pub(crate) fn open(kafka: &KafkaConfig, (fleet, handler): (&str, &str)) -> Result<Self, KafkaError> {
        kafka.check()?;
        let transactional_id = format!("keylane.{fleet}.{handler}.redrive");
        let mut config = kafka.producer();
        config.set("transactional.id", &transactional_id);
        config.set("transaction.timeout.ms", TRANSACTION_LIMIT.as_millis().to_string());
        config.set("retry.backoff.ms", RETRY_BACKOFF_MS);
        // A transaction waits for its last batch: nothing is won by waiting for more.
        config.set("linger.ms", "1");
        // Each retry topic takes at least that much more than its source, so no batch is too large for it.
        config.set("batch.size", LETTER_HEADERS_BYTES.to_string());
        let bootstrap = kafka.bootstrap.clone();
        let producer: BaseProducer<Reports> = config
            .create_with_context(Reports::default())
            .map_err(|error| KafkaError::from_creation(&bootstrap, error))?;
        let sender = Self { producer, bootstrap, handler: handler.to_owned(), transactional_id };
        sender
            .insist(|limit| sender.producer.init_transactions(limit))
            .map_err(|error| sender.not_begun(&error))?;
        Ok(sender)
    }

    /// Sends all of it and the note in one transaction. Answers where the note lies.
    pub(crate) fn commit(&self, letters: &[Outgoing], note: &(Bytes, Bytes)) -> Result<i64, KafkaError> {
        drop(self.producer.context().take());
        self.producer.begin_transaction().map_err(|error| self.failed(&error, None))?;
        let committed = self.send(letters, note).and_then(|()| self.finish());
        let heard = self.producer.context().take();
        match committed {
            Ok(()) => heard.noted.ok_or_else(|| {
                self.error("the broker did not say where it keeps the progress".to_owned(), true)
            }),
            Err(error) => {
                // A transaction that is not ended here, the broker ends: nothing of it is ever seen.
                let _given_up = self.insist(|limit| self.producer.abort_transaction(limit));
                Err(self.failed(&error, heard.refused))
            }
        }
    }

    fn send(&self, letters: &[Outgoing], note: &(Bytes, Bytes)) -> Result<(), ClientError> {
        for letter in letters {
            let record = &letter.record;
            let mut base: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(&record.topic);
            base.partition = letter.partition;
            base.key = record.key.as_deref();
            base.payload = record.value.as_deref();
            base.headers = client_headers(&record.headers);
            self.hand_over(base)?;
        }
        self.hand_over(BaseRecord::to(PROGRESS_TOPIC).partition(0).key(&*note.0).payload(&*note.1))
    }

    fn hand_over(&self, record: BaseRecord<'_, [u8], [u8]>) -> Result<(), ClientError> {
        let until = Instant::now() + CALL_LIMIT;
        let mut pending = Some(record);
        while let Some(next) = pending.take() {
            match self.producer.send(next) {
                Ok(()) => self.producer.poll(Duration::ZERO),
                Err((ClientError::MessageProduction(Code::QueueFull), back)) if Instant::now() < until => {
                    pending = Some(back);
                    self.producer.poll(POLL_EVERY);
                }
                Err((error, _)) => return Err(error),
            }
        }
        Ok(())
    }

    /// Waits for all delivery reports, then commits.
    fn finish(&self) -> Result<(), ClientError> {
        let until = Instant::now() + CALL_LIMIT;
        while self.producer.in_flight_count() > 0 && Instant::now() < until {
            self.producer.poll(POLL_EVERY);
        }
        self.insist(|limit| self.producer.commit_transaction(limit))
    }

    /// Makes a call of the transaction's again for as long as the client says that it may.
    fn insist(&self, call: impl Fn(Duration) -> Result<(), ClientError>) -> Result<(), ClientError> {
        let until = Instant::now() + CALL_LIMIT;
        loop {
            match call(STEP_LIMIT) {
                Err(ClientError::Transaction(error)) if error.is_retriable() && Instant::now() < until => {
                    self.producer.poll(POLL_EVERY);
                }
                answer => return answer,
            }
        }
    }

    fn not_begun(&self, error: &ClientError) -> KafkaError {
        let code = match error {
            ClientError::Transaction(error) => Some(error.code()),
            error => error.rdkafka_error_code(),
        };
        match code {
            Some(
                Code::TransactionalIdAuthorizationFailed
                | Code::UnsupportedFeature
                | Code::UnsupportedVersion,
            ) => KafkaError::NoTransactions {
                bootstrap: self.bootstrap.clone(),
                transactional_id: self.transactional_id.clone(),
                reason: error.to_string(),
            },
            _ => self.failed(error, None),
        }
    }

    fn failed(&self, error: &ClientError, refused: Option<(String, String)>) -> KafkaError {
        let fatal = self.producer.client().fatal_error().map(|(code, _)| code);
        let own = match error {
            ClientError::Transaction(error) => Some(error.code()),
            error => error.rdkafka_error_code(),
        };
        let is_fence =
            |code: &Code| matches!(code, Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch);
        if fatal.iter().chain(&own).any(is_fence) {
            return KafkaError::Superseded { handler: self.handler.clone() };
        }
        let reason = match refused {
            Some((topic, reason)) => format!("a record for {topic} was refused: {reason}"),
            None => error.to_string(),
        };
        let can_retry = !matches!(own, Some(Code::TopicAuthorizationFailed | Code::MessageSizeTooLarge));
        self.error(reason, can_retry)
    }

    fn error(&self, reason: String, can_retry: bool) -> KafkaError {
        KafkaError::Redrive { handler: self.handler.clone(), reason, can_retry }
    }
}
