//! The position of an outbox, as it lies in Kafka: a record for each database, in a compacted topic. A record
//! that cannot be understood is an error, never "nothing sent yet".

use bytes::Bytes;
use keylane_effects::{Position, SendError};
use serde::{Deserialize, Serialize};

/// The topic, of one partition.
pub(super) const POSITION_TOPIC: &str = "_keylane.relay";
/// The only form there is.
const VERSION: u32 = 1;

/// Whose record it is. Written as it stands here, since compaction compares bytes.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Key {
    /// The database's identity.
    database: String,
    /// A mark that a takeover begins with, no position.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    mark: bool,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Value {
    version: u32,
    numbering: i64,
    batch: i64,
}

/// Key and value of the position.
pub(super) fn record(database: &str, position: Position) -> Result<(Bytes, Bytes), SendError> {
    let value = Value { version: VERSION, numbering: position.numbering, batch: position.batch };
    Ok((json(&Key { database: database.to_owned(), mark: false })?, json(&value)?))
}

/// Key and value of the mark that a takeover begins with.
pub(super) fn mark(database: &str) -> Result<(Bytes, Bytes), SendError> {
    Ok((json(&Key { database: database.to_owned(), mark: true })?, json(&VERSION)?))
}

/// Whether a key is that of this database's position.
pub(super) fn is_of(key: &[u8], database: &str) -> bool {
    serde_json::from_slice::<Key>(key).is_ok_and(|key| key.database == database && !key.mark)
}

/// The position in a record's value.
pub(super) fn position_in(value: &[u8], offset: i64) -> Result<Position, SendError> {
    let read = serde_json::from_slice::<Value>(value).map_err(|error| error.to_string());
    let read = read.and_then(|value| match value {
        Value { version: VERSION, batch: 0.., .. } => Ok(value),
        Value { version: VERSION, batch, .. } => Err(format!("there is no batch {batch}")),
        Value { version, .. } => Err(format!("version {version} is not known here")),
    });
    let unclear = |reason: String| {
        SendError::Failed(format!(
            "the record at {POSITION_TOPIC}[0] offset {offset}, which says how far the outbox has been sent, is not \
             understood: {reason}"
        ))
    };
    read.map(|value| Position { numbering: value.numbering, batch: value.batch }).map_err(unclear)
}

fn json(value: &impl Serialize) -> Result<Bytes, SendError> {
    serde_json::to_vec(value).map(Bytes::from).map_err(|error| SendError::Failed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_form_is_fixed() {
        let (key, value) = record("abc", Position { numbering: -5, batch: 7 }).unwrap();
        assert_eq!(key, r#"{"database":"abc"}"#);
        assert_eq!(value, r#"{"version":1,"numbering":-5,"batch":7}"#);
        let (key, _) = mark("abc").unwrap();
        assert_eq!(key, r#"{"database":"abc","mark":true}"#);
        assert!(!is_of(&key, "abc"), "a mark is no position");
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        for wrong in [
            "",
            "{}",
            r#"{"version":2,"numbering":1,"batch":1}"#,
            r#"{"version":1,"numbering":1,"batch":-1}"#,
        ] {
            let error = position_in(wrong.as_bytes(), 12).unwrap_err().to_string();
            assert!(error.contains("offset 12"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(numbering: i64, batch in 0..i64::MAX, one in "[0-9a-f]{4}", other in "[0-9a-f]{4}") {
            let position = Position { numbering, batch };
            let (key, value) = record(&one, position).unwrap();
            prop_assert_eq!(position_in(&value, 0), Ok(position));
            prop_assert_eq!(is_of(&key, &other), one == other);
        }

        #[test]
        fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = (is_of(&bytes, "abc"), position_in(&bytes, 0));
        }
    }
}
