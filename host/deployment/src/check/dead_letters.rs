//! Checks `[dead-letters]`.

use toml::Spanned;

use super::Checked;
use super::subscribe::retry_topic;
use crate::document::Document;
use crate::manifest::{DeadLetters, HeaderProfile, Subscribe, Then, has_dead_letters};
use crate::names::topic_problem;
use crate::raw::RawDeadLetters;

/// Checks where dead letters go. Where nothing can ever go there, the section is a misunderstanding.
pub(super) fn dead_letters(
    document: &Document,
    raw: Option<Spanned<RawDeadLetters>>,
    subscribe: &Subscribe,
    then: Then,
    handler: &str,
) -> Checked<DeadLetters> {
    let Some(raw) = raw else { return Ok(DeadLetters { topic: None, headers: HeaderProfile::Keylane }) };
    if !has_dead_letters(then, subscribe.untyped) {
        let problem =
            "nothing goes to the dead letters: neither `delivery.then` nor `subscribe.untyped` says so";
        return Err(document
            .refuse(raw.span(), problem)
            .with_hint("leave [dead-letters] out, or write then = \"dead-letter\" in [delivery]"));
    }
    let RawDeadLetters { topic, headers } = raw.into_inner();
    if let Some(topic) = &topic {
        if let Some(problem) = topic_problem(topic.get_ref()) {
            return Err(document.refuse(topic.span(), problem));
        }
        if is_read(topic.get_ref(), &subscribe.topics, handler) {
            let problem =
                format!("the handler reads {:?} itself: what it gives up would come back", topic.get_ref());
            return Err(document.refuse(topic.span(), problem).with_hint("name another topic"));
        }
    }
    Ok(DeadLetters {
        topic: topic.map(Spanned::into_inner),
        headers: headers.unwrap_or(HeaderProfile::Keylane),
    })
}

/// Whether the handler reads a topic: as one of its sources, or as where a redrive gives letters back to it.
fn is_read(topic: &str, sources: &[String], handler: &str) -> bool {
    sources.iter().any(|source| topic == source || topic == retry_topic(source, handler))
}
