//! Turns what the TOML reader says of a document into words for the person who wrote it.

use crate::document::Document;
use crate::error::DeploymentError;

/// How alike two words must be, from 0 to 1, for one to be offered in place of the other.
const ALIKE: f64 = 0.8;

/// How the reader ends where it knows no word at all.
const NONE_KNOWN: [&str; 2] = ["`, there are no fields", "`, there are no variants"];

/// Explains why a document that is valid TOML does not have the expected shape.
///
/// The reader hands over its finding as text only, so the text is taken apart here. Its wording is serde's
/// and has been the same for years; the tests of this file notice if it ever changes.
pub(crate) fn shape(document: &Document, error: &toml::de::Error) -> DeploymentError {
    let message = error.message();
    let span = error.span().unwrap_or(0..0);
    if let Some((key, known)) = unknown("unknown field `", message) {
        return document.unknown_key(span, &key, known);
    }
    if let Some((value, known)) = unknown("unknown variant `", message) {
        let advice = suggest(&value, &known);
        return document.refuse(span, format!("{value:?} is not one of the known values")).with_hint(advice);
    }
    let missing = backticked(message).into_iter().next().filter(|_| message.starts_with("missing field "));
    if let Some(key) = missing {
        return document.refuse_table(span, format!("`{key}` is missing"));
    }
    document.refuse(span, message)
}

/// The word that the reader does not know, and the words that it does. The first is the author's and may
/// hold anything, backticks and the reader's own phrases among it; the others are ours and do not.
fn unknown(opening: &str, message: &str) -> Option<(String, Vec<String>)> {
    let told = message.strip_prefix(opening)?;
    if let Some(word) = NONE_KNOWN.iter().find_map(|ending| told.strip_suffix(ending)) {
        return Some((word.to_owned(), Vec::new()));
    }
    let (word, known) = told.rsplit_once("`, expected ")?;
    Some((word.to_owned(), backticked(known)))
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
    use proptest::prelude::*;

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

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Shape {
        #[expect(dead_code, reason = "only its name matters here")]
        here: Option<Word>,
        #[expect(dead_code, reason = "only its name matters here")]
        nothing: Option<Nothing>,
    }

    #[derive(Debug, serde::Deserialize)]
    #[serde(rename_all = "kebab-case")]
    enum Word {
        One,
        Another,
    }

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Nothing {}

    /// Reads what must be refused.
    fn refused(table: &toml::Table) -> DeploymentError {
        let text = toml::to_string(table).unwrap();
        Document::from_text(std::path::Path::new("file.toml"), &text).parse::<Shape>().unwrap_err()
    }

    fn unknown_key(error: DeploymentError) -> (String, Vec<String>) {
        match error {
            DeploymentError::UnknownKey { key, known, .. } => (key, known),
            other => panic!("{other}"),
        }
    }

    proptest! {
        #[test]
        fn whatever_is_unknown_is_named_as_it_is_written(
            word in prop_oneof![any::<String>(), "[a`, ]{0,4}(`, expected |`, there are no )?[a`, ]{0,4}"],
        ) {
            prop_assume!(!["here", "nothing", "one", "another"].contains(&word.as_str()));
            let own = |table: toml::Table| toml::Value::Table(table);
            let at_the_top = toml::Table::from_iter([(word.clone(), true.into())]);
            let of_none = toml::Table::from_iter([("nothing".to_owned(), own(at_the_top.clone()))]);
            let value = toml::Table::from_iter([("here".to_owned(), word.as_str().into())]);
            let known = ["here", "nothing"].map(str::to_owned).to_vec();
            prop_assert_eq!(unknown_key(refused(&at_the_top)), (word.clone(), known));
            prop_assert_eq!(unknown_key(refused(&of_none)), (word.clone(), Vec::new()));
            let said = refused(&value);
            let expected = format!("{word:?} is not one of the known values");
            prop_assert!(said.to_string().ends_with(&expected), "{}", said);
            let hint = said.hint().unwrap();
            prop_assert!(hint.starts_with("did you mean") || hint == "known here: `one`, `another`", "{}", hint);
        }
    }
}
