//! An event: a Kafka record as the rest of the host sees it, with no vendor's type in it.

use std::sync::Arc;

use bytes::Bytes;

/// One partition of one topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// The topic's name; shared, since every event of a partition carries it.
    pub topic: Arc<str>,
    /// The partition's number, from 0.
    pub partition: i32,
}

impl std::fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}[{}]", self.topic, self.partition)
    }
}

/// Who set an event's timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampKind {
    /// The producer, when it made the record.
    CreateTime,
    /// The broker, when it appended the record.
    LogAppendTime,
}

/// When a record was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timestamp {
    /// Milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// Who set it.
    pub kind: TimestampKind,
}

/// A record header. Names may repeat; a missing value is not the same as an empty one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The header's name.
    pub name: String,
    /// Its value, if it has one.
    pub value: Option<Bytes>,
}

impl Header {
    /// What it takes in memory, in bytes.
    pub(crate) fn weight_bytes(&self) -> usize {
        const BOOKKEEPING_BYTES: usize = 48;
        BOOKKEEPING_BYTES + self.name.len() + self.value.as_ref().map_or(0, Bytes::len)
    }
}

/// A record as it came from its topic. Key, value and headers are the record's own bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Where the record lies.
    pub source: TopicPartition,
    /// Its offset in that partition.
    pub offset: i64,
    /// None for records of the oldest message format.
    pub timestamp: Option<Timestamp>,
    /// The key, if the record has one.
    pub key: Option<Bytes>,
    /// The value; none is a tombstone.
    pub value: Option<Bytes>,
    /// In the record's own order.
    pub headers: Vec<Header>,
}

impl Event {
    /// What this event weighs in a buffer, in bytes: its contents and a flat charge for bookkeeping.
    #[must_use]
    pub fn weight_bytes(&self) -> usize {
        const BOOKKEEPING_BYTES: usize = 200;
        let body = self.key.as_ref().map_or(0, Bytes::len) + self.value.as_ref().map_or(0, Bytes::len);
        let headers: usize = self.headers.iter().map(Header::weight_bytes).sum();
        BOOKKEEPING_BYTES + body + headers
    }

    /// The value of the first header of this name, if there is one with a value.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&Bytes> {
        self.headers.iter().find(|header| header.name == name)?.value.as_ref()
    }
}
