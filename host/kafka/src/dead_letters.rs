//! Dead letters: key, value and headers byte for byte, and why they are here in headers of their own.
//!
//! A letter is the record as it was read and, behind its own headers, its story: where it came from and
//! what became of it ([`Story`]), and the same once more in the words of another system if a handler asks
//! for that ([`HeaderProfile`]). A record that is buried again, after a redrive or through any other tool,
//! gets one new story in the place of the old one, so its headers do not grow.

mod meters;
mod profile;
mod story;
#[cfg(test)]
mod tests;

use keylane_engine::{DeadLetter, DeadLetters, Event, Header, OutgoingRecord, PublishError, Publisher};

use self::meters::Meters;
use crate::publisher::KafkaPublisher;

pub use profile::HeaderProfile;
#[cfg(test)]
pub(crate) use story::text_header;
pub use story::{Origin, Story};

/// The longest error text in a dead letter's header, in bytes.
pub(crate) const ERROR_LIMIT_BYTES: usize = 1024;

/// Where a handler's dead letters of a topic go, unless its manifest names another topic.
#[must_use]
pub fn dead_letter_topic(topic: &str, handler: &str) -> String {
    format!("{topic}.{handler}.dlq")
}

/// Where redriven events of a topic go. Only this handler reads it.
#[must_use]
pub fn retry_topic(topic: &str, handler: &str) -> String {
    format!("{topic}.{handler}.retry")
}

/// The topic that a handler's retry topic stands beside; none for any other topic.
fn beside(topic: &str, handler: &str) -> Option<String> {
    let beside = topic.strip_suffix(".retry")?.strip_suffix(handler)?.strip_suffix('.')?;
    (!beside.is_empty()).then(|| beside.to_owned())
}

/// One handler's dead letters: where they go and what they say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterOptions {
    /// The handler's name.
    pub handler: String,
    /// Its consumer group, for profiles that name one.
    pub group: String,
    /// The revision that could not handle the event.
    pub revision: String,
    /// One topic for the letters of all its topics; without it each goes to a topic beside its own, see
    /// [`dead_letter_topic`].
    pub topic: Option<String>,
    /// The headers written beside keylane's own.
    pub profile: HeaderProfile,
}

impl DeadLetterOptions {
    /// Letters beside their topics, with keylane's own headers.
    #[must_use]
    pub fn new(handler: impl Into<String>, group: impl Into<String>, revision: impl Into<String>) -> Self {
        Self {
            handler: handler.into(),
            group: group.into(),
            revision: revision.into(),
            topic: None,
            profile: HeaderProfile::Keylane,
        }
    }

    /// Where letters of this topic go. Those of a retry topic lie with those of the topic it belongs to.
    #[must_use]
    pub fn topic_of(&self, source: &str) -> String {
        self.topic.clone().unwrap_or_else(|| {
            let beside = beside(source, &self.handler);
            dead_letter_topic(beside.as_deref().unwrap_or(source), &self.handler)
        })
    }
}

/// Writes one handler's dead letters.
#[derive(Clone)]
pub struct KafkaDeadLetters {
    publisher: KafkaPublisher,
    options: DeadLetterOptions,
    meters: Meters,
}

impl KafkaDeadLetters {
    /// Dead letters with these options. Their topics should exist: see
    /// [`Admin::ensure_dead_letter_topics`](crate::Admin::ensure_dead_letter_topics).
    #[must_use]
    pub fn new(publisher: KafkaPublisher, options: DeadLetterOptions) -> Self {
        let meters = Meters::new(&options.handler);
        Self { publisher, options, meters }
    }
}

impl DeadLetters for KafkaDeadLetters {
    async fn bury(&self, letter: DeadLetter) -> Result<(), PublishError> {
        let _waits = self.meters.waits();
        let record = letter_record(&letter, &self.options);
        let buried = async { self.publisher.publish(record).await?.await }.await;
        if buried.is_err() {
            self.meters.refused.increment(1);
        }
        buried
    }
}

/// The record that a dead letter becomes, for whoever sends it by another way than [`KafkaDeadLetters`]: a
/// handler with a write database puts it into its outbox, in the transaction that ends the event.
#[must_use]
pub fn letter_record(letter: &DeadLetter, options: &DeadLetterOptions) -> OutgoingRecord {
    let event = &letter.event;
    let story = story_of(letter, options);
    let mut headers = originals(&event.headers, options.profile);
    headers.extend(story.headers());
    headers.extend(options.profile.headers(&story, letter.class, &options.group));
    OutgoingRecord {
        topic: options.topic_of(&event.source.topic),
        key: event.key.clone(),
        value: event.value.clone(),
        headers,
    }
}

/// What is told of an event that could not be handled. One that came through the retry topic keeps where
/// it first came from and when it first failed.
fn story_of(letter: &DeadLetter, options: &DeadLetterOptions) -> Story {
    let earlier = redriven(&letter.event, &options.handler);
    let (origin, first_failure_ms, redrives) = match earlier {
        Some((origin, earlier)) => (origin, earlier.first_failure_ms, earlier.redrives),
        None => (Origin::of(&letter.event), None, 0),
    };
    Story {
        origin: Some(origin),
        handler: Some(options.handler.clone()),
        revision: Some(options.revision.clone()),
        attempts: Some(letter.attempts),
        first_failure_ms: first_failure_ms.or(Some(letter.first_failure_ms)),
        class: Some(letter.class.name().to_owned()),
        error: Some(capped(&letter.reason).to_owned()),
        redrives,
    }
}

/// The story that a redrive of this handler's letters gave the event, if it came that way. Headers alone
/// prove nothing: anybody may write them, and a handler may read another one's letters as its source.
fn redriven(event: &Event, handler: &str) -> Option<(Origin, Story)> {
    let beside = beside(&event.source.topic, handler)?;
    let story = Story::read(&event.headers);
    let origin = story.origin.clone()?;
    let ours = story.handler.as_deref() == Some(handler)
        && (origin.topic == beside || *origin.topic == *event.source.topic);
    ours.then_some((origin, story))
}

/// A record's headers without the story of an earlier burial. Behind the mark that a story begins with,
/// every profile's names go; before it, where the record's own headers stand, only those that are about to
/// be written again.
pub(crate) fn originals(headers: &[Header], profile: HeaderProfile) -> Vec<Header> {
    let begins = headers.iter().rposition(|header| header.name == story::BEGINS).unwrap_or(headers.len());
    let is_original = |(at, header): &(usize, &Header)| {
        let name = header.name.as_str();
        let of_a_profile = if *at > begins { HeaderProfile::any_writes(name) } else { profile.writes(name) };
        !story::NAMES.contains(&name) && !of_a_profile
    };
    headers.iter().enumerate().filter(is_original).map(|(_, header)| header.clone()).collect()
}

/// The text up to the limit, cut between two characters.
fn capped(text: &str) -> &str {
    let end = text.floor_char_boundary(ERROR_LIMIT_BYTES);
    text.get(..end).unwrap_or(text)
}
