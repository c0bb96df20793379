//! The dead letters of handlers that share a host file: each handler has topics of its own for them, and
//! nothing that a handler gave up comes back to it by way of others.
//!
//! A handler may well read another's dead letters: to raise an alarm, or to repair what can be repaired.

use std::collections::BTreeSet;
use std::ops::Range;

use keylane_deployment::{Document, Manifest};
use keylane_kafka::{dead_letter_topic, retry_topic};

use super::Handler;
use super::check::Checked;

/// What keeps a handler's letters in topics of its own.
const NAME_ANOTHER: &str = "name another `dead-letters.topic`, or none: then each topic has dead letters of its own, TOPIC.HANDLER.dlq";

/// What flows into a handler, and out of it when it gives up.
struct Streams<'a> {
    handler: &'a Handler,
    /// What it subscribes to.
    sources: BTreeSet<String>,
    /// Where it alone gets its letters back.
    retries: BTreeSet<String>,
    /// Where its dead letters go; nothing if it has none.
    letters: BTreeSet<String>,
}

impl<'a> Streams<'a> {
    fn of(handler: &'a Handler) -> Self {
        let Manifest { name, subscribe, dead_letters, .. } = &handler.manifest;
        let letters = match (&dead_letters.topic, handler.manifest.has_dead_letters()) {
            (_, false) => BTreeSet::new(),
            (Some(topic), true) => BTreeSet::from([topic.clone()]),
            (None, true) => subscribe.topics.iter().map(|topic| dead_letter_topic(topic, name)).collect(),
        };
        Self {
            handler,
            sources: subscribe.topics.iter().cloned().collect(),
            retries: subscribe.topics.iter().map(|topic| retry_topic(topic, name)).collect(),
            letters,
        }
    }

    fn file(&self) -> String {
        self.handler.file.display().to_string()
    }

    /// The topic by which this handler's letters reach another, if there is one.
    fn feeds<'b>(&'b self, other: &'b Self) -> Option<&'b String> {
        self.letters.intersection(&other.sources).next()
    }
}

/// Checks all handlers of a file; `span` is where the file names them.
pub(super) fn apart(document: &Document, span: &Range<usize>, handlers: &[Handler]) -> Checked<()> {
    let streams: Vec<Streams<'_>> = handlers.iter().map(Streams::of).collect();
    let refuse = |problem: String, hint: String| Err(document.refuse(span.clone(), problem).with_hint(hint));
    for (place, one) in streams.iter().enumerate() {
        let others =
            || streams.iter().enumerate().filter(|(other, _)| *other != place).map(|(_, other)| other);
        for other in others() {
            if let Some((problem, hint)) = conflict(one, other) {
                return refuse(problem, hint);
            }
        }
        if let Some(circle) = circle(one, &streams) {
            return refuse(
                circle,
                format!("{NAME_ANOTHER}; or let one of them wait, with `then` in [delivery]"),
            );
        }
    }
    Ok(())
}

/// What two handlers have and only one of them may have, and what to do about it.
fn conflict(one: &Streams<'_>, other: &Streams<'_>) -> Option<(String, String)> {
    let (file, theirs) = (one.file(), other.file());
    if let Some(topic) = one.letters.intersection(&other.letters).next() {
        let problem = format!(
            "the dead letters of {file} and of {theirs} go to one topic, {topic:?}: whoever redrives those of one \
             meets those of the other"
        );
        let hint = format!(
            "redrive what lies there, each handler's with a host file that names it alone; then, in one of the \
             two, {NAME_ANOTHER}"
        );
        return Some((problem, hint));
    }
    if let Some(topic) = one.letters.intersection(&other.retries).next() {
        let problem = format!(
            "the dead letters of {file} go to {topic:?}, by which {theirs} gets its own letters back: it would be \
             given the events of another handler"
        );
        return Some((problem, format!("in {file}, {NAME_ANOTHER}")));
    }
    let topic = one.sources.intersection(&other.retries).next()?;
    let problem = format!(
        "{file} reads {topic:?}, by which {theirs} alone gets its letters back: a redrive must not reach others"
    );
    let hint = "read its dead letters instead, or the topic that they came from".to_owned();
    Some((problem, hint))
}

/// How what a handler gives up comes back to it, if it does: from letters to letters, each read by the next.
fn circle(first: &Streams<'_>, all: &[Streams<'_>]) -> Option<String> {
    let mut ways: Vec<Vec<&Streams<'_>>> = vec![vec![first]];
    let mut seen = BTreeSet::new();
    while let Some(way) = ways.pop() {
        let last = *way.last()?;
        if last.feeds(first).is_some() {
            return Some(told(&way, first));
        }
        let next = all.iter().filter(|next| last.feeds(next).is_some());
        for next in next.filter(|next| seen.insert(&next.handler.manifest.name)) {
            ways.push(way.iter().copied().chain([next]).collect());
        }
    }
    None
}

fn told(way: &[&Streams<'_>], first: &Streams<'_>) -> String {
    let nexts = way.iter().skip(1).copied().chain([first]);
    let steps = way.iter().zip(nexts).map(|(from, to)| {
        let topic = from.feeds(to).map_or_else(String::new, |topic| format!("{topic:?}"));
        format!("{} to {topic}, which {} reads", from.file(), to.file())
    });
    format!(
        "what {} gives up comes back to it, again and again: dead letters go from {}",
        first.file(),
        steps.collect::<Vec<_>>().join(", and from ")
    )
}

#[cfg(test)]
mod tests;
