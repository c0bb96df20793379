//! A transactional producer: records and a note that they were sent, or the progress of a group that they
//! belong to, all or nothing.
//!
//! Whoever opens it takes the place of the one before: the broker ends that one's open transaction and
//! refuses whatever it still sends. All calls block; whoever makes them has a thread for it.

mod error;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use keylane_engine::OutgoingRecord;
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode as Code};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext, PurgeConfig};
use rdkafka::{Message, TopicPartitionList};

pub(crate) use self::error::{Fault, OpenError, RefusedRecord, TransactionError};

use self::error::code_of;
use crate::config::{DELIVERY_LIMIT, KafkaConfig};
use crate::context::{Listener, tells_its_listener};
use crate::error::{KafkaError, written_at};
use crate::publisher::client_headers;

/// The longest one call into the client blocks before it is made again.
const STEP_LIMIT: Duration = Duration::from_secs(10);
/// The part of a call's time for which brokers are waited for to end a transaction with a silent partition. They may
/// be unable to before it is back; they have heard by then that they are to.
const SILENT_PART: u32 = 3;
/// Time between two looks for delivery reports. The client's own flush looks every 100 ms.
const LOOK_EVERY: Duration = Duration::from_micros(200);
/// Time between two tries while markers of the transaction before are being written; the client's own
/// default is 100 ms.
const RETRY_BACKOFF_MS: &str = "5";
/// Connections on which nothing was sent or answered for so long are closed. The client keeps the group's coordinator
/// that it knows even when it has let go of that broker, because the cluster's metadata left it out while it was
/// down, and then waits for it without an end while offsets are added to a transaction (librdkafka 2.12.1,
/// `rdkafka_coord.c`). It asks for the coordinator again when any connection comes up or goes down; what is idle
/// meanwhile does.
const IDLE_MAX_MS: &str = "3000";
/// The pause between two connections to a broker doubles up to its longest with each connection, also with one that
/// is made, until none was made for as long as the longest. That is well below the above, or else whatever follows
/// some rests would wait for up to 10 s, which is what the client does by default.
const RECONNECT_FIRST_MS: &str = "100";
const RECONNECT_MOST_MS: &str = "500";
/// How long one may take to be made, with all that is said first: a broker that stands still must not take a
/// transaction's whole time.
const CONNECT_MAX_MS: &str = "3000";
/// What the note of a transaction is known by; records are known by their place.
const NOTE: usize = usize::MAX;

/// A record and, where the key does not decide, the partition it goes to.
pub(crate) struct Outgoing {
    pub(crate) record: OutgoingRecord,
    pub(crate) partition: Option<i32>,
}

/// What a transactional producer is for.
pub(crate) struct Purpose {
    /// Its transactional id.
    pub(crate) id: String,
    /// Where it notes what it sent; of one partition. Of no use to one whose transactions end with offsets.
    pub(crate) note_topic: &'static str,
    /// The largest batch, in bytes: brokers take or refuse a batch as a whole.
    pub(crate) batch_bytes: usize,
    /// The broker ends a transaction of which it has heard nothing for so long; others wait for it that long.
    /// The beginning, and each transaction, may take half as long again.
    pub(crate) limit: Duration,
}

/// What a group commits by a transaction, and as whom: a membership that has changed since is refused.
pub(crate) struct Offsets<'a> {
    pub(crate) list: &'a TopicPartitionList,
    pub(crate) metadata: &'a ConsumerGroupMetadata,
}

/// What belongs to the records of a transaction.
enum Note<'a> {
    Record(&'a (Bytes, Bytes)),
    Offsets(&'a Offsets<'a>),
}

/// A transaction that came to nothing, as far as is known.
struct Undone {
    error: TransactionError,
    /// It is only that the client has to count anew, which it does next time.
    miscounted: bool,
    /// Its commit was asked for, and nobody said that it did not happen.
    in_doubt: bool,
}

#[derive(Default)]
struct Reports {
    listener: Listener,
    heard: Mutex<Heard>,
}

#[derive(Default)]
struct Heard {
    /// Where the latest note lies.
    noted: Option<i64>,
    /// The records of the transaction that were refused for themselves or their topic.
    refused: Vec<RefusedRecord>,
    /// Brokers took one of them, or the note, or the offsets.
    any_taken: bool,
}

impl Reports {
    fn heard(&self) -> std::sync::MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

tells_its_listener!(Reports);

impl ProducerContext for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, place: usize) {
        let (Ok(message) | Err((_, message))) = result;
        match written_at(result) {
            Ok(offset) => {
                let mut heard = self.heard();
                heard.any_taken = true;
                if place == NOTE {
                    heard.noted = Some(offset);
                }
            }
            Err(error) => {
                let code = error.rdkafka_error_code();
                // The others of the transaction are thrown away with it, which says nothing of them.
                if !matches!(code, Some(Code::PurgeQueue | Code::PurgeInflight)) {
                    let place = (place != NOTE).then_some(place);
                    self.heard().refused.push(RefusedRecord::of(place, message.topic(), &error));
                }
            }
        }
    }
}

/// The producer, as long as nobody has taken its place.
pub(crate) struct Transactions {
    producer: BaseProducer<Reports>,
    note_topic: &'static str,
    /// The longest a call may take, with all its tries.
    call_limit: Duration,
    /// Whether a transaction could not be ended.
    is_stuck: AtomicBool,
}

impl Transactions {
    /// Takes the place of the one before.
    pub(crate) fn open(kafka: &KafkaConfig, purpose: Purpose) -> Result<Self, OpenError> {
        kafka.check()?;
        let mut config = kafka.producer();
        config.set("transactional.id", &purpose.id);
        config.set("transaction.timeout.ms", purpose.limit.as_millis().to_string());
        // The client wants this to be no longer than that. It is shorter, so that a record that nobody takes is told
        // of before the broker ends the transaction, which would be told as another producer's doing.
        let delivery = DELIVERY_LIMIT.min(purpose.limit.saturating_mul(3) / 4);
        config.set("message.timeout.ms", delivery.as_millis().to_string());
        config.set("retry.backoff.ms", RETRY_BACKOFF_MS);
        // A transaction waits for its last batch: nothing is won by waiting for more.
        config.set("linger.ms", "1");
        config.set("batch.size", purpose.batch_bytes.to_string());
        config.set("connections.max.idle.ms", IDLE_MAX_MS);
        config.set("reconnect.backoff.ms", RECONNECT_FIRST_MS);
        config.set("reconnect.backoff.max.ms", RECONNECT_MOST_MS);
        config.set("socket.connection.setup.timeout.ms", CONNECT_MAX_MS);
        let producer: BaseProducer<Reports> = config
            .create_with_context(Reports::default())
            .map_err(|error| KafkaError::from_creation(&kafka.bootstrap, error))?;
        let call_limit = purpose.limit.saturating_mul(3) / 2;
        let (note_topic, is_stuck) = (purpose.note_topic, AtomicBool::new(false));
        let opened = Self { producer, note_topic, call_limit, is_stuck };
        match opened.insist(|limit| opened.producer.init_transactions(limit)) {
            Ok(()) => Ok(opened),
            Err(error) => Err(opened.not_begun(&error, &kafka.bootstrap, purpose.id)),
        }
    }

    /// Sends all of it and the note in one transaction. Answers where the note lies.
    ///
    /// After a transaction in which a record was refused, the next one fails as well, because the broker has
    /// not counted that record (`OUT_OF_ORDER_SEQUENCE_NUMBER`); giving that one up lets the client count anew.
    pub(crate) fn commit(
        &self,
        records: &[Outgoing],
        note: &(Bytes, Bytes),
    ) -> Result<i64, TransactionError> {
        let records = records.iter().map(|outgoing| (&outgoing.record, outgoing.partition));
        let committed = self.commit_twice(records, &Note::Record(note));
        committed.map_err(|undone| undone.error)?.ok_or_else(|| TransactionError::Failed {
            reason: "the broker did not say where it keeps the progress".to_owned(),
            can_retry: true,
        })
    }

    /// Sends all of it and commits the offsets, in one transaction. With an error: whether it is in doubt, so
    /// that only the group's offsets tell whether it was committed.
    pub(crate) fn commit_offsets<'a>(
        &self,
        records: impl Iterator<Item = &'a OutgoingRecord> + Clone,
        offsets: &Offsets<'_>,
    ) -> Result<(), (TransactionError, bool)> {
        let committed = self.commit_twice(records.map(|record| (record, None)), &Note::Offsets(offsets));
        committed.map(drop).map_err(|undone| (undone.error, undone.in_doubt))
    }

    /// Once more where the client only has to count anew.
    fn commit_twice<'a>(
        &self,
        records: impl Iterator<Item = (&'a OutgoingRecord, Option<i32>)> + Clone,
        note: &Note<'_>,
    ) -> Result<Option<i64>, Undone> {
        match self.commit_once(records.clone(), note) {
            Err(Undone { miscounted: true, .. }) => self.commit_once(records, note),
            ended => ended,
        }
    }

    /// Answers where the note lies, if it is a record.
    fn commit_once<'a>(
        &self,
        records: impl Iterator<Item = (&'a OutgoingRecord, Option<i32>)>,
        note: &Note<'_>,
    ) -> Result<Option<i64>, Undone> {
        self.take_heard();
        let certain = |error| Undone { error, miscounted: false, in_doubt: false };
        self.producer.begin_transaction().map_err(|error| certain(self.failed(&error)))?;
        let (error, asked) = match self.send(records, note).and_then(|()| self.drain()) {
            Err(error) => (error, false),
            Ok(()) => match self.insist(|limit| self.producer.commit_transaction(limit)) {
                Ok(()) => return Ok(self.take_heard().noted),
                Err(error) => (error, true),
            },
        };
        let Heard { refused, any_taken, .. } = self.take_heard();
        let refused: Vec<_> = refused.into_iter().map(|one| one.beside(any_taken)).collect();
        // A transaction that is not ended here, the broker ends: nothing of it is ever seen.
        let is_over = self.give_up(refused.iter().any(|one| one.fault == Fault::Silence)).is_ok();
        self.is_stuck.store(!is_over, Ordering::Relaxed);
        let in_doubt = asked && !is_over;
        let failed = self.failed(&error);
        if in_doubt || !matches!(failed, TransactionError::Failed { .. }) {
            return Err(Undone { error: failed, miscounted: false, in_doubt });
        }
        let miscounted = |code| is_over && code == Some(Code::OutOfOrderSequenceNumber);
        let (error, miscounted) = match refused.is_empty() {
            true => (failed, miscounted(code_of(&error))),
            false => {
                let all = refused.iter().all(|one| miscounted(one.code));
                (TransactionError::Refused(refused), all)
            }
        };
        Err(Undone { error, miscounted, in_doubt: false })
    }

    /// Whether the latest transaction could not be ended: then no other begins here before the brokers end it.
    pub(crate) fn is_stuck(&self) -> bool {
        self.is_stuck.load(Ordering::Relaxed)
    }

    fn take_heard(&self) -> Heard {
        std::mem::take(&mut *self.producer.context().heard())
    }

    /// Throws away what has not been sent, whose reports the client would else wait for in vain, and ends the
    /// transaction. What is on its way is waited for: thrown away, it could arrive behind the end.
    fn give_up(&self, is_silent: bool) -> Result<(), ClientError> {
        self.producer.purge(PurgeConfig::default().queue());
        let until = Instant::now() + self.call_limit;
        while self.producer.in_flight_count() > 0 && Instant::now() < until {
            self.look_after_a_rest();
        }
        if is_silent {
            return self.producer.abort_transaction(self.call_limit / SILENT_PART);
        }
        self.insist(|limit| self.producer.abort_transaction(limit))
    }

    /// Hands over the records, and the note. Offsets go while the records are on their way.
    fn send<'a>(
        &self,
        records: impl Iterator<Item = (&'a OutgoingRecord, Option<i32>)>,
        note: &Note<'_>,
    ) -> Result<(), ClientError> {
        for (place, (record, partition)) in records.enumerate() {
            let mut base: BaseRecord<'_, [u8], [u8], usize> =
                BaseRecord::with_opaque_to(&record.topic, place);
            base.partition = partition;
            base.key = record.key.as_deref();
            base.payload = record.value.as_deref();
            base.headers = client_headers(&record.headers);
            self.hand_over(base)?;
        }
        match note {
            Note::Record((key, value)) => {
                let base = BaseRecord::with_opaque_to(self.note_topic, NOTE).partition(0);
                self.hand_over(base.key(&**key).payload(&**value))
            }
            Note::Offsets(Offsets { list, metadata }) => {
                self.insist(|limit| self.producer.send_offsets_to_transaction(list, metadata, limit))?;
                self.producer.context().heard().any_taken = true;
                Ok(())
            }
        }
    }

    /// The wrapper's own wait counts whole milliseconds down and spins for what is left of the last one.
    fn look_after_a_rest(&self) {
        std::thread::sleep(LOOK_EVERY);
        self.producer.poll(Duration::ZERO);
    }

    fn hand_over(&self, record: BaseRecord<'_, [u8], [u8], usize>) -> Result<(), ClientError> {
        let until = Instant::now() + self.call_limit;
        let mut pending = Some(record);
        while let Some(next) = pending.take() {
            match self.producer.send(next) {
                Ok(()) => self.producer.poll(Duration::ZERO),
                Err((ClientError::MessageProduction(Code::QueueFull), back)) if Instant::now() < until => {
                    pending = Some(back);
                    self.look_after_a_rest();
                }
                Err((error, back)) => {
                    // Without a report, since the client never had it.
                    let place = (back.delivery_opaque != NOTE).then_some(back.delivery_opaque);
                    let refused = RefusedRecord::of(place, back.topic, &error);
                    self.producer.context().heard().refused.push(refused);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Waits for all delivery reports. After the first refusal nothing more is sent, and so nothing more is
    /// waited for.
    fn drain(&self) -> Result<(), ClientError> {
        let until = Instant::now() + self.call_limit;
        while self.producer.in_flight_count() > 0 && Instant::now() < until {
            self.look_after_a_rest();
            if let Some(refused) = self.producer.context().heard().refused.first() {
                return Err(ClientError::MessageProduction(refused.code.unwrap_or(Code::Fail)));
            }
        }
        Ok(())
    }

    /// Makes a call of the transaction's again for as long as the client says that it may.
    fn insist(&self, call: impl Fn(Duration) -> Result<(), ClientError>) -> Result<(), ClientError> {
        let until = Instant::now() + self.call_limit;
        loop {
            match call(STEP_LIMIT.min(until.saturating_duration_since(Instant::now()))) {
                Err(ClientError::Transaction(error)) if error.is_retriable() && Instant::now() < until => {
                    self.look_after_a_rest();
                }
                answer => return answer,
            }
        }
    }

    fn not_begun(&self, error: &ClientError, bootstrap: &str, transactional_id: String) -> OpenError {
        match code_of(error) {
            Some(
                Code::TransactionalIdAuthorizationFailed
                | Code::UnsupportedFeature
                | Code::UnsupportedVersion,
            ) => OpenError::Kafka(KafkaError::NoTransactions {
                bootstrap: bootstrap.to_owned(),
                transactional_id,
                reason: error.to_string(),
            }),
            _ => OpenError::Transaction(self.failed(error)),
        }
    }

    fn failed(&self, error: &ClientError) -> TransactionError {
        let fatal = self.producer.client().fatal_error().map(|(code, _)| code);
        let own = code_of(error);
        let is_fence =
            |code: &Code| matches!(code, Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch);
        if fatal.iter().chain(&own).any(is_fence) {
            return TransactionError::Superseded;
        }
        let can_retry = !matches!(own, Some(Code::TopicAuthorizationFailed | Code::MessageSizeTooLarge));
        TransactionError::Failed { reason: error.to_string(), can_retry }
    }
}
