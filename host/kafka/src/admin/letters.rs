//! The topics that keylane makes for a handler: its dead letters and its retry topics, each able to hold
//! the largest record of its source with a letter's headers.

use std::collections::{BTreeMap, BTreeSet};

use super::settings::{CLEANUP, RECORD_BYTES, Settings};
use super::{Admin, NewTopic, Topic};
use crate::dead_letters::{DeadLetterOptions, retry_topic};
use crate::error::KafkaError;

/// What a letter's headers add to a record at most, in bytes: so much more than its source must every topic
/// of letters take.
pub(crate) const LETTER_HEADERS_BYTES: usize = 8 * 1024;
/// How much more than its source a topic takes that keylane makes, in bytes: enough for
/// [`LETTER_HEADERS_BYTES`] even if its source is made to take somewhat more later.
const HEADROOM_BYTES: usize = 128 * 1024;
/// Kafka's own `max.message.bytes`, for brokers that do not tell.
const DEFAULT_RECORD_BYTES: usize = 1_048_588;
/// A segment of a topic of progress, in bytes.
const PROGRESS_SEGMENT_BYTES: &str = "16777216";

/// A topic of letters or redriven events, and the sources it is for.
struct Wanted<'a> {
    name: String,
    sources: Vec<&'a Topic>,
}

impl Wanted<'_> {
    fn partitions(&self) -> i32 {
        self.sources.iter().map(|source| source.partitions).max().unwrap_or(1)
    }

    /// The source with the largest records, and how large those may be.
    fn largest<'a>(&'a self, settings: &BTreeMap<String, Settings>) -> (&'a str, usize) {
        let sizes =
            self.sources.iter().map(|source| (source.name.as_str(), bytes_of(settings, &source.name)));
        sizes.max_by_key(|(_, bytes)| *bytes).unwrap_or(("", DEFAULT_RECORD_BYTES))
    }
}

impl Admin {
    /// Makes sure that the dead-letter topics of these topics exist and take their largest records. One
    /// that does not exist is made, with as many partitions as its source.
    ///
    /// # Errors
    /// [`KafkaError::TooSmall`] for one that exists and takes less; else as [`Self::check_topics`] and
    /// [`Self::create_topics`].
    pub async fn ensure_dead_letter_topics(
        &self,
        sources: &[String],
        options: &DeadLetterOptions,
    ) -> Result<Vec<String>, KafkaError> {
        self.ensure(sources, |source| options.topic_of(source)).await
    }

    /// Makes sure that the retry topics of these topics exist, as [`Self::ensure_dead_letter_topics`] does,
    /// and gives one that has fewer partitions than its source as many. Where that fails it is a warning:
    /// events can be handled all the same, and a redrive asks again.
    ///
    /// # Errors
    /// As there.
    pub async fn ensure_retry_topics(
        &self,
        sources: &[String],
        handler: &str,
    ) -> Result<Vec<String>, KafkaError> {
        let topics = self.ensure(sources, |source| retry_topic(source, handler)).await?;
        if let Err(error) = self.widen_retry_topics(sources, handler).await {
            tracing::warn!(handler, %error, "events are handled all the same; a redrive would be refused");
        }
        Ok(topics)
    }

    /// The same for a redrive, which has to have them as wide as their sources. Answers how many partitions
    /// each has.
    pub(crate) async fn ensure_wide_retry_topics(
        &self,
        sources: &[String],
        handler: &str,
    ) -> Result<BTreeMap<String, i32>, KafkaError> {
        self.ensure(sources, |source| retry_topic(source, handler)).await?;
        self.widen_retry_topics(sources, handler).await
    }

    /// Makes sure that a topic of progress exists and keeps the latest record of each key. Its segments are
    /// small, since only closed ones are compacted.
    pub(crate) async fn ensure_progress_topic(&self, name: &str) -> Result<(), KafkaError> {
        let name = name.to_owned();
        if self.find_topics(std::slice::from_ref(&name)).await?.is_empty() {
            let settings = [(CLEANUP, "compact"), ("segment.bytes", PROGRESS_SEGMENT_BYTES)];
            let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
            return self.create_topics(&[NewTopic { settings, ..NewTopic::new(&name, 1) }]).await;
        }
        let settings = self.settings(std::slice::from_ref(&name)).await?;
        if settings.get(&name).is_none_or(|settings| settings.is_compacted && !settings.is_deleted) {
            return Ok(());
        }
        let reason = "it is to remember for ever what was sent, but its cleanup.policy is not compact alone; set it, \
                      or records would be sent twice";
        Err(KafkaError::Topic { topic: name, reason: reason.to_owned(), can_retry: false })
    }

    async fn ensure(
        &self,
        sources: &[String],
        name_of: impl Fn(&str) -> String,
    ) -> Result<Vec<String>, KafkaError> {
        let sources = self.check_topics(sources).await?;
        let names: BTreeSet<String> = sources.iter().map(|source| name_of(&source.name)).collect();
        let wanted = names.iter().map(|name| Wanted {
            name: name.clone(),
            sources: sources.iter().filter(|source| name_of(&source.name) == *name).collect(),
        });
        let present: BTreeSet<String> = self
            .find_topics(&names.iter().cloned().collect::<Vec<_>>())
            .await?
            .into_iter()
            .map(|topic| topic.name)
            .collect();
        let asked: BTreeSet<String> =
            sources.iter().map(|source| source.name.clone()).chain(present.iter().cloned()).collect();
        let settings = self.settings(&asked.into_iter().collect::<Vec<_>>()).await?;
        let mut absent = Vec::new();
        for topic in wanted {
            if present.contains(&topic.name) {
                check(&topic, &settings)?;
            } else {
                absent.push(new_topic(&topic, &settings));
            }
        }
        if !absent.is_empty() {
            self.create_topics(&absent).await?;
        }
        Ok(names.into_iter().collect())
    }
}

/// The largest record of a topic, in bytes.
fn bytes_of(settings: &BTreeMap<String, Settings>, topic: &str) -> usize {
    settings.get(topic).and_then(|settings| settings.record_bytes).unwrap_or_else(|| {
        let bytes = DEFAULT_RECORD_BYTES;
        tracing::info!(
            topic,
            bytes,
            "the broker does not tell how large a topic's records may be; Kafka's default is taken"
        );
        bytes
    })
}

fn new_topic(topic: &Wanted<'_>, settings: &BTreeMap<String, Settings>) -> NewTopic {
    let (_, source_bytes) = topic.largest(settings);
    let bytes = source_bytes.saturating_add(HEADROOM_BYTES);
    // Not the cluster's own policy: compaction would remove all but the last letter of a key.
    let settings = [(RECORD_BYTES, bytes.to_string()), (CLEANUP, "delete".to_owned())];
    NewTopic {
        settings: settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        ..NewTopic::new(&topic.name, topic.partitions())
    }
}

/// Whether a topic that is there will do.
fn check(topic: &Wanted<'_>, settings: &BTreeMap<String, Settings>) -> Result<(), KafkaError> {
    if settings.get(&topic.name).is_some_and(|settings| settings.is_compacted) {
        let reason = "it is compacted, which removes all but the last record of a key, and these records are \
                      letters of events that are nowhere else; set its cleanup.policy to delete";
        let (topic, reason) = (topic.name.clone(), reason.to_owned());
        return Err(KafkaError::Topic { topic, reason, can_retry: false });
    }
    let (source, source_bytes) = topic.largest(settings);
    let needed = source_bytes.saturating_add(LETTER_HEADERS_BYTES);
    let bytes = bytes_of(settings, &topic.name);
    // Brokers may not tell, or not yet: then there is nothing to compare.
    let told = |name: &str| settings.get(name).is_some_and(|settings| settings.record_bytes.is_some());
    if !told(&topic.name) || !told(source) || bytes >= needed {
        return Ok(());
    }
    let (topic, source) = (topic.name.clone(), source.to_owned());
    Err(KafkaError::TooSmall { topic, bytes, needed, source_topic: source, source_bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: usize = 1024;

    fn settings(bytes: &[(&str, usize)]) -> BTreeMap<String, Settings> {
        let one = |(name, bytes): &(&str, usize)| {
            ((*name).to_owned(), Settings { record_bytes: Some(*bytes), ..Settings::default() })
        };
        bytes.iter().map(one).collect()
    }

    #[test]
    fn a_topic_is_made_for_the_largest_of_its_sources() {
        let (a, b) =
            (Topic { name: "a".to_owned(), partitions: 12 }, Topic { name: "b".to_owned(), partitions: 3 });
        let wanted = Wanted { name: "dlq".to_owned(), sources: vec![&a, &b] };
        let made = new_topic(&wanted, &settings(&[("a", 2_000), ("b", 10_000)]));
        assert_eq!((made.partitions, made.replication), (12, -1));
        assert_eq!(made.settings["max.message.bytes"], (10_000 + HEADROOM_BYTES).to_string());
        assert_eq!(made.settings["cleanup.policy"], "delete");
        let untold = new_topic(&wanted, &BTreeMap::new());
        assert_eq!(untold.settings["max.message.bytes"], (DEFAULT_RECORD_BYTES + HEADROOM_BYTES).to_string());
    }

    #[test]
    fn a_topic_that_is_too_small_is_refused_with_both_sizes() {
        let source = Topic { name: "tasks".to_owned(), partitions: 1 };
        let wanted = Wanted { name: "dlq".to_owned(), sources: vec![&source] };
        let error = check(&wanted, &settings(&[("tasks", 100 * KIB), ("dlq", 100 * KIB)])).unwrap_err();
        let told = error.to_string();
        for part in ["\"dlq\"", "\"tasks\"", "102400", "110592", "max.message.bytes"] {
            assert!(told.contains(part), "{part}: {told}");
        }
        assert!(!error.can_retry());
        check(&wanted, &settings(&[("tasks", 100 * KIB), ("dlq", 108 * KIB)])).unwrap();
        check(&wanted, &BTreeMap::new()).unwrap();
        check(&wanted, &settings(&[("tasks", 2 * 1024 * KIB)])).unwrap();
        check(&wanted, &settings(&[("dlq", 100 * KIB)])).unwrap();
        let mut just_made = settings(&[("tasks", 100 * KIB)]);
        just_made.insert("dlq".to_owned(), Settings { record_bytes: None, ..Settings::default() });
        check(&wanted, &just_made).unwrap();
    }

    #[test]
    fn a_compacted_topic_is_no_place_for_letters() {
        let source = Topic { name: "tasks".to_owned(), partitions: 1 };
        let wanted = Wanted { name: "dlq".to_owned(), sources: vec![&source] };
        let compacted =
            Settings { record_bytes: Some(usize::MAX), is_compacted: true, ..Settings::default() };
        let settings = BTreeMap::from([("dlq".to_owned(), compacted)]);
        assert!(check(&wanted, &settings).unwrap_err().to_string().contains("compacted"));
    }
}
