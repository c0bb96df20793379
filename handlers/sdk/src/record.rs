//! The record that an event came in: where it lay, its bytes, and what identifies it.

use crate::bindings::keylane::handler::types;

/// A record header. Names may repeat; a missing value is not the same as an empty one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The header's name.
    pub name: String,
    /// Its value, if it has one.
    pub value: Option<Vec<u8>>,
}

/// Who set a record's timestamp.
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

/// A Kafka record as a handler sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The topic's name.
    pub topic: String,
    /// The partition's number, from 0.
    pub partition: i32,
    /// The record's offset in its partition.
    pub offset: i64,
    /// None for records of the oldest message format.
    pub timestamp: Option<Timestamp>,
    /// The key. Records of one key come one at a time and in offset order.
    pub key: Option<Vec<u8>>,
    /// The value; none is a tombstone.
    pub value: Option<Vec<u8>>,
    /// In the record's own order.
    pub headers: Vec<Header>,
    /// 1 the first time this event is handled, one more after each failure.
    pub attempt: u32,
}

impl Record {
    /// The key as text; none if there is no key, or if it is not UTF-8.
    #[must_use]
    pub fn key_str(&self) -> Option<&str> {
        std::str::from_utf8(self.key.as_deref()?).ok()
    }

    /// The value of the first header of this name that has one.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().filter(|header| header.name == name).find_map(|header| header.value.as_deref())
    }

    /// The same as text; none if it is not UTF-8.
    #[must_use]
    pub fn header_str(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.header(name)?).ok()
    }

    /// What identifies the fact that this record tells: `ce_source` and `ce_id`, which stay the same
    /// when a publisher tells it twice. If it does not carry both: where the record lies.
    #[must_use]
    pub fn identity(&self) -> String {
        match (self.header_str("ce_source"), self.header_str("ce_id")) {
            (Some(source), Some(id)) if !id.is_empty() => format!("{source}#{id}"),
            _ => format!("{}/{}/{}", self.topic, self.partition, self.offset),
        }
    }

    /// Where the record lies, for messages.
    pub(crate) fn place(&self) -> String {
        format!("{}[{}] at offset {}", self.topic, self.partition, self.offset)
    }
}

impl From<types::Event> for Record {
    fn from(event: types::Event) -> Record {
        Record {
            topic: event.topic,
            partition: event.partition,
            offset: event.offset,
            timestamp: event.timestamp.map(Timestamp::from),
            key: event.key,
            value: event.value,
            headers: event
                .headers
                .into_iter()
                .map(|header| Header { name: header.name, value: header.value })
                .collect(),
            attempt: event.attempt,
        }
    }
}

impl From<types::Timestamp> for Timestamp {
    fn from(timestamp: types::Timestamp) -> Timestamp {
        let kind = match timestamp.kind {
            types::TimestampKind::CreateTime => TimestampKind::CreateTime,
            types::TimestampKind::LogAppendTime => TimestampKind::LogAppendTime,
        };
        Timestamp { at_ms: timestamp.at_ms, kind }
    }
}
