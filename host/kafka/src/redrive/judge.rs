//! What is to become of a letter.

use std::collections::BTreeMap;

use keylane_engine::OutgoingRecord;

use super::RedriveOptions;
use super::done::Done;
use super::sender::Outgoing;
use crate::dead_letters::{HeaderProfile, Origin, Story, originals, retry_topic};
use crate::dlq::{Dlq, Letter};

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
