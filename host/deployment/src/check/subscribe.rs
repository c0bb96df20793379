//! Checks `[subscribe]`.

use super::Checked;
use super::words::{distinct, topics};
use crate::document::Document;
use crate::manifest::{Lost, Subscribe, Untyped};
use crate::names::topic_problem;
use crate::raw::RawSubscribe;
use crate::start::start;

/// The header that names a record's type in CloudEvents' binary mode.
const TYPE_HEADER: &str = "ce_type";
/// How the topics end that keylane makes for a handler, after the source's name and the handler's.
const OWN_TOPICS: [&str; 2] = ["dlq", "retry"];

/// Checks what the handler of this name reads.
pub(super) fn subscribe(document: &Document, raw: RawSubscribe, handler: &str) -> Checked<Subscribe> {
    let type_header = match raw.type_header {
        Some(name) if name.get_ref().is_empty() => {
            return Err(document.refuse(name.span(), "a header's name cannot be empty"));
        }
        Some(name) => name.into_inner(),
        None => TYPE_HEADER.to_owned(),
    };
    let type_problem = |name: &str| name.is_empty().then(|| "an event type cannot be empty".to_owned());
    Ok(Subscribe {
        topics: topics(document, raw.topics, |topic| source_problem(topic, handler))?,
        events: distinct(document, raw.events, type_problem)?,
        type_header,
        untyped: raw.untyped.unwrap_or(Untyped::Handle),
        start: start(document, raw.start)?,
        lost: raw.lost.unwrap_or(Lost::Stop),
    })
}

/// What is wrong with a topic as a source. keylane makes topics of its own beside it: their names must be
/// possible, and reading one of them would feed a handler with what it has itself given up.
fn source_problem(topic: &str, handler: &str) -> Option<String> {
    if let Some(problem) = topic_problem(topic) {
        return Some(problem);
    }
    for ending in OWN_TOPICS {
        if topic.ends_with(&format!(".{handler}.{ending}")) {
            return Some(format!("{topic:?} is a topic that keylane makes for this handler itself"));
        }
        let own = format!("{topic}.{handler}.{ending}");
        if let Some(problem) = topic_problem(&own) {
            return Some(format!("beside {topic:?} keylane makes {own:?}, but {problem}"));
        }
    }
    None
}

/// Where a redrive gives a handler its letters back.
pub(super) fn retry_topic(source: &str, handler: &str) -> String {
    let [_, retry] = OWN_TOPICS;
    format!("{source}.{handler}.{retry}")
}
