//! Records for other topics, with CloudEvents headers in binary mode. They are held by the host until
//! the handler has answered; how they leave then, the interface `producer` says.

use serde::Serialize;

use crate::bindings::keylane::handler::{producer, types};
use crate::error::Error;
use crate::record::Header;

/// A record to be produced.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a message does nothing until it is sent"]
pub struct Message {
    topic: String,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<Header>,
}

impl Message {
    /// Begins a record for this topic, without key, value and headers.
    pub fn to(topic: impl Into<String>) -> Message {
        Message { topic: topic.into(), key: None, value: None, headers: Vec::new() }
    }

    /// Sets the key, which decides the partition.
    pub fn key(mut self, key: impl Into<Vec<u8>>) -> Message {
        self.key = Some(key.into());
        self
    }

    /// Sets the value as it is. Without one the record is a tombstone.
    pub fn value(mut self, value: impl Into<Vec<u8>>) -> Message {
        self.value = Some(value.into());
        self
    }

    /// Sets the value to this body, as JSON, and says so in the header `content-type`.
    ///
    /// # Errors
    /// [`Error::Body`] if the body cannot be written as JSON.
    pub fn json(self, body: &impl Serialize) -> Result<Message, Error> {
        let value = serde_json::to_vec(body).map_err(|error| Error::Body(error.to_string()))?;
        Ok(self.header("content-type", "application/json").value(value))
    }

    /// Adds a header.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Message {
        self.headers.push(Header { name: name.into(), value: Some(value.into()) });
        self
    }

    /// Adds the headers of a CloudEvent: its type, who publishes it, and an id which, within that
    /// source, names this fact and no other. Make the id from the fact's natural key, so that a repeat
    /// is known as one.
    pub fn event(self, event_type: &str, source: &str, id: &str) -> Message {
        self.header("ce_specversion", "1.0")
            .header("ce_id", id)
            .header("ce_source", source)
            .header("ce_type", event_type)
    }

    /// Adds the time at which the fact came true, as RFC 3339.
    pub fn time(self, rfc3339: &str) -> Message {
        self.header("ce_time", rfc3339)
    }

    /// Hands the record to the host.
    ///
    /// # Errors
    /// [`Error::NotGranted`] if the manifest grants no such topic, [`Error::Limit`] if the record is
    /// too large or one too many.
    pub fn send(self) -> Result<(), Error> {
        Ok(producer::send(&self.into())?)
    }
}

impl From<Message> for producer::Message {
    fn from(message: Message) -> producer::Message {
        producer::Message {
            topic: message.topic,
            key: message.key,
            value: message.value,
            headers: message
                .headers
                .into_iter()
                .map(|header| types::Header { name: header.name, value: header.value })
                .collect(),
        }
    }
}
