//! Fixtures of this crate's tests.

use bytes::Bytes;

use crate::event::{Event, Header, TopicPartition};

/// An event with this key.
pub(crate) fn event(offset: i64, key: &str) -> Event {
    Event {
        source: TopicPartition { topic: "tasks".into(), partition: 0 },
        offset,
        timestamp: None,
        key: Some(Bytes::copy_from_slice(key.as_bytes())),
        value: Some(Bytes::from_static(b"{}")),
        headers: Vec::new(),
    }
}

impl Event {
    /// The same event with a type in its `ce_type` header.
    pub(crate) fn typed(mut self, name: &str) -> Self {
        let value = Some(Bytes::copy_from_slice(name.as_bytes()));
        self.headers.push(Header { name: "ce_type".to_owned(), value });
        self
    }
}
