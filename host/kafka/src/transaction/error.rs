//! Why a transaction was not committed, and whose fault that is.

use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode as Code};

use crate::error::{KafkaError, publish_can_retry};

/// A record that was refused.
#[derive(Debug, Clone)]
pub(crate) struct RefusedRecord {
    /// Its place in the transaction; none for the note.
    pub(crate) place: Option<usize>,
    pub(crate) topic: String,
    pub(crate) fault: Fault,
    /// What was told of it, if it was sent.
    pub(crate) code: Option<Code>,
    pub(crate) reason: String,
}

/// Why a transaction was not committed.
#[derive(Debug)]
pub(crate) enum TransactionError {
    /// Another one took its place.
    Superseded,
    /// Nothing of it will ever be seen, because these records were refused; the next one may go better.
    Refused(Vec<RefusedRecord>),
    /// Nobody knows, or nothing can be sent any more: open it anew.
    Failed { reason: String, can_retry: bool },
}

impl RefusedRecord {
    pub(super) fn of(place: Option<usize>, topic: &str, error: &ClientError) -> Self {
        let code = error.rdkafka_error_code();
        let fault = if place.is_some() { fault(code) } else { Fault::Nobody };
        Self { place, topic: topic.to_owned(), fault, code, reason: error.to_string() }
    }

    /// The same, knowing whether brokers answered for others of the transaction: then one that was not taken in time
    /// waits for its own partition, and not for the way there.
    pub(crate) fn beside(self, others_answered: bool) -> Self {
        let is_silence = others_answered && self.place.is_some() && is_silence(self.code);
        match self.fault {
            Fault::Nobody if is_silence => Self { fault: Fault::Silence, ..self },
            _ => self,
        }
    }
}

impl TransactionError {
    /// As an error of whoever does not look at single records.
    pub(crate) fn into_reason(self) -> Option<(String, bool)> {
        match self {
            Self::Superseded => None,
            Self::Failed { reason, can_retry } => Some((reason, can_retry)),
            Self::Refused(records) => {
                let first = records.into_iter().next()?;
                let can_retry =
                    !matches!(first.code, Some(Code::TopicAuthorizationFailed | Code::MessageSizeTooLarge));
                Some((format!("a record for {} was refused: {}", first.topic, first.reason), can_retry))
            }
        }
    }
}

/// Why a transactional producer could not be opened.
#[derive(Debug)]
pub(crate) enum OpenError {
    Kafka(KafkaError),
    Transaction(TransactionError),
}

impl From<KafkaError> for OpenError {
    fn from(error: KafkaError) -> Self {
        Self::Kafka(error)
    }
}

/// Whose fault a refusal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The record's.
    Record,
    /// Its topic's: no record can be sent there now.
    Topic,
    /// Its partition's, which takes nothing for now while others do. That tells nothing of its topic: it may be over
    /// at any time.
    Silence,
    /// Nobody's: brokers that do not answer.
    Nobody,
}

/// Tells whose fault a refusal is, as far as its code tells.
fn fault(code: Option<Code>) -> Fault {
    match code {
        Some(
            Code::UnknownTopicOrPartition
            | Code::UnknownTopic
            | Code::UnknownPartition
            | Code::TopicAuthorizationFailed
            | Code::InvalidTopic,
        ) => Fault::Topic,
        code if !publish_can_retry(code) => Fault::Record,
        _ => Fault::Nobody,
    }
}

/// Whether brokers did not take a record in time, who may answer for other partitions: one without a leader, or
/// without enough replicas.
fn is_silence(code: Option<Code>) -> bool {
    matches!(
        code,
        Some(
            Code::MessageTimedOut
                | Code::LeaderNotAvailable
                | Code::NotLeaderForPartition
                | Code::NotEnoughReplicas
                | Code::NotEnoughReplicasAfterAppend
        )
    )
}

/// The code in an error.
pub(super) fn code_of(error: &ClientError) -> Option<Code> {
    match error {
        ClientError::Transaction(error) => Some(error.code()),
        error => error.rdkafka_error_code(),
    }
}
