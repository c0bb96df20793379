//! Header profiles: a letter's story in the words of another system, for tools that know those.

use bytes::Bytes;
use keylane_engine::{FailureClass, Header};

use super::story::{Story, kind_name};

/// What Spring prints for a record without a timestamp.
const NO_TIMESTAMP_TYPE: &str = "NoTimestampType";
/// The timestamp of a record that has none, as Kafka's own clients answer it.
const NO_TIMESTAMP: i64 = -1;
/// Connect's name of the step at which a sink's own code gets the record.
const STAGE: &str = "TASK_PUT";
/// Connect names the class that was executing; ours is no class.
const EXECUTING_CLASS: &str = "keylane.handler";
/// Connect numbers a connector's tasks. A handler has none.
const TASK_ID: &str = "0";

/// Headers of a dead letter beside keylane's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HeaderProfile {
    /// None.
    #[default]
    Keylane,
    /// As Spring for Apache Kafka's `DeadLetterPublishingRecoverer` writes them: numbers are big-endian
    /// integers of 4 (partition) and 8 bytes (offset, timestamp), texts are UTF-8.
    Spring,
    /// As Kafka Connect writes them for a sink with context headers: all are texts (KIP-298).
    Connect,
}

const SPRING: [&str; 8] = [
    "kafka_dlt-original-topic",
    "kafka_dlt-original-partition",
    "kafka_dlt-original-offset",
    "kafka_dlt-original-timestamp",
    "kafka_dlt-original-timestamp-type",
    "kafka_dlt-original-consumer-group",
    "kafka_dlt-exception-fqcn",
    "kafka_dlt-exception-message",
];

const CONNECT: [&str; 9] = [
    "__connect.errors.topic",
    "__connect.errors.partition",
    "__connect.errors.offset",
    "__connect.errors.connector.name",
    "__connect.errors.task.id",
    "__connect.errors.stage",
    "__connect.errors.class.name",
    "__connect.errors.exception.class.name",
    "__connect.errors.exception.message",
];

impl HeaderProfile {
    fn names(self) -> &'static [&'static str] {
        match self {
            Self::Keylane => &[],
            Self::Spring => &SPRING,
            Self::Connect => &CONNECT,
        }
    }

    /// Whether this profile writes a header of this name.
    pub(super) fn writes(self, name: &str) -> bool {
        self.names().contains(&name)
    }

    /// Whether any profile does.
    pub(super) fn any_writes(name: &str) -> bool {
        SPRING.contains(&name) || CONNECT.contains(&name)
    }

    /// The headers for a letter with this story.
    pub(super) fn headers(self, story: &Story, class: FailureClass, group: &str) -> Vec<Header> {
        let values = match self {
            Self::Keylane => Vec::new(),
            Self::Spring => spring(story, class, group),
            Self::Connect => connect(story, class, group),
        };
        let header = |(name, value): (&&str, Bytes)| Header { name: (*name).to_owned(), value: Some(value) };
        self.names().iter().zip(values).map(header).collect()
    }
}

/// In the order of [`SPRING`].
fn spring(story: &Story, class: FailureClass, group: &str) -> Vec<Bytes> {
    let Some(origin) = &story.origin else { return Vec::new() };
    let (at_ms, kind) = origin.timestamp.unwrap_or((NO_TIMESTAMP, None));
    vec![
        text(&origin.topic),
        Bytes::copy_from_slice(&origin.partition.to_be_bytes()),
        Bytes::copy_from_slice(&origin.offset.to_be_bytes()),
        Bytes::copy_from_slice(&at_ms.to_be_bytes()),
        text(kind.map_or(NO_TIMESTAMP_TYPE, kind_name)),
        text(group),
        text(&exception(class)),
        text(story.error.as_deref().unwrap_or_default()),
    ]
}

/// In the order of [`CONNECT`].
fn connect(story: &Story, class: FailureClass, group: &str) -> Vec<Bytes> {
    let Some(origin) = &story.origin else { return Vec::new() };
    vec![
        text(&origin.topic),
        text(&origin.partition.to_string()),
        text(&origin.offset.to_string()),
        text(group),
        text(TASK_ID),
        text(STAGE),
        text(EXECUTING_CLASS),
        text(&exception(class)),
        text(story.error.as_deref().unwrap_or_default()),
    ]
}

fn text(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// A failure class where the other systems have the name of a Java class, such as
/// `keylane.failure.Reject`: tools route by it.
fn exception(class: FailureClass) -> String {
    let name = class.name();
    let (first, rest) = name.split_at_checked(1).unwrap_or((name, ""));
    format!("keylane.failure.{}{rest}", first.to_ascii_uppercase())
}
