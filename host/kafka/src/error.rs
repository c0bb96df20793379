//! What can go wrong with Kafka, where it came from, and whether trying again can help.

use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode as Code};
use rdkafka::message::Message;
use rdkafka::producer::DeliveryResult;

/// An error of this room.
#[derive(Debug, Clone, thiserror::Error)]
pub enum KafkaError {
    /// A property was given that keylane sets itself.
    #[error("the Kafka property {key:?} cannot be set: {reason}")]
    RefusedProperty {
        /// The property's name.
        key: String,
        /// Why keylane keeps it to itself.
        reason: &'static str,
    },
    /// The client does not know a property, or not with this value.
    #[error("the Kafka property {key:?} is not accepted: {reason}")]
    Property {
        /// The property's name.
        key: String,
        /// What the client said. Never the value: it may be a secret.
        reason: String,
    },
    /// A client could not be made from its configuration.
    #[error("no Kafka client could be made for {bootstrap}: {reason}")]
    Client {
        /// The brokers it was for.
        bootstrap: String,
        /// What the client said.
        reason: String,
    },
    /// No broker answered.
    #[error("no Kafka broker answers at {bootstrap}: {reason}")]
    Unreachable {
        /// The brokers that were asked.
        bootstrap: String,
        /// The client's own last words.
        reason: String,
    },
    /// Topics that should be there are not.
    #[error("unknown topic{} at {bootstrap}: {}; create {} first",
        if .topics.len() == 1 { "" } else { "s" }, .topics.join(", "),
        if .topics.len() == 1 { "it" } else { "them" })]
    MissingTopics {
        /// The brokers that were asked.
        bootstrap: String,
        /// The topics' names.
        topics: Vec<String>,
    },
    /// A topic cannot be used as it is.
    #[error("the topic {topic:?} cannot be used: {reason}")]
    Topic {
        /// Its name.
        topic: String,
        /// What the broker said.
        reason: String,
        /// Whether the broker may say otherwise later.
        can_retry: bool,
    },
    /// A topic of letters or redriven events does not take what it is for.
    #[error(
        "the topic {topic:?} takes records of up to {bytes} bytes, which is too small: those of \
        {source_topic:?} may have {source_bytes}, and with the headers of a letter {needed}; set its \
        max.message.bytes to {needed} or more, or name another topic"
    )]
    TooSmall {
        /// Its name.
        topic: String,
        /// The largest record it takes, in bytes.
        bytes: usize,
        /// What it has to take, in bytes.
        needed: usize,
        /// The topic whose records it is for.
        source_topic: String,
        /// The largest record of that topic, in bytes.
        source_bytes: usize,
    },
    /// A retry topic has fewer partitions than its source and could not be given more.
    #[error(
        "the retry topic {topic:?} has {partitions} partitions, but {source_topic:?} has {needed}, and it \
        could not be given as many ({reason}): events would lie in another partition than before; add them, \
        or allow this user to Alter the topic"
    )]
    TooNarrow {
        /// Its name.
        topic: String,
        /// How many partitions it has.
        partitions: i32,
        /// How many its source has.
        needed: i32,
        /// The topic whose events it is for.
        source_topic: String,
        /// What the broker said.
        reason: String,
        /// Whether the broker may say otherwise later.
        can_retry: bool,
    },
    /// A letter is not one of the handler whose letters were asked for.
    #[error(
        "the record at {topic}[{partition}] offset {offset} cannot be redriven for {handler:?}: {reason}; \
        nothing was sent ({count} such records are among those asked for)"
    )]
    Foreign {
        /// The dead-letter topic.
        topic: String,
        /// The partition of the first such record.
        partition: i32,
        /// Its offset.
        offset: i64,
        /// The handler that it was to be redriven for.
        handler: String,
        /// What is wrong with it.
        reason: String,
        /// How many there are.
        count: u64,
    },
    /// The broker has no transactions, or does not allow this one.
    #[error(
        "{bootstrap} gives no transactions to {transactional_id:?} ({reason}): redrives and outboxes need them \
        to send nothing twice; on Apache Kafka this user must be allowed to \
        write with that transactional id"
    )]
    NoTransactions {
        /// The brokers that were asked.
        bootstrap: String,
        /// Who asked.
        transactional_id: String,
        /// What the broker said.
        reason: String,
    },
    /// Another redrive of the same handler has begun.
    #[error("another redrive of {handler:?} has begun and goes on from here; nothing is sent twice")]
    Superseded {
        /// The handler.
        handler: String,
    },
    /// A redrive could not go on. What it had sent and noted stands; nothing of it is sent again.
    #[error("the redrive of {handler:?} cannot go on: {reason}")]
    Redrive {
        /// The handler.
        handler: String,
        /// Why.
        reason: String,
        /// Whether running it again may help.
        can_retry: bool,
    },
    /// A thread could not be started.
    #[error("the thread {name:?} could not be started: {reason}")]
    Thread {
        /// The thread's name.
        name: String,
        /// What the system said.
        reason: String,
    },
}

impl KafkaError {
    /// Whether the same call may succeed later without anybody changing the configuration.
    #[must_use]
    pub fn can_retry(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Thread { .. } | Self::Superseded { .. } => true,
            Self::Topic { can_retry, .. }
            | Self::Redrive { can_retry, .. }
            | Self::TooNarrow { can_retry, .. } => *can_retry,
            Self::RefusedProperty { .. }
            | Self::Property { .. }
            | Self::Client { .. }
            | Self::TooSmall { .. }
            | Self::Foreign { .. }
            | Self::NoTransactions { .. }
            | Self::MissingTopics { .. } => false,
        }
    }

    /// What the client says when it refuses a configuration, without the value.
    pub(crate) fn from_creation(bootstrap: &str, error: ClientError) -> Self {
        match error {
            ClientError::ClientConfig(_, reason, key, _) => Self::Property { key, reason },
            other => Self::Client { bootstrap: bootstrap.to_owned(), reason: other.to_string() },
        }
    }
}

/// Whether a record that failed with this code may be accepted later.
///
/// What the record itself is at fault for cannot get better. A missing topic, a missing right or a
/// broker that is away can: an operator or the broker mends it, and a record given up meanwhile would
/// be a loss. So these count as worth another attempt, which the handler's policy bounds.
pub(crate) fn publish_can_retry(code: Option<Code>) -> bool {
    !matches!(
        code,
        Some(
            Code::MessageSizeTooLarge
                | Code::InvalidMessage
                | Code::InvalidMessageSize
                | Code::MessageBatchTooLarge
                | Code::InvalidRecord
                | Code::InvalidTimestamp
                | Code::InvalidTopic
                | Code::UnsupportedForMessageFormat
                | Code::PolicyViolation
                | Code::InvalidArgument
                | Code::UnknownPartition
        )
    )
}

/// Where a record is surely written: its acknowledgement says so. One that does not is a guess of the client's, which
/// takes a record for written because a later one of its partition was, or because the broker calls it a repeat.
/// Where the partition has just got another leader, which knows nothing of the producer yet and so takes any of its
/// records first, an earlier one may be lost (librdkafka 2.12.1, `rd_kafka_dr_implicit_ack`).
pub(crate) fn written_at(result: &DeliveryResult<'_>) -> Result<i64, ClientError> {
    let offset = result.as_ref().map_err(|(error, _)| error.clone())?.offset();
    if offset >= 0 { Ok(offset) } else { Err(ClientError::MessageProduction(Code::Inconsistent)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_records_own_fault_is_final_and_the_worlds_is_not() {
        for code in [Code::MessageSizeTooLarge, Code::InvalidRecord, Code::PolicyViolation] {
            assert!(!publish_can_retry(Some(code)), "{code:?}");
        }
        for code in [
            Code::MessageTimedOut,
            Code::QueueFull,
            Code::BrokerTransportFailure,
            Code::NotEnoughReplicas,
            Code::UnknownTopicOrPartition,
            Code::TopicAuthorizationFailed,
            Code::PurgeQueue,
            Code::Fatal,
        ] {
            assert!(publish_can_retry(Some(code)), "{code:?}");
        }
        assert!(publish_can_retry(None));
    }

    #[test]
    fn missing_topics_are_named() {
        let one = KafkaError::MissingTopics { bootstrap: "b:1".into(), topics: vec!["tasks".into()] };
        assert_eq!(one.to_string(), "unknown topic at b:1: tasks; create it first");
        let two = KafkaError::MissingTopics { bootstrap: "b:1".into(), topics: vec!["a".into(), "b".into()] };
        assert_eq!(two.to_string(), "unknown topics at b:1: a, b; create them first");
        assert!(!two.can_retry());
    }

    #[test]
    fn a_refused_value_is_never_repeated() {
        let error = ClientError::ClientConfig(
            rdkafka::types::RDKafkaConfRes::RD_KAFKA_CONF_INVALID,
            "Invalid value".to_owned(),
            "sasl.password".to_owned(),
            "s3cret".to_owned(),
        );
        let told = KafkaError::from_creation("b:1", error).to_string();
        assert!(told.contains("sasl.password") && !told.contains("s3cret"), "{told}");
    }
}
