//! A letter's story: the `keylane-*` headers, written and read.
//!
//! Reading takes any bytes: whoever may write to a topic may write anything. What is missing or is not
//! what it should be is simply not known.

use bytes::Bytes;
use keylane_engine::{Event, Header, TimestampKind};

/// The first header of a story. What the record itself brought stands before it.
pub(super) const BEGINS: &str = "keylane-origin-topic";
const PARTITION: &str = "keylane-origin-partition";
const OFFSET: &str = "keylane-origin-offset";
const TIMESTAMP: &str = "keylane-origin-timestamp";
const TIMESTAMP_KIND: &str = "keylane-origin-timestamp-type";
const HANDLER: &str = "keylane-handler";
const REVISION: &str = "keylane-revision";
const ATTEMPTS: &str = "keylane-attempts";
const FIRST_FAILURE: &str = "keylane-first-failure";
const CLASS: &str = "keylane-error-class";
const ERROR: &str = "keylane-error";
const REDRIVES: &str = "keylane-redrives";

/// Every header of a story.
pub(super) const NAMES: [&str; 12] = [
    BEGINS,
    PARTITION,
    OFFSET,
    TIMESTAMP,
    TIMESTAMP_KIND,
    HANDLER,
    REVISION,
    ATTEMPTS,
    FIRST_FAILURE,
    CLASS,
    ERROR,
    REDRIVES,
];

/// Where an event first came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The topic.
    pub topic: String,
    /// The partition, from 0.
    pub partition: i32,
    /// The offset in it.
    pub offset: i64,
    /// When the record was made, in milliseconds since the Unix epoch, and who said so.
    pub timestamp: Option<(i64, Option<TimestampKind>)>,
}

impl Origin {
    pub(super) fn of(event: &Event) -> Self {
        Self {
            topic: event.source.topic.to_string(),
            partition: event.source.partition,
            offset: event.offset,
            timestamp: event.timestamp.map(|timestamp| (timestamp.at_ms, Some(timestamp.kind))),
        }
    }
}

/// What a letter says of itself. Each part is missing where the headers do not tell it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Story {
    /// Where the event first came from.
    pub origin: Option<Origin>,
    /// The handler that could not handle it.
    pub handler: Option<String>,
    /// That handler's revision.
    pub revision: Option<String>,
    /// Attempts made since it was last read.
    pub attempts: Option<u32>,
    /// When the very first attempt failed, in milliseconds since the Unix epoch.
    pub first_failure_ms: Option<i64>,
    /// The class of the last failure, see
    /// [`FailureClass::name`](keylane_engine::FailureClass::name).
    pub class: Option<String>,
    /// The last failure's reason, capped.
    pub error: Option<String>,
    /// How often it has been redriven.
    pub redrives: u32,
}

impl Story {
    /// Reads the story from a record's headers. Where a name repeats, the last one counts: it is ours.
    #[must_use]
    pub fn read(headers: &[Header]) -> Self {
        let text = |name: &str| {
            let header = headers.iter().rev().find(|header| header.name == name)?;
            std::str::from_utf8(header.value.as_deref()?).ok()
        };
        let owned = |name: &str| text(name).map(str::to_owned);
        Self {
            origin: origin(text),
            handler: owned(HANDLER),
            revision: owned(REVISION),
            attempts: text(ATTEMPTS).and_then(|number| number.parse().ok()),
            first_failure_ms: text(FIRST_FAILURE).and_then(|number| number.parse().ok()),
            class: owned(CLASS),
            error: owned(ERROR),
            redrives: text(REDRIVES).and_then(|number| number.parse().ok()).unwrap_or(0),
        }
    }

    /// The headers that tell it. Those of a letter begin with where it came from.
    #[must_use]
    pub fn headers(&self) -> Vec<Header> {
        let mut headers = Vec::with_capacity(NAMES.len());
        let mut add = |name: &str, value: Option<String>| {
            headers.extend(value.map(|value| text_header(name, value)));
        };
        if let Some(origin) = &self.origin {
            add(BEGINS, Some(origin.topic.clone()));
            add(PARTITION, Some(origin.partition.to_string()));
            add(OFFSET, Some(origin.offset.to_string()));
            if let Some((at_ms, kind)) = origin.timestamp {
                add(TIMESTAMP, Some(at_ms.to_string()));
                add(TIMESTAMP_KIND, kind.map(|kind| kind_name(kind).to_owned()));
            }
        }
        add(HANDLER, self.handler.clone());
        add(REVISION, self.revision.clone());
        add(ATTEMPTS, self.attempts.map(|attempts| attempts.to_string()));
        add(FIRST_FAILURE, self.first_failure_ms.map(|at_ms| at_ms.to_string()));
        add(CLASS, self.class.clone());
        add(ERROR, self.error.clone());
        add(REDRIVES, (self.redrives > 0).then(|| self.redrives.to_string()));
        headers
    }
}

fn origin<'a>(text: impl Fn(&str) -> Option<&'a str>) -> Option<Origin> {
    let at_ms = text(TIMESTAMP).and_then(|number| number.parse().ok());
    let kind = text(TIMESTAMP_KIND).and_then(kind_of);
    Some(Origin {
        topic: text(BEGINS).filter(|topic| !topic.is_empty())?.to_owned(),
        partition: text(PARTITION)?.parse().ok().filter(|partition| *partition >= 0)?,
        offset: text(OFFSET)?.parse().ok().filter(|offset| *offset >= 0)?,
        timestamp: at_ms.map(|at_ms| (at_ms, kind)),
    })
}

/// Kafka's own name, as its clients print it.
pub(super) fn kind_name(kind: TimestampKind) -> &'static str {
    match kind {
        TimestampKind::CreateTime => "CreateTime",
        TimestampKind::LogAppendTime => "LogAppendTime",
    }
}

fn kind_of(name: &str) -> Option<TimestampKind> {
    [TimestampKind::CreateTime, TimestampKind::LogAppendTime]
        .into_iter()
        .find(|kind| kind_name(*kind) == name)
}

/// A header with a text.
pub(crate) fn text_header(name: &str, value: impl Into<String>) -> Header {
    Header { name: name.to_owned(), value: Some(Bytes::from(value.into())) }
}
