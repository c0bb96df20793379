//! The transactional producer of a redrive: letters and the note that they were sent, both or neither.
//!
//! Its transactional id belongs to the handler, so a second redrive takes the first one's place.

use std::time::Duration;

use bytes::Bytes;

use super::progress::PROGRESS_TOPIC;
use crate::admin::LETTER_HEADERS_BYTES;
use crate::config::KafkaConfig;
use crate::error::KafkaError;
use crate::transaction::{OpenError, Outgoing, Purpose, TransactionError, Transactions};

/// How long a transaction of a redrive that died may keep others waiting.
const TRANSACTION_LIMIT: Duration = Duration::from_secs(60);

/// The producer, as long as nobody has taken its place.
pub(crate) struct Sender {
    transactions: Transactions,
    handler: String,
}

impl Sender {
    /// Takes the place of any other redrive of this handler.
    pub(crate) fn open(kafka: &KafkaConfig, (fleet, handler): (&str, &str)) -> Result<Self, KafkaError> {
        let purpose = Purpose {
            id: format!("keylane.{fleet}.{handler}.redrive"),
            note_topic: PROGRESS_TOPIC,
            // Each retry topic takes at least that much more than its source, so no batch is too large for it.
            batch_bytes: LETTER_HEADERS_BYTES,
            limit: TRANSACTION_LIMIT,
        };
        let handler = handler.to_owned();
        match Transactions::open(kafka, purpose) {
            Ok(transactions) => Ok(Self { transactions, handler }),
            Err(OpenError::Kafka(error)) => Err(error),
            Err(OpenError::Transaction(error)) => Err(failed(handler, error)),
        }
    }

    /// Sends all of it and the note in one transaction. Answers where the note lies.
    pub(crate) fn commit(&self, letters: &[Outgoing], note: &(Bytes, Bytes)) -> Result<i64, KafkaError> {
        self.transactions.commit(letters, note).map_err(|error| failed(self.handler.clone(), error))
    }
}

fn failed(handler: String, error: TransactionError) -> KafkaError {
    match error.into_reason() {
        None => KafkaError::Superseded { handler },
        Some((reason, can_retry)) => KafkaError::Redrive { handler, reason, can_retry },
    }
}
