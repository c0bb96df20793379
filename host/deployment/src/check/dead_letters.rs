//! Checks `[dead-letters]`.

use toml::Spanned;

use super::Checked;
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
        if subscribe.topics.contains(topic.get_ref()) {
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
