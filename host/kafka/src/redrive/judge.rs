//! What is to become of a letter.

use std::collections::BTreeMap;

use keylane_engine::OutgoingRecord;

use super::RedriveOptions;
use super::done::Done;
use crate::dead_letters::{HeaderProfile, Origin, Story, originals, retry_topic};
use crate::dlq::{Dlq, Letter};
use crate::transaction::Outgoing;

/// What is to become of a letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Judgement {
    /// It is sent.
    Send(Box<Retry>),
    /// It was sent before.
    Redriven,
    /// It was not asked for.
    LeftOut,
    /// It has come back too often.
    HeldBack,
    /// It was asked for and is none of this handler's, for this reason.
    Foreign(String),
}

/// Where a letter goes, and what it goes with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Retry {
    topic: String,
    origin: Origin,
    story: Story,
}

/// Judges one handler's letters.
pub(super) struct Judge<'a> {
    dlq: &'a Dlq,
    options: &'a RedriveOptions,
}

impl<'a> Judge<'a> {
    pub(super) fn new(dlq: &'a Dlq, options: &'a RedriveOptions) -> Self {
        Self { dlq, options }
    }

    pub(super) fn judge(&self, letter: &Letter, done: &Done) -> Judgement {
        if done.contains(letter.offset) {
            return Judgement::Redriven;
        }
        let story = letter.story();
        if !self.options.filter.passes(letter, &story) {
            return Judgement::LeftOut;
        }
        match self.retry(story) {
            Err(reason) => Judgement::Foreign(reason),
            Ok(retry) if retry.story.redrives >= self.options.redrives_max => Judgement::HeldBack,
            Ok(retry) => Judgement::Send(Box::new(retry)),
        }
    }

    /// Where a letter with this story goes, or why it is not this handler's.
    fn retry(&self, story: Story) -> Result<Retry, String> {
        let Some(handler) = &story.handler else {
            return Err(
                "it does not say which handler it is from, so it is no letter of keylane's".to_owned()
            );
        };
        if *handler != self.dlq.handler {
            let advice = format!("leave it out with --filter handler={}", self.dlq.handler);
            return Err(format!("it is a letter of the handler {handler:?}; {advice}"));
        }
        let Some(origin) = story.origin.clone() else {
            return Err("it does not say where its event came from".to_owned());
        };
        let of_source = |source: &&String| {
            **source == origin.topic || retry_topic(source, &self.dlq.handler) == origin.topic
        };
        match self.dlq.sources.iter().find(of_source) {
            Some(source) => Ok(Retry { topic: retry_topic(source, &self.dlq.handler), origin, story }),
            None => {
                let topic = &origin.topic;
                Err(format!("its event came from {topic:?}, which the handler does not read"))
            }
        }
    }
}

impl Retry {
    /// The record to send: the event's own key, value and headers, where it came from, and how often it has
    /// been redriven. With a key, the partitioner decides as it did before; without one, the event keeps its
    /// partition.
    pub(super) fn outgoing(self, letter: &Letter, partitions: &BTreeMap<String, i32>) -> Outgoing {
        let Self { topic, origin, story } = self;
        let there = partitions.get(&topic).copied().unwrap_or_default();
        let same = (origin.partition < there).then_some(origin.partition);
        let partition = if letter.key.is_none() { same } else { None };
        let told = Story {
            origin: Some(origin),
            handler: story.handler,
            first_failure_ms: story.first_failure_ms,
            redrives: story.redrives.saturating_add(1),
            ..Story::default()
        };
        let mut headers = originals(&letter.headers, HeaderProfile::Keylane);
        headers.extend(told.headers());
        let (key, value) = (letter.key.clone(), letter.value.clone());
        Outgoing { record: OutgoingRecord { topic, key, value, headers }, partition }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use keylane_engine::Header;
    use proptest::prelude::*;

    use super::*;
    use crate::config::KafkaConfig;
    use crate::dead_letters::DeadLetterOptions;
    use crate::redrive::REDRIVES_MAX;

    /// Headers such as a letter has, each of which may be there or not and say anything.
    fn any_headers() -> impl Strategy<Value = Vec<Header>> {
        let name = prop_oneof![
            proptest::sample::select(
                &[
                    "keylane-origin-topic",
                    "keylane-origin-partition",
                    "keylane-origin-offset",
                    "keylane-handler",
                    "keylane-redrives",
                ][..]
            )
            .prop_map(str::to_owned),
            "[a-z]{0,4}",
        ];
        let value = prop_oneof![
            proptest::sample::select(
                &["tasks", "tasks.accounting.retry", "accounting", "email", "other"][..]
            )
            .prop_map(Bytes::from),
            (-1_i64..6).prop_map(|number| Bytes::from(number.to_string())),
            proptest::collection::vec(any::<u8>(), 0..8).prop_map(Bytes::from),
        ];
        let header = (name, proptest::option::of(value)).prop_map(|(name, value)| Header { name, value });
        proptest::collection::vec(header, 0..12)
    }

    fn bytes() -> impl Strategy<Value = Option<Bytes>> {
        proptest::option::of(proptest::collection::vec(any::<u8>(), 0..6).prop_map(Bytes::from))
    }

    proptest! {
        #[test]
        fn whatever_a_letter_says_what_is_sent_is_the_event_and_goes_home(
            headers in any_headers(),
            of_ours in any::<bool>(),
            (key, value) in (bytes(), bytes()),
            partitions in 1..5_i32,
        ) {
            let options = DeadLetterOptions::new("accounting", "shop.accounting", "");
            let dlq = Dlq::new(KafkaConfig::new("b:1"), "shop", &options, &["tasks".to_owned()]);
            let redrive = RedriveOptions::default();
            let mut headers = headers;
            if of_ours {
                let origin = Origin { topic: "tasks".to_owned(), partition: 2, offset: 3, timestamp: None };
                let handler = Some("accounting".to_owned());
                headers.extend(Story { origin: Some(origin), handler, ..Story::default() }.headers());
            }
            let letter = Letter {
                topic: "tasks.accounting.dlq".to_owned(),
                partition: 0,
                offset: 7,
                timestamp_ms: None,
                key,
                value,
                headers,
            };
            let (before, story) = (letter.story(), letter.story());
            match Judge::new(&dlq, &redrive).judge(&letter, &Done::default()) {
                Judgement::Send(retry) => {
                    let widths = BTreeMap::from([("tasks.accounting.retry".to_owned(), partitions)]);
                    let sent = retry.outgoing(&letter, &widths);
                    let after = Story::read(&sent.record.headers);
                    prop_assert_eq!(sent.record.topic, "tasks.accounting.retry");
                    prop_assert_eq!((sent.record.key, sent.record.value), (letter.key.clone(), letter.value));
                    prop_assert_eq!((after.redrives, after.origin), (before.redrives + 1, before.origin));
                    prop_assert!(after.redrives <= REDRIVES_MAX, "the guard against loops");
                    let home = story.origin.map(|origin| origin.partition);
                    let home = home.filter(|home| letter.key.is_none() && *home < partitions);
                    prop_assert_eq!(sent.partition, home);
                    // What is sent, should it come back as it is, is a letter of this handler again.
                    prop_assert_eq!(after.handler.as_deref(), Some("accounting"));
                }
                Judgement::HeldBack => prop_assert!(before.redrives >= REDRIVES_MAX),
                Judgement::Foreign(reason) => prop_assert!(!of_ours && !reason.is_empty(), "{reason}"),
                other => prop_assert!(false, "{other:?} without a filter and with nothing done"),
            }
            let mut done = Done::default();
            done.mark(7..8);
            prop_assert_eq!(Judge::new(&dlq, &redrive).judge(&Letter { value: None, ..letter }, &done), Judgement::Redriven);
        }
    }
}
