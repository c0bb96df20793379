//! Which letters a command is about.

use std::fmt;

use bytes::Bytes;

use super::letter::Letter;
use crate::dead_letters::Story;

/// Where a letter lies: written, and read by people, as `TOPIC/PARTITION/OFFSET`. The offset alone would name
/// one in each partition of each topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LetterPlace {
    /// The dead-letter topic.
    pub topic: String,
    /// The partition of it.
    pub partition: i32,
    /// The offset in that.
    pub offset: i64,
}

impl fmt::Display for LetterPlace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, partition, offset } = self;
        write!(formatter, "{topic}/{partition}/{offset}")
    }
}

impl LetterPlace {
    fn is_of(&self, letter: &Letter) -> bool {
        (self.topic.as_str(), self.partition, self.offset)
            == (letter.topic.as_str(), letter.partition, letter.offset)
    }
}

/// A letter passes if it fits each part that is set; a part with several values is fitted by any of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LetterFilter {
    /// The class of the last failure.
    pub classes: Vec<String>,
    /// The record's key.
    pub keys: Vec<Bytes>,
    /// Buried at this time or later, in milliseconds since the Unix epoch.
    pub since_ms: Option<i64>,
    /// Where the letter itself lies.
    pub places: Vec<LetterPlace>,
    /// A part of the last failure's reason.
    pub errors: Vec<String>,
    /// The topic the event first came from.
    pub origin_topic: Option<String>,
    /// The handler that buried it. Without it, letters of another handler are an error rather than left out.
    pub handler: Option<String>,
}

impl LetterFilter {
    /// Whether a letter passes.
    #[must_use]
    pub fn passes(&self, letter: &Letter, story: &Story) -> bool {
        let text = |wanted: &[String], is: Option<&str>, fits: fn(&str, &str) -> bool| {
            wanted.is_empty() || is.is_some_and(|is| wanted.iter().any(|wanted| fits(is, wanted)))
        };
        text(&self.classes, story.class.as_deref(), |is, wanted| is == wanted)
            && text(&self.errors, story.error.as_deref(), |is, wanted| is.contains(wanted))
            && (self.keys.is_empty() || letter.key.as_ref().is_some_and(|key| self.keys.contains(key)))
            && self.since_ms.is_none_or(|since_ms| letter.timestamp_ms.is_some_and(|at_ms| at_ms >= since_ms))
            && (self.places.is_empty() || self.places.iter().any(|place| place.is_of(letter)))
            && self.of_topic(story)
            && self.handler.as_ref().is_none_or(|handler| story.handler.as_ref() == Some(handler))
    }

    /// A letter that does not say where it came from passes: whoever asked is to hear of it.
    fn of_topic(&self, story: &Story) -> bool {
        let Some(wanted) = &self.origin_topic else { return true };
        story.origin.as_ref().is_none_or(|origin| origin.topic == *wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dead_letters::Origin;

    fn letter() -> (Letter, Story) {
        let letter = Letter {
            topic: "tasks.accounting.dlq".to_owned(),
            partition: 2,
            offset: 7,
            timestamp_ms: Some(1_000),
            key: Some(Bytes::from_static(b"k")),
            value: None,
            headers: Vec::new(),
        };
        let story = Story {
            origin: Some(Origin { topic: "tasks".to_owned(), partition: 1, offset: 3, timestamp: None }),
            handler: Some("accounting".to_owned()),
            class: Some("reject".to_owned()),
            error: Some("no such worker: 17".to_owned()),
            ..Story::default()
        };
        (letter, story)
    }

    #[test]
    fn each_part_counts_and_any_of_its_values() {
        let (letter, story) = letter();
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let with = |set: &dyn Fn(&mut LetterFilter)| {
            let mut filter = LetterFilter::default();
            set(&mut filter);
            filter.passes(&letter, &story)
        };
        assert!(with(&|_| {}));
        assert!(with(&|filter| filter.classes = texts(&["trap", "reject"])));
        assert!(!with(&|filter| filter.classes = texts(&["trap"])));
        assert!(with(&|filter| filter.keys = vec![Bytes::from_static(b"k")]));
        assert!(!with(&|filter| filter.keys = vec![Bytes::new()]));
        assert!(with(&|filter| filter.since_ms = Some(1_000)));
        assert!(!with(&|filter| filter.since_ms = Some(1_001)));
        let place =
            |topic: &str, partition, offset| LetterPlace { topic: topic.to_owned(), partition, offset };
        let (ours, other) = ("tasks.accounting.dlq", "facts.accounting.dlq");
        assert!(with(&|filter| filter.places = vec![place(other, 0, 1), place(ours, 2, 7)]));
        assert!(!with(&|filter| filter.places = vec![place(ours, 7, 2), place(ours, 2, 8)]));
        assert!(
            !with(&|filter| filter.places = vec![place(other, 2, 7)]),
            "the same offset of another topic"
        );
        assert!(with(&|filter| filter.errors = texts(&["such worker"])));
        assert!(!with(&|filter| filter.errors = texts(&["Such"])));
        assert!(with(&|filter| filter.origin_topic = Some("tasks".to_owned())));
        assert!(!with(&|filter| filter.origin_topic = Some("facts".to_owned())));
        assert!(!with(&|filter| filter.handler = Some("email".to_owned())));
        assert!(!with(&|filter| {
            filter.classes = texts(&["reject"]);
            filter.since_ms = Some(2_000);
        }));
    }

    #[test]
    fn what_a_letter_does_not_tell_fits_nothing() {
        let (letter, _) = letter();
        let filter = LetterFilter { classes: vec!["reject".to_owned()], ..LetterFilter::default() };
        assert!(!filter.passes(&letter, &Story::default()));
        let unkeyed = Letter { key: None, ..letter };
        let filter = LetterFilter { keys: vec![Bytes::new()], ..LetterFilter::default() };
        assert!(!filter.passes(&unkeyed, &Story::default()));
    }
}
