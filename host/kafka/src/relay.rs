//! The relay's way to Kafka: a transactional producer of one outbox, and the position that it notes.
//!
//! The position is a record in a compacted topic, written in the transaction of the records that it speaks of,
//! and read after the way was opened, up to a mark of its own: reading to the "end" would not do, because an
//! open transaction of another outbox's relay hides what lies behind it. A committed offset of a group would
//! not do either: those of a group that nobody uses expire.

mod position;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use keylane_effects::{Position, RelaySender, RelaySenders, SendError};
use keylane_engine::{Boxed, OutgoingRecord};

use self::position::{POSITION_TOPIC, mark, position_in, record};
use crate::admin::Admin;
use crate::config::KafkaConfig;
use crate::dlq::{Letter, Reader};
use crate::error::KafkaError;
use crate::open_topics::{OpenTopics, Shut};
use crate::transaction::{
    Fault, OpenError, Outgoing, Purpose, RefusedRecord, TransactionError, Transactions,
};

/// The largest batch of the client's. Brokers refuse a batch as a whole, so that a smaller one leaves fewer
/// innocent records with the one at fault, and fits into topics that take little.
const BATCH_BYTES: usize = 64 * 1024;
/// How many offsets before the mark are read first to find the position, and how much further each further
/// look goes.
const FIRST_LOOK: i64 = 500;
const LOOK_GROWTH: i64 = 8;

/// Opens the way for each outbox of a fleet.
pub struct KafkaRelay {
    kafka: KafkaConfig,
    fleet: String,
    transaction_limit: Duration,
}

impl KafkaRelay {
    /// For this fleet, whose name is part of the transactional ids. Brokers need not answer yet. A transaction
    /// of which nothing is heard for `transaction_limit` is ended by the broker.
    #[must_use]
    pub fn new(kafka: &KafkaConfig, fleet: impl Into<String>, transaction_limit: Duration) -> Self {
        Self { kafka: kafka.clone(), fleet: fleet.into(), transaction_limit }
    }

    async fn open(&self, database: String) -> Result<(Box<dyn RelaySender>, Option<Position>), SendError> {
        let admin = Admin::new(&self.kafka).map_err(|error| failed(&error))?;
        admin.ensure_progress_topic(POSITION_TOPIC).await.map_err(|error| failed(&error))?;
        let purpose = Purpose {
            id: format!("keylane.{}.{database}.relay", self.fleet),
            note_topic: POSITION_TOPIC,
            batch_bytes: BATCH_BYTES,
            limit: self.transaction_limit,
        };
        let kafka = self.kafka.clone();
        blocking(move || {
            let (way, position) = Way::open(&kafka, purpose, database)?;
            let sender: Box<dyn RelaySender> = Box::new(KafkaSender { way: Arc::new(way) });
            Ok((sender, position))
        })
        .await
    }
}

impl RelaySenders for KafkaRelay {
    fn open(&self, database: &str) -> Boxed<'_, Result<(Box<dyn RelaySender>, Option<Position>), SendError>> {
        Box::pin(self.open(database.to_owned()))
    }
}

struct KafkaSender {
    way: Arc<Way>,
}

impl RelaySender for KafkaSender {
    fn send(&mut self, records: Vec<OutgoingRecord>, position: Position) -> Boxed<'_, Result<(), SendError>> {
        let way = self.way.clone();
        Box::pin(blocking(move || way.send(records, position)))
    }
}

/// What blocks, and is used by one thread at a time.
struct Way {
    transactions: Transactions,
    topics: Mutex<OpenTopics>,
    database: String,
}

impl Way {
    fn open(
        kafka: &KafkaConfig,
        purpose: Purpose,
        database: String,
    ) -> Result<(Self, Option<Position>), SendError> {
        let limit = purpose.limit;
        let transactions = Transactions::open(kafka, purpose).map_err(|error| match error {
            OpenError::Kafka(error) => failed(&error),
            OpenError::Transaction(error) => not_sent(error),
        })?;
        let reader = Reader::new(kafka).map_err(|error| failed(&error))?;
        let mark_at = transactions.commit(&[], &mark(&database)?).map_err(not_sent)?;
        let newest = newest(&reader, mark_at, &database).map_err(|error| failed(&error))?;
        let position = match newest.and_then(|record| Some((record.value?, record.offset))) {
            Some((value, offset)) => Some(position_in(&value, offset)?),
            None => None,
        };
        let topics = Mutex::new(OpenTopics::new(reader, limit));
        Ok((Self { transactions, topics, database }, position))
    }

    fn send(&self, records: Vec<OutgoingRecord>, position: Position) -> Result<(), SendError> {
        self.look_for_topics(&records)?;
        let note = record(&self.database, position)?;
        let outgoing = |record| Outgoing { record, partition: None };
        let outgoing: Vec<Outgoing> = records.into_iter().map(outgoing).collect();
        let Err(error) = self.transactions.commit(&outgoing, &note) else { return Ok(()) };
        self.topics().forget();
        match error {
            TransactionError::Refused(refused) if self.transactions.is_stuck() => Err(stuck(&refused)),
            TransactionError::Refused(refused) => Err(blamed(&refused)),
            error => Err(not_sent(error)),
        }
    }

    /// Whether all of these topics take records now.
    fn look_for_topics(&self, records: &[OutgoingRecord]) -> Result<(), SendError> {
        let topics = records.iter().map(|record| record.topic.as_str());
        let shut = self.topics().shut(topics).map_err(|error| failed(&error))?;
        let Some((topic, Shut { reason, .. })) = shut.first_key_value() else { return Ok(()) };
        let reason = format!("{topic}: {reason}");
        let topics = shut.into_keys().map(str::to_owned).collect();
        Err(SendError::Refused { topics, records: Vec::new(), reason })
    }

    fn topics(&self) -> MutexGuard<'_, OpenTopics> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A transaction that is not ended yet lets its producer begin no other: the way is opened anew, and no row waits
/// longer for it.
fn stuck(refused: &[RefusedRecord]) -> SendError {
    let told = refused.first().map(|one| format!("{}: {}; ", one.topic, one.reason)).unwrap_or_default();
    SendError::Failed(format!(
        "{told}the brokers have not ended that transaction yet, as they cannot without a partition's leader"
    ))
}

/// Which topics and records are at fault. A topic of which a partition is silent is left alone like one that takes
/// nothing: the others need not wait for it.
fn blamed(refused: &[RefusedRecord]) -> SendError {
    let (mut topics, mut records) = (BTreeSet::new(), Vec::new());
    let mut first = None;
    for one in refused {
        match (one.fault, one.place) {
            (Fault::Topic | Fault::Silence, _) => {
                topics.insert(one.topic.clone());
            }
            (Fault::Record, Some(place)) => records.push(place),
            (Fault::Record, None) | (Fault::Nobody, _) => continue,
        }
        first.get_or_insert_with(|| format!("{}: {}", one.topic, one.reason));
    }
    let Some(reason) = first else {
        let told = refused.first().map(|one| format!("{}: {}", one.topic, one.reason));
        return SendError::Failed(told.unwrap_or_default());
    };
    SendError::Refused { topics: topics.into_iter().collect(), records, reason }
}

/// The newest position before the mark. It is looked for from the mark backwards, in steps that grow: each
/// batch leaves a record, and compaction takes the old ones away only now and then.
fn newest(reader: &Reader, mark_at: i64, database: &str) -> Result<Option<Letter>, KafkaError> {
    let low = reader.bounds(POSITION_TOPIC, 0)?.low;
    let (mut until, mut span) = (mark_at.saturating_add(1), FIRST_LOOK);
    loop {
        let from = until.saturating_sub(span).max(low);
        let mut reading = reader.open(POSITION_TOPIC, 0, from..until)?;
        if until > mark_at {
            reading = reading.awaiting_the_last();
        }
        let mut newest = None;
        while let Some(record) = reading.next()? {
            if record.key.as_deref().is_some_and(|key| position::is_of(key, database)) {
                newest = Some(record);
            }
        }
        if newest.is_some() || from <= low {
            return Ok(newest);
        }
        (until, span) = (from, span.saturating_mul(LOOK_GROWTH));
    }
}

/// Runs what blocks off the runtime's own threads. A transaction that nobody waits for any more goes on to
/// its end there, which whoever takes over next ends or waits for.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SendError> + Send + 'static,
) -> Result<T, SendError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|fault| Err(SendError::Failed(fault.to_string())))
}

fn failed(error: &KafkaError) -> SendError {
    SendError::Failed(error.to_string())
}

fn not_sent(error: TransactionError) -> SendError {
    match error.into_reason() {
        None => SendError::Superseded,
        Some((reason, _)) => SendError::Failed(reason),
    }
}

#[cfg(test)]
mod tests;
