//! Checks `delivery.guarantee`: what is promised must be what the grants can keep. And how often Kafka's transactions
//! keep it, where they do.

use std::time::Duration;

use toml::Spanned;

use super::Checked;
use crate::bounds;
use crate::document::Document;
use crate::manifest::{Grants, Guarantee};
use crate::quantity::Time;

const GRANT_SOMETHING: &str = "add [grants.sql.NAME] with access = \"write\", or [grants.producer], or write \
                               guarantee = \"at-least-once\"";

/// What the handler is promised. With a database its grants tell, so the key may only say the same; what is
/// produced without one can be committed together with the progress, by a transaction of Kafka's.
pub(super) fn guarantee(
    document: &Document,
    given: Option<Spanned<Guarantee>>,
    grants: &Grants,
) -> Checked<Guarantee> {
    let kept = match grants.write_database() {
        Some(_) => Guarantee::ExactlyOnce,
        None => Guarantee::AtLeastOnce,
    };
    let Some(given) = given.filter(|given| *given.get_ref() != kept) else { return Ok(kept) };
    let (problem, hint) = match (kept, &grants.producer) {
        (Guarantee::AtLeastOnce, Some(_)) => return Ok(Guarantee::ExactlyOnce),
        (Guarantee::ExactlyOnce, _) => (
            "the effects of a handler that writes to a database happen exactly once, always",
            "leave `guarantee` out, or write guarantee = \"exactly-once\"",
        ),
        (Guarantee::AtLeastOnce, None) => (
            "nothing can be committed together with the end of an event: the handler writes to no database and \
             produces nothing",
            GRANT_SOMETHING,
        ),
    };
    Err(document.refuse(given.span(), problem).with_hint(hint))
}

/// The time between two of Kafka's transactions. A handler that is at least once has none; beside a database its
/// records leave when that has committed them, and waiting would win nothing.
pub(super) fn transaction_interval(
    document: &Document,
    given: Option<Spanned<Time>>,
    guarantee: Guarantee,
    grants: &Grants,
) -> Checked<Option<Duration>> {
    let (problem, hint) = match (guarantee, grants.write_database()) {
        (Guarantee::ExactlyOnce, None) => {
            let interval = bounds::TRANSACTION_INTERVAL.check(document, given)?;
            return Ok(Some(interval.duration()));
        }
        (Guarantee::ExactlyOnce, Some(_)) => (
            "the handler writes to a database: what it produces leaves as soon as that has committed it",
            "leave `transaction-interval` out",
        ),
        (Guarantee::AtLeastOnce, _) => (
            "the handler is at least once: what it produces is sent at once, and in no transaction",
            "leave `transaction-interval` out, or write guarantee = \"exactly-once\"",
        ),
    };
    let Some(given) = given else { return Ok(None) };
    Err(document.refuse(given.span(), problem).with_hint(hint))
}
