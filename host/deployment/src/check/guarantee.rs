//! Checks `delivery.guarantee`: what is promised must be what the grants can keep.

use toml::Spanned;

use super::Checked;
use crate::document::Document;
use crate::manifest::{Grants, Guarantee};

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
