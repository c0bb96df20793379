//! The sample manifest says what is true: what stands there is the default, what is commented out is right,
//! and so is each word that a comment offers.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop"
)]

use std::path::Path;

use keylane_deployment::{Document, Manifest};

/// The fewest that a manifest of the sample's name can say.
const SMALLEST: &str = "name = \"sample\"\ncomponent = \"sample.wasm\"\n[subscribe]\ntopics = [\"tasks\"]\n";

fn sample() -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/sample/handler.toml");
    std::fs::read_to_string(file).unwrap()
}

fn read(text: &str) -> Manifest {
    let document = Document::from_text(Path::new("handler.toml"), text);
    Manifest::from_document(&document).unwrap_or_else(|error| panic!("{error}, in\n{text}"))
}

/// The key or the header of a table that is commented out in a line, if one is: what is TOML by itself.
fn commented_out(line: &str) -> Option<&str> {
    let key = line.strip_prefix("# ")?;
    (key.parse::<toml::Table>().is_ok_and(|table| !table.is_empty())).then_some(key)
}

/// The sample with those lines put to use that are commented out and pass.
fn with(passes: impl Fn(usize) -> bool) -> String {
    let text = sample();
    let lines = text.lines().enumerate();
    let used = lines.map(|(at, line)| commented_out(line).filter(|_| passes(at)).unwrap_or(line));
    used.collect::<Vec<_>>().join("\n")
}

/// The lines that are commented out, in groups: a table with its keys, or a key of a table that is there.
fn groups() -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut table = false;
    for (at, line) in sample().lines().enumerate() {
        match commented_out(line) {
            Some(key) => {
                let header = key.starts_with('[');
                match groups.last_mut().filter(|_| table && !header) {
                    Some(group) => group.push(at),
                    None => groups.push(vec![at]),
                }
                table |= header;
            }
            // A comment may go on in the next line.
            None => table &= line.starts_with(' '),
        }
    }
    groups
}

/// The sample without the lines of these keys or tables.
fn without(text: &str, gone: &[&str]) -> String {
    let mut table_gone = false;
    let lines = text.lines().filter(|line| {
        if line.starts_with('[') {
            table_gone = gone.iter().any(|table| line.starts_with(table));
        }
        !table_gone && !gone.iter().any(|key| line.starts_with(&format!("{key} = ")))
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn what_stands_in_the_sample_is_the_default() {
    assert_eq!(read(&sample()), read(SMALLEST));
}

#[test]
fn what_is_commented_out_is_right_alone_and_together() {
    let groups = groups();
    assert!(groups.len() >= 7, "only {groups:?}");
    let text = sample();
    let begins = |group: &[usize], with: &str| text.lines().nth(group[0]).unwrap().starts_with(with);
    let group_of = |opening: &str| groups.iter().find(|group| begins(group, opening)).unwrap();
    let (database, interval) = (group_of("# [grants.sql."), group_of("# transaction-interval"));
    for group in groups.iter().filter(|group| *group != interval) {
        // What is promised of a database needs one.
        let of_it = ["# guarantee", "# [grants.mail]", "# [grants.keyvalue]"];
        let needs_it = of_it.iter().any(|opening| begins(group, opening));
        let passes = |at| group.contains(&at) || (needs_it && database.contains(&at));
        assert_ne!(read(&with(passes)), read(SMALLEST), "lines {group:?} change nothing");
    }
    // Beside a database there are no transactions that are so far apart.
    let everything_else = |at| !interval.contains(&at);
    let everything = read(&with(everything_else));
    let grants = &everything.grants;
    assert!(grants.mail.is_some() && grants.producer.is_some() && grants.logging.is_some());
    assert!(grants.keyvalue.is_some() && grants.http.is_some() && grants.config.is_some());
    assert!(grants.sql.len() == 2 && everything.delivery.max_age.is_some());
    assert!(everything.dead_letters.topic.is_some() && !everything.subscribe.events.is_empty());
    // What the grants bound is the default as well, and so is the promise.
    let bounds = ["rows-max", "records-max", "mails-max", "requests-max", "request-max", "response-max"];
    for limit in bounds.into_iter().chain(["isolation", "guarantee"]) {
        let text = with(everything_else);
        assert!(text.contains(&format!("\n{limit} = ")), "{limit}");
        assert_eq!(read(&without(&text, &[limit])), everything, "{limit}");
    }
    let of_kafka = [interval, group_of("# guarantee"), group_of("# [grants.producer]")];
    let text = with(|at| of_kafka.iter().any(|group| group.contains(&at)));
    assert!(read(&text).is_in_cuts());
    assert_eq!(read(&without(&text, &["transaction-interval"])), read(&text));
}

/// The words in quotes that a line's comment offers instead of the line's own.
fn offered(line: &str) -> Vec<&str> {
    let comment = line.split_once(" = ").and_then(|(_, rest)| rest.split_once('#'));
    comment.map(|(_, comment)| comment.split('"').skip(1).step_by(2).collect()).unwrap_or_default()
}

#[test]
fn each_word_that_a_comment_offers_is_known() {
    let text = sample();
    let mut tried = 0;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        for word in offered(line) {
            let key = line.split_once(" = ").unwrap().0;
            let changed = text.replace(line, &format!("{key} = \"{word}\""));
            // Where nothing is buried, nothing may be said of it; where order goes by partition, none of keys.
            let read = match (key, word) {
                ("then", "pause-lane" | "stop") => {
                    read(&without(&changed, &["[delivery.flood]", "[dead-letters]"]))
                }
                ("order", "partition") => read(&without(&changed, &["null-keys"])),
                _ => read(&changed),
            };
            tried += 1;
            assert_eq!(read.name, "sample");
        }
    }
    assert!(tried >= 10, "only {tried} words");
}
