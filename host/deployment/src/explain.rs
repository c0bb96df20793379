//! Turns what the TOML reader says of a document into words for the person who wrote it.

use crate::document::Document;
use crate::error::DeploymentError;

/// How alike two words must be, from 0 to 1, for one to be offered in place of the other.
const ALIKE: f64 = 0.8;

/// Explains why a document that is valid TOML does not have the expected shape.
///
/// The reader hands over its finding as text only, so the text is taken apart here. Its wording is serde's
/// and has been the same for years; the tests of this file notice if it ever changes.
pub(crate) fn shape(document: &Document, error: &toml::de::Error) -> DeploymentError {
    let message = error.message();
    let span = error.span().unwrap_or(0..0);
    let mut words = backticked(message);
    if message.starts_with("unknown field ") && !words.is_empty() {
        let key = words.remove(0);
        return document.unknown_key(span, &key, words);
    }
    if message.starts_with("unknown variant ") && !words.is_empty() {
        let value = words.remove(0);
        let advice = suggest(&value, &words);
        return document.refuse(span, format!("{value:?} is not one of the known values")).with_hint(advice);
    }
    if let (true, Some(key)) = (message.starts_with("missing field "), words.first()) {
        return document.refuse_table(span, format!("`{key}` is missing"));
    }
    document.refuse(span, message)
}

/// Offers the nearest of the known words, or else all of them.
pub(crate) fn suggest(word: &str, known: &[String]) -> String {
    if let Some(nearest) = nearest(word, known) {
        return format!("did you mean `{nearest}`?");
    }
    if known.is_empty() {
        return "nothing may stand here".to_owned();
    }
    let listed: Vec<String> = known.iter().map(|word| format!("`{word}`")).collect();
    format!("known here: {}", listed.join(", "))
}

/// The known word that is most like this one, if one is alike enough.
fn nearest<'a>(word: &str, known: &'a [String]) -> Option<&'a str> {
    known
        .iter()
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate.as_str()))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|(left, _), (right, _)| left.total_cmp(right))
        .map(|(_, candidate)| candidate)
}

/// The words between backticks, in order.
fn backticked(message: &str) -> Vec<String> {
    message.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Vec<String> {
        ["attempts", "backoff", "backoff-max", "null-keys"].map(str::to_owned).to_vec()
    }

    #[test]
    fn a_slip_of_the_pen_is_recognised() {
        for (slip, meant) in [
            ("atempts", "attempts"),
            ("attempt", "attempts"),
            ("back-off", "backoff"),
            ("backoff_max", "backoff-max"),
            ("nullkeys", "null-keys"),
        ] {
            assert_eq!(nearest(slip, &known()), Some(meant), "for {slip}");
        }
    }

    #[test]
    fn a_word_like_no_other_gets_the_whole_list() {
        assert_eq!(
            suggest("colour", &known()),
            "known here: `attempts`, `backoff`, `backoff-max`, `null-keys`"
        );
    }

    #[test]
    fn the_readers_wording_is_what_we_take_apart() {
        #[derive(Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Shape {
            #[expect(dead_code, reason = "only its name matters here")]
            here: Option<String>,
        }
        let error = toml::from_str::<Shape>("there = 1").unwrap_err();
        assert!(error.message().starts_with("unknown field "), "{}", error.message());
        assert_eq!(backticked(error.message()), ["there", "here"]);
    }
}
