//! How outputs are written into outbox rows and read back.
//!
//! A record's row has topic, key and value as they will be in Kafka; a mail's has its sender as topic, its
//! Message-ID as key and the message as value. The rest stands in `headers`, as JSON in UTF-8: a list of
//! pairs, in order, names may repeat. A value is a string where its bytes are UTF-8, `null` where there is
//! none, and else `{"base64": "..."}`:
//!
//! ```json
//! [["ce_type", "payout.due"], ["trace", null], ["raw", {"base64": "/wA="}]]
//! ```
//!
//! So other tools can read the table: `OUTBOX.md`, beside this crate's sources, says how Debezium's outbox
//! router does.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use keylane_engine::{Header, OutgoingRecord};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::database::{OutboxKind, OutboxRow};

/// The names under which a mail's row keeps its envelope.
const MESSAGE_ID: &str = "message-id";
const FROM: &str = "from";
const TO: &str = "to";

/// A mail that waits for its run's commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Its Message-ID, the same for each attempt, without angle brackets.
    pub message_id: String,
    /// The envelope's sender.
    pub from: String,
    /// The envelope's recipients.
    pub to: Vec<String>,
    /// The message with its headers, as RFC 5322 has it.
    pub message: Vec<u8>,
}

/// An outbox row that is not what this host writes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the outbox row of offset {offset}, output {ordinal}, cannot be read: {reason}")]
pub struct UnreadableRow {
    /// The offset of the event that made it.
    pub offset: i64,
    /// Which of the event's outputs.
    pub ordinal: i32,
    /// What is wrong with it.
    pub reason: String,
}

/// One value as JSON has it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Encoded {
    Text(String),
    Binary { base64: String },
}

/// The row of a record.
#[must_use]
pub fn record_row(offset: i64, ordinal: i32, record: &OutgoingRecord) -> OutboxRow {
    let pairs = record.headers.iter().map(|header| (header.name.as_str(), header.value.as_deref()));
    OutboxRow {
        event_offset: offset,
        ordinal,
        kind: OutboxKind::Record,
        topic: record.topic.clone(),
        key: record.key.as_ref().map(|bytes| bytes.to_vec()),
        value: record.value.as_ref().map(|bytes| bytes.to_vec()),
        headers: encode(pairs),
    }
}

/// The record of a row.
///
/// # Errors
/// When the row is a mail's, or its headers are not as written here.
pub fn record_of(row: &OutboxRow) -> Result<OutgoingRecord, UnreadableRow> {
    let headers = headers_of(row, OutboxKind::Record)?;
    let header = |(name, value): (String, Option<Vec<u8>>)| Header { name, value: value.map(Bytes::from) };
    Ok(OutgoingRecord {
        topic: row.topic.clone(),
        key: row.key.clone().map(Bytes::from),
        value: row.value.clone().map(Bytes::from),
        headers: headers.into_iter().map(header).collect(),
    })
}

/// The row of a mail.
#[must_use]
pub fn mail_row(offset: i64, ordinal: i32, letter: &Letter) -> OutboxRow {
    let to = letter.to.iter().map(|one| (TO, one));
    let pairs = [(MESSAGE_ID, &letter.message_id), (FROM, &letter.from)].into_iter().chain(to);
    OutboxRow {
        event_offset: offset,
        ordinal,
        kind: OutboxKind::Mail,
        topic: letter.from.clone(),
        key: Some(letter.message_id.clone().into_bytes()),
        value: Some(letter.message.clone()),
        headers: encode(pairs.map(|(name, value)| (name, Some(value.as_bytes())))),
    }
}

/// The mail of a row.
///
/// # Errors
/// When the row is a record's, or its envelope is not as written here.
pub fn letter_of(row: &OutboxRow) -> Result<Letter, UnreadableRow> {
    let mut letter = Letter {
        message_id: String::new(),
        from: String::new(),
        to: Vec::new(),
        message: row.value.clone().unwrap_or_default(),
    };
    for (name, value) in headers_of(row, OutboxKind::Mail)? {
        let text = value.and_then(|bytes| String::from_utf8(bytes).ok());
        let text = text.ok_or_else(|| unreadable(row, format!("{name:?} of its envelope is no text")))?;
        match name.as_str() {
            MESSAGE_ID => letter.message_id = text,
            FROM => letter.from = text,
            TO => letter.to.push(text),
            _ => return Err(unreadable(row, format!("its envelope has an unknown part {name:?}"))),
        }
    }
    if letter.message_id.is_empty() || letter.from.is_empty() || letter.to.is_empty() {
        return Err(unreadable(
            row,
            "its envelope names no sender, no recipient or no Message-ID".to_owned(),
        ));
    }
    Ok(letter)
}

fn encode<'a>(pairs: impl Iterator<Item = (&'a str, Option<&'a [u8]>)>) -> Vec<u8> {
    let value = |bytes: &[u8]| match std::str::from_utf8(bytes) {
        Ok(text) => Value::from(text),
        Err(_) => json!({ "base64": STANDARD.encode(bytes) }),
    };
    let pairs = pairs.map(|(name, bytes)| json!([name, bytes.map(value)]));
    Value::Array(pairs.collect()).to_string().into_bytes()
}

/// Names and values.
type Headers = Vec<(String, Option<Vec<u8>>)>;

fn headers_of(row: &OutboxRow, kind: OutboxKind) -> Result<Headers, UnreadableRow> {
    if row.kind != kind {
        return Err(unreadable(row, format!("it is of kind {:?}, not {kind:?}", row.kind)));
    }
    let pairs = serde_json::from_slice::<Vec<(String, Option<Encoded>)>>(&row.headers);
    let pairs =
        pairs.map_err(|error| unreadable(row, format!("its headers are not as expected: {error}")))?;
    let decode = |(name, value)| match value {
        None => Ok((name, None)),
        Some(Encoded::Text(text)) => Ok((name, Some(text.into_bytes()))),
        Some(Encoded::Binary { base64 }) => match STANDARD.decode(base64) {
            Ok(bytes) => Ok((name, Some(bytes))),
            Err(error) => Err(unreadable(row, format!("the header {name:?} is no base64: {error}"))),
        },
    };
    pairs.into_iter().map(decode).collect()
}

fn unreadable(row: &OutboxRow, reason: String) -> UnreadableRow {
    UnreadableRow { offset: row.event_offset, ordinal: row.ordinal, reason }
}

#[cfg(test)]
mod tests;
