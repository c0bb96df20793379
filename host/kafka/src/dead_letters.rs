//! Dead letters: key, value and headers byte for byte, and why they are here in headers of their own.

use bytes::Bytes;
use keylane_engine::{DeadLetter, DeadLetters, Header, OutgoingRecord, PublishError, Publisher};

use crate::publisher::KafkaPublisher;

/// The longest error text in a dead letter's header, in bytes.
const ERROR_LIMIT_BYTES: usize = 1024;

/// Where a handler's dead letters of a topic go.
#[must_use]
pub fn dead_letter_topic(topic: &str, handler: &str) -> String {
    format!("{topic}.{handler}.dlq")
}

/// Writes one handler's dead letters.
#[derive(Clone)]
pub struct KafkaDeadLetters {
    publisher: KafkaPublisher,
    handler: String,
    revision: String,
}

impl KafkaDeadLetters {
    /// Dead letters of this handler and revision. Their topics should exist: see
    /// [`Admin::ensure_dead_letter_topics`](crate::Admin::ensure_dead_letter_topics).
    #[must_use]
    pub fn new(publisher: KafkaPublisher, handler: impl Into<String>, revision: impl Into<String>) -> Self {
        Self { publisher, handler: handler.into(), revision: revision.into() }
    }
}

impl DeadLetters for KafkaDeadLetters {
    async fn bury(&self, letter: DeadLetter) -> Result<(), PublishError> {
        let record = record_of(&letter, &self.handler, &self.revision);
        self.publisher.publish(record).await?.await
    }
}

fn record_of(letter: &DeadLetter, handler: &str, revision: &str) -> OutgoingRecord {
    let event = &letter.event;
    let mut headers = event.headers.clone();
    let mut add = |name: &str, value: String| {
        headers.push(Header { name: name.to_owned(), value: Some(Bytes::from(value)) });
    };
    add("keylane-origin-topic", event.source.topic.to_string());
    add("keylane-origin-partition", event.source.partition.to_string());
    add("keylane-origin-offset", event.offset.to_string());
    if let Some(timestamp) = event.timestamp {
        add("keylane-origin-timestamp", timestamp.at_ms.to_string());
    }
    add("keylane-handler", handler.to_owned());
    add("keylane-revision", revision.to_owned());
    add("keylane-attempts", letter.attempts.to_string());
    add("keylane-first-failure", letter.first_failure_ms.to_string());
    add("keylane-error-class", letter.class.name().to_owned());
    add("keylane-error", capped(&letter.reason).to_owned());
    OutgoingRecord {
        topic: dead_letter_topic(&event.source.topic, handler),
        key: event.key.clone(),
        value: event.value.clone(),
        headers,
    }
}

/// The text up to the limit, cut between two characters.
fn capped(text: &str) -> &str {
    let end = text.floor_char_boundary(ERROR_LIMIT_BYTES);
    text.get(..end).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use keylane_engine::{Event, FailureClass, Timestamp, TimestampKind, TopicPartition};

    use super::*;

    fn letter(reason: &str) -> DeadLetter {
        let event = Event {
            source: TopicPartition { topic: "tasks".into(), partition: 3 },
            offset: 41,
            timestamp: Some(Timestamp { at_ms: 1_700_000_000_000, kind: TimestampKind::CreateTime }),
            key: Some(Bytes::from_static(b"\xff\x00")),
            value: None,
            headers: vec![
                Header { name: "a".to_owned(), value: None },
                Header { name: "a".to_owned(), value: Some(Bytes::new()) },
            ],
        };
        DeadLetter {
            event: Arc::new(event),
            attempts: 8,
            class: FailureClass::Trap,
            reason: reason.to_owned(),
            first_failure_ms: 1_700_000_000_500,
        }
    }

    #[test]
    fn a_letter_is_the_record_and_its_story() {
        let letter = letter("unreachable");
        let record = record_of(&letter, "accounting", "r7");
        assert_eq!(record.topic, "tasks.accounting.dlq");
        assert_eq!((&record.key, &record.value), (&letter.event.key, &letter.event.value));
        let (original, added) = record.headers.split_at(2);
        assert_eq!(original, &letter.event.headers[..]);
        let added: Vec<(&str, &[u8])> =
            added.iter().map(|header| (header.name.as_str(), header.value.as_deref().unwrap())).collect();
        assert_eq!(
            added,
            [
                ("keylane-origin-topic", &b"tasks"[..]),
                ("keylane-origin-partition", b"3"),
                ("keylane-origin-offset", b"41"),
                ("keylane-origin-timestamp", b"1700000000000"),
                ("keylane-handler", b"accounting"),
                ("keylane-revision", b"r7"),
                ("keylane-attempts", b"8"),
                ("keylane-first-failure", b"1700000000500"),
                ("keylane-error-class", b"trap"),
                ("keylane-error", b"unreachable"),
            ]
        );
    }

    #[test]
    fn a_long_error_is_cut_between_characters() {
        let long = "ä".repeat(ERROR_LIMIT_BYTES);
        let cut = capped(&long);
        assert!(cut.len() <= ERROR_LIMIT_BYTES && cut.len() > ERROR_LIMIT_BYTES - 2);
        assert_eq!(capped("short"), "short");
        let odd = format!("a{long}");
        assert_eq!(capped(&odd).len(), ERROR_LIMIT_BYTES - 1);
    }
}
