//! Lists of words: each legal, none twice.

use std::collections::BTreeSet;

use toml::Spanned;

use super::Checked;
use crate::document::Document;

/// Topics: at least one, each legal, none twice.
pub(super) fn topics(
    document: &Document,
    raw: Spanned<Vec<Spanned<String>>>,
    problem: impl Fn(&str) -> Option<String>,
) -> Checked<Vec<String>> {
    if raw.get_ref().is_empty() {
        return Err(document.refuse(raw.span(), "name at least one topic"));
    }
    distinct(document, raw.into_inner(), problem)
}

/// Words of which each is legal and none stands twice.
pub(super) fn distinct(
    document: &Document,
    raw: Vec<Spanned<String>>,
    problem: impl Fn(&str) -> Option<String>,
) -> Checked<Vec<String>> {
    let mut seen = BTreeSet::new();
    for word in &raw {
        if let Some(problem) = problem(word.get_ref()) {
            return Err(document.refuse(word.span(), problem));
        }
        if !seen.insert(word.get_ref()) {
            return Err(document.refuse(word.span(), format!("{:?} stands here twice", word.get_ref())));
        }
    }
    drop(seen);
    Ok(raw.into_iter().map(Spanned::into_inner).collect())
}
