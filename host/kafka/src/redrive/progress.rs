//! The progress of redrives: a record for each partition of a dead-letter topic, in a compacted topic.
//!
//! It is written in the same transaction as the records it speaks of, and is the only truth: a redrive reads
//! it anew each time. So a record that cannot be understood is an error, never "nothing done yet". Whoever
//! really wants letters to be sent again writes a tombstone for its key.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::done::Done;
use crate::dlq::{Reader, latest};
use crate::error::KafkaError;

/// The topic, of one partition.
pub(crate) const PROGRESS_TOPIC: &str = "_keylane.redrive";
/// The only form there is.
const VERSION: u32 = 1;
/// The most ranges that a record may hold. Each stands between letters that were left out. Below what fits
/// into a record of Kafka's default size, at 42 bytes for a range.
pub(crate) const RANGES_MAX: usize = 20_000;

/// Whose progress a record is. Written as it stands here, since compaction compares bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Key {
    fleet: String,
    handler: String,
    /// The id of the dead-letter topic. Without it: the mark that a redrive begins with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    topic: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    partition: Option<i32>,
}

/// What is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Value {
    version: u32,
    /// The dead-letter topic's name, for people.
    name: String,
    /// Letters below this offset are done.
    below: i64,
    /// Further ones: from an offset, up to but without another.
    done: Vec<(i64, i64)>,
}

/// What one handler's redrives have done.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    partitions: BTreeMap<(String, i32), Done>,
}

impl Progress {
    /// Reads it, up to and with an offset of the topic, or as far as can be read now.
    ///
    /// A topic that does not exist means that nothing was ever redriven, but not behind an offset of it:
    /// then it is the broker that answers which does not know, or the topic was deleted just now.
    pub(crate) fn read(
        reader: &Reader,
        fleet: &str,
        handler: &str,
        last: Option<i64>,
    ) -> Result<Self, KafkaError> {
        match (reader.find(PROGRESS_TOPIC)?, last) {
            (Some(_), _) => {}
            (None, None) => return Ok(Self::default()),
            (None, Some(offset)) => {
                let reason = format!(
                    "the broker has just written {PROGRESS_TOPIC}[0] offset {offset} and now knows no such \
                     topic, so what was redriven already is not known; try again"
                );
                return Err(KafkaError::Redrive { handler: handler.to_owned(), reason, can_retry: true });
            }
        }
        let ours = |key: &[u8]| key_of(key).is_some_and(|key| key.fleet == fleet && key.handler == handler);
        let mut progress = Self::default();
        for (key, record) in latest(reader, PROGRESS_TOPIC, last, ours)? {
            let Some(Key { topic: Some(topic), partition: Some(partition), .. }) = key_of(&key) else {
                continue;
            };
            let done = done_of(record.value.as_deref().unwrap_or_default()).map_err(|reason| {
                let offset = record.offset;
                let reason = format!(
                    "the record at {PROGRESS_TOPIC}[0] offset {offset}, which says what was redriven already, is \
                     not understood ({reason}); a tombstone for its key forgets it, and then all letters of that \
                     partition count as not redriven"
                );
                KafkaError::Redrive { handler: handler.to_owned(), reason, can_retry: false }
            })?;
            progress.partitions.insert((topic, partition), done);
        }
        Ok(progress)
    }

    /// What is done of a partition. Without the topic's id nothing is known of it.
    pub(crate) fn of(&self, topic_id: Option<&str>, partition: i32) -> Done {
        let key = topic_id.map(|id| (id.to_owned(), partition));
        key.and_then(|key| self.partitions.get(&key)).cloned().unwrap_or_default()
    }
}

fn key_of(bytes: &[u8]) -> Option<Key> {
    serde_json::from_slice(bytes).ok()
}

fn done_of(bytes: &[u8]) -> Result<Done, String> {
    let value: Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if value.version != VERSION {
        return Err(format!("version {} is not known here", value.version));
    }
    if value.done.len() > RANGES_MAX {
        return Err(format!("{} ranges are too many", value.done.len()));
    }
    let ranges = value.done.into_iter().map(|(start, end)| start..end).collect();
    Done::from_parts(value.below, ranges).ok_or_else(|| "its ranges are not in order".to_owned())
}

/// Key and value of the record for a partition; none if there are too many holes in what is done.
pub(crate) fn record(
    (fleet, handler): (&str, &str),
    (topic_id, name, partition): (&str, &str, i32),
    done: &Done,
) -> Option<(Bytes, Bytes)> {
    if done.ranges().len() > RANGES_MAX {
        return None;
    }
    let key = Key {
        fleet: fleet.to_owned(),
        handler: handler.to_owned(),
        topic: Some(topic_id.to_owned()),
        partition: Some(partition),
    };
    let ranges = done.ranges().iter().map(|range| (range.start, range.end)).collect();
    let value = Value { version: VERSION, name: name.to_owned(), below: done.below(), done: ranges };
    Some((json(&key)?, json(&value)?))
}

/// Key and value of the mark that a redrive begins with.
pub(crate) fn beginning(fleet: &str, handler: &str) -> Option<(Bytes, Bytes)> {
    let key = Key { fleet: fleet.to_owned(), handler: handler.to_owned(), topic: None, partition: None };
    Some((json(&key)?, json(&VERSION)?))
}

fn json(value: &impl Serialize) -> Option<Bytes> {
    serde_json::to_vec(value).ok().map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use keylane_devbroker::{Broker, BrokerOptions};
    use proptest::prelude::*;

    use super::*;
    use crate::config::KafkaConfig;

    #[test]
    fn the_form_is_fixed() {
        let mut done = Done::default();
        done.raise(17);
        done.mark(20..25);
        done.mark(30..31);
        let (key, value) = record(("shop", "accounting"), ("abc", "tasks.accounting.dlq", 3), &done).unwrap();
        assert_eq!(key, r#"{"fleet":"shop","handler":"accounting","topic":"abc","partition":3}"#);
        assert_eq!(
            value,
            r#"{"version":1,"name":"tasks.accounting.dlq","below":17,"done":[[20,25],[30,31]]}"#
        );
        let (mark, _) = beginning("shop", "accounting").unwrap();
        assert_eq!(mark, r#"{"fleet":"shop","handler":"accounting"}"#);
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        for wrong in [
            "",
            "{}",
            r#"{"version":2,"name":"t","below":0,"done":[]}"#,
            r#"{"version":1,"name":"t","below":-1,"done":[]}"#,
            r#"{"version":1,"name":"t","below":5,"done":[[3,9]]}"#,
            r#"{"version":1,"name":"t","below":0,"done":[[5,4]]}"#,
            r#"{"version":1,"name":"t","below":0,"done":[[1,2,3]]}"#,
        ] {
            done_of(wrong.as_bytes()).unwrap_err();
        }
    }

    #[test]
    fn too_many_holes_are_not_written() {
        let mut done = Done::default();
        for hole in 0..=i64::try_from(RANGES_MAX).unwrap() {
            done.mark(hole * 2 + 1..hole * 2 + 2);
        }
        assert!(record(("f", "h"), ("id", "t", 0), &done).is_none());
    }

    /// A broker that has just taken our mark and does not know the topic of it is not up to date.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_topic_that_is_gone_behind_our_mark_is_never_nothing_done() {
        let broker = Broker::start(BrokerOptions::default()).await.unwrap();
        let reader = Reader::new(&KafkaConfig::new(broker.bootstrap())).unwrap();
        let read = tokio::task::spawn_blocking(move || {
            (Progress::read(&reader, "f", "h", None), Progress::read(&reader, "f", "h", Some(7)))
        });
        let (before, behind) = read.await.unwrap();
        assert!(before.unwrap().partitions.is_empty(), "before the mark it may well be that there is none");
        let error = behind.unwrap_err();
        assert!(error.can_retry() && error.to_string().contains(PROGRESS_TOPIC), "{error}");
        broker.stop().await;
    }

    /// Names are DNS labels; that keys and transactional ids tell handlers apart rests on it.
    fn name() -> impl Strategy<Value = String> {
        "[a-z0-9]([a-z0-9-]{0,6}[a-z0-9])?"
    }

    proptest! {
        #[test]
        fn a_key_is_of_one_partition_of_one_topic_of_one_handler(
            one in (name(), name(), "[A-Za-z0-9_-]{22}", 0..i32::MAX),
            other in (name(), name(), "[A-Za-z0-9_-]{22}", 0..i32::MAX),
        ) {
            let key = |(fleet, handler, id, partition): &(String, String, String, i32)| {
                record((fleet, handler), (id, "t", *partition), &Done::default()).unwrap().0
            };
            let read = key_of(&key(&one)).unwrap();
            let told = (read.fleet, read.handler, read.topic.unwrap(), read.partition.unwrap());
            prop_assert_eq!(&told, &one);
            prop_assert_eq!(key(&told), key(&one), "the same bytes each time: compaction compares them");
            prop_assert_eq!(key(&one) == key(&other), one == other);
            prop_assert_ne!(key(&one), beginning(&one.0, &one.1).unwrap().0, "a mark covers no progress");
        }

        #[test]
        fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = (key_of(&bytes), done_of(&bytes));
        }

        #[test]
        fn near_misses_are_read_without_harm(
            version in 0_u32..3, below in any::<i64>(), done in proptest::collection::vec(any::<(i64, i64)>(), 0..4),
        ) {
            let value = Value { version, name: String::new(), below, done };
            if let Ok(done) = done_of(&serde_json::to_vec(&value).unwrap()) {
                prop_assert!(done.below() >= 0 && version == VERSION);
            }
        }

        #[test]
        fn what_was_written_is_read(marks in proptest::collection::vec((0_i64..5_000, 1_i64..50), 0..60)) {
            let mut done = Done::default();
            for (start, length) in marks {
                done.mark(start..start + length);
            }
            let (key, value) = record(("f", "h"), ("id", "t", 7), &done).unwrap();
            prop_assert_eq!(done_of(&value), Ok(done));
            prop_assert_eq!(key_of(&key).unwrap().partition, Some(7));
        }
    }
}
