//! Which handlers may stand beside each other, and which may not.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use keylane_deployment::DeploymentError;

use super::*;

/// A handler of this name, with these lines under `[subscribe]` and after it.
fn handler(name: &str, lines: &str) -> Handler {
    let text = format!("name = \"{name}\"\ncomponent = \"{name}.wasm\"\n[subscribe]\n{lines}");
    let file = PathBuf::from(format!("{name}.toml"));
    let manifest = Manifest::from_document(&Document::from_text(&file, &text)).unwrap();
    Handler { file, manifest, databases: BTreeMap::new(), values: BTreeMap::new() }
}

fn reads(topics: &str) -> String {
    format!("topics = {topics}\n")
}

fn buries(topics: &str, letters: &str) -> String {
    format!("topics = {topics}\n[dead-letters]\ntopic = \"{letters}\"\n")
}

/// What is said of handlers with these names and lines.
fn said(handlers: &[(&str, String)]) -> Option<(String, String)> {
    let text = "handlers = []\n";
    let document = Document::from_text(Path::new("keylane.toml"), text);
    let handlers: Vec<Handler> = handlers.iter().map(|(name, lines)| handler(name, lines)).collect();
    let refused: DeploymentError = apart(&document, &(11..13), &handlers).err()?;
    let message = refused.to_string();
    let problem = message.strip_prefix("keylane.toml, line 1, `handlers`: ").unwrap();
    Some((problem.to_owned(), refused.hint().unwrap()))
}

#[test]
fn handlers_with_letters_of_their_own_stand_beside_each_other() {
    for handlers in [
        vec![("one", reads("[\"tasks\"]")), ("two", reads("[\"tasks\"]"))],
        vec![("one", buries("[\"tasks\"]", "graves")), ("two", buries("[\"tasks\"]", "tombs"))],
        // Another's dead letters may be read, by their own name or by a given one, and by many.
        vec![
            ("one", reads("[\"tasks\"]")),
            ("alarm", reads("[\"tasks.one.dlq\", \"more\"]")),
            ("repair", reads("[\"tasks.one.dlq\"]")),
        ],
        vec![("one", buries("[\"tasks\"]", "graves")), ("alarm", reads("[\"graves\"]"))],
        // Nothing of the last one comes back.
        vec![
            ("one", buries("[\"tasks\"]", "graves")),
            ("two", buries("[\"graves\"]", "tombs")),
            ("three", reads("[\"tombs\"]")),
        ],
        // A handler that buries nothing closes no circle, whatever it is called.
        vec![
            ("one", buries("[\"tasks\", \"back\"]", "graves")),
            ("two", "topics = [\"graves\"]\n[delivery]\nthen = \"pause-lane\"\n".to_owned()),
        ],
    ] {
        assert_eq!(said(&handlers), None, "{handlers:?}");
    }
}

#[test]
fn letters_of_two_handlers_in_one_topic() {
    let (problem, hint) =
        said(&[("one", buries("[\"tasks\"]", "graves")), ("two", buries("[\"orders\"]", "graves"))]).unwrap();
    assert_eq!(
        problem,
        "the dead letters of one.toml and of two.toml go to one topic, \"graves\": whoever redrives those of \
         one meets those of the other"
    );
    assert!(hint.contains("in one of the two, name another `dead-letters.topic`, or none"), "{hint}");
    // The name that keylane gives counts as well.
    let named = said(&[("one", reads("[\"tasks\"]")), ("two", buries("[\"orders\"]", "tasks.one.dlq"))]);
    assert!(named.unwrap().0.contains("\"tasks.one.dlq\""));
}

#[test]
fn letters_into_anothers_retry_topic() {
    let handlers = [("one", buries("[\"tasks\"]", "orders.two.retry")), ("two", reads("[\"orders\"]"))];
    let (problem, hint) = said(&handlers).unwrap();
    assert!(
        problem
            .starts_with("the dead letters of one.toml go to \"orders.two.retry\", by which two.toml gets"),
        "{problem}"
    );
    assert!(hint.starts_with("in one.toml, name another"), "{hint}");
}

#[test]
fn another_handlers_retry_topic_as_a_source() {
    let (problem, _) =
        said(&[("one", reads("[\"tasks\"]")), ("two", reads("[\"orders\", \"tasks.one.retry\"]"))]).unwrap();
    assert!(problem.starts_with("two.toml reads \"tasks.one.retry\", by which one.toml alone"), "{problem}");
}

#[test]
fn letters_that_go_round() {
    let (problem, hint) = said(&[
        ("one", buries("[\"tasks\", \"round\"]", "graves")),
        ("two", buries("[\"graves\"]", "tombs")),
        ("beside", reads("[\"tombs\", \"graves\"]")),
        ("three", buries("[\"tombs\"]", "round")),
    ])
    .unwrap();
    assert_eq!(
        problem,
        "what one.toml gives up comes back to it, again and again: dead letters go from one.toml to \"graves\", \
         which two.toml reads, and from two.toml to \"tombs\", which three.toml reads, and from three.toml to \
         \"round\", which one.toml reads"
    );
    assert!(hint.ends_with("with `then` in [delivery]"), "{hint}");
}
