//! A dead letter as it lies in its topic.

use std::collections::BTreeSet;

use bytes::Bytes;
use keylane_engine::{Header, TopicPartition};
use rdkafka::Message;
use rdkafka::message::BorrowedMessage;

use super::Dlq;
use super::filter::{LetterFilter, LetterPlace};
use super::reader::{Bounds, Reader};
use crate::dead_letters::Story;
use crate::error::KafkaError;
use crate::native::event_of;

/// A record in a dead-letter topic. Whether it is a letter its headers tell: see [`Story`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// The dead-letter topic.
    pub topic: String,
    /// The partition of it.
    pub partition: i32,
    /// The offset in that.
    pub offset: i64,
    /// When it was buried, in milliseconds since the Unix epoch.
    pub timestamp_ms: Option<i64>,
    /// The key of the event.
    pub key: Option<Bytes>,
    /// The value of the event.
    pub value: Option<Bytes>,
    /// The headers of the event, and behind them those that say why it is here.
    pub headers: Vec<Header>,
}

impl Letter {
    pub(crate) fn of(message: &BorrowedMessage<'_>) -> Self {
        let source = TopicPartition { topic: message.topic().into(), partition: message.partition() };
        let event = event_of(&source, message);
        Self {
            topic: message.topic().to_owned(),
            partition: source.partition,
            offset: event.offset,
            timestamp_ms: event.timestamp.map(|timestamp| timestamp.at_ms),
            key: event.key,
            value: event.value,
            headers: event.headers,
        }
    }

    /// What it says of itself.
    #[must_use]
    pub fn story(&self) -> Story {
        Story::read(&self.headers)
    }

    /// What it weighs in memory, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let length = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        let headers: usize =
            self.headers.iter().map(|header| header.name.len() + length(&header.value)).sum();
        length(&self.key) + length(&self.value) + headers
    }
}

/// The newest letters that pass. Never holds more than that of one topic and one letter.
pub(super) fn newest(dlq: &Dlq, filter: &LetterFilter, newest: usize) -> Result<Vec<Letter>, KafkaError> {
    let reader = Reader::new(&dlq.kafka)?;
    let mut found: BTreeSet<Aged> = BTreeSet::new();
    for topic in &dlq.topics {
        for partition in reader.partitions(topic)? {
            let Bounds { low, end } = reader.bounds(topic, partition)?;
            let here = |place: &&LetterPlace| place.topic == *topic && place.partition == partition;
            let wanted = filter.places.iter().filter(here).map(|place| place.offset);
            // Single letters are read from where they lie, not from the beginning.
            let (low, end) = match (wanted.clone().min(), wanted.max()) {
                (Some(first), Some(last)) => (low.max(first), end.min(last.saturating_add(1))),
                _ if !filter.places.is_empty() => continue,
                _ => (low, end),
            };
            let mut reading = reader.open(topic, partition, low..end)?;
            while let Some(letter) = reading.next()? {
                if filter.passes(&letter, &letter.story()) {
                    found.insert(Aged(letter));
                    if found.len() > newest {
                        found.pop_first();
                    }
                }
            }
        }
    }
    Ok(found.into_iter().map(|Aged(letter)| letter).collect())
}

/// Ordered by when it was buried.
#[derive(PartialEq, Eq)]
struct Aged(Letter);

impl Aged {
    fn place(&self) -> (Option<i64>, &str, i32, i64) {
        let Self(letter) = self;
        (letter.timestamp_ms, &letter.topic, letter.partition, letter.offset)
    }
}

impl Ord for Aged {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.place().cmp(&other.place())
    }
}

impl PartialOrd for Aged {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
