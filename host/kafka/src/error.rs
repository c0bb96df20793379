//! What can go wrong with Kafka, where it came from, and whether trying again can help.

use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode as Code};

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
            Self::Unreachable { .. } | Self::Thread { .. } => true,
            Self::Topic { can_retry, .. } => *can_retry,
            Self::RefusedProperty { .. }
            | Self::Property { .. }
            | Self::Client { .. }
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
