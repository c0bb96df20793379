//! A manifest that is wrong: each message names the file, the line and the key, and the hint says what to do.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::path::Path;

use keylane_deployment::{Document, Manifest};

const HEAD: &str = "name = \"audit\"\ncomponent = \"audit.wasm\"\n[subscribe]\ntopics = [\"tasks\"]\n";

/// Reads a manifest that must be refused, and gives the message and the hint.
fn refusal(text: &str) -> (String, String) {
    let error = Manifest::from_document(&Document::from_text(Path::new("handler.toml"), text)).unwrap_err();
    assert!(!error.can_retry());
    (error.to_string(), error.hint().unwrap_or_default())
}

/// The lines are appended to four lines that are right, within `[subscribe]`.
fn check(lines: &str, message: &str, hint: &str) {
    assert_eq!(refusal(&format!("{HEAD}{lines}")), (message.to_owned(), hint.to_owned()), "for {lines:?}");
}

#[test]
fn unknown_keys_are_refused_with_the_nearest() {
    check("topic = 1", "handler.toml, line 5, `subscribe`: unknown key `topic`", "did you mean `topics`?");
    check(
        "[delivery]\natempts = 1",
        "handler.toml, line 6, `delivery`: unknown key `atempts`",
        "did you mean `attempts`?",
    );
    check(
        "[grants.sql.ledger]\naccess = \"write\"\nmigration = \"x\"",
        "handler.toml, line 7, `grants.sql.ledger`: unknown key `migration`",
        "did you mean `migrations`?",
    );
    check(
        "[grants.logging]\nlevel = 1",
        "handler.toml, line 6, `grants.logging`: unknown key `level`",
        "nothing may stand here",
    );
    check("[limit]\ntime = \"1s\"", "handler.toml, line 5: unknown key `limit`", "did you mean `limits`?");
    check(
        "[grants]\nsockets = {}",
        "handler.toml, line 6, `grants`: unknown key `sockets`",
        "known here: `sql`, `producer`, `mail`, `keyvalue`, `http`, `config`, `logging`",
    );
}

#[test]
fn unknown_words_are_refused_with_the_nearest() {
    check(
        "untyped = \"handled\"",
        "handler.toml, line 5, `subscribe.untyped`: \"handled\" is not one of the known values",
        "did you mean `handle`?",
    );
    check(
        "[delivery]\nthen = \"pause\"",
        "handler.toml, line 6, `delivery.then`: \"pause\" is not one of the known values",
        "did you mean `pause-lane`?",
    );
    check(
        "[delivery]\norder = \"keys\"",
        "handler.toml, line 6, `delivery.order`: \"keys\" is not one of the known values",
        "did you mean `key`?",
    );
}

#[test]
fn what_must_be_there_is_missed() {
    assert_eq!(refusal("").0, "handler.toml: `name` is missing");
    assert_eq!(
        refusal("name = \"a\"\ncomponent = \"a\"\n[subscribe]\n").0,
        "handler.toml, line 3, `subscribe`: `topics` is missing"
    );
    check("[grants.producer]", "handler.toml, line 5, `grants.producer`: `topics` is missing", "");
    check("[grants.sql.ledger]", "handler.toml, line 5, `grants.sql.ledger`: `access` is missing", "");
}

#[test]
fn what_is_not_toml_is_told_by_its_line() {
    let (message, _) = refusal("name = \"audit\"\ncomponent = \n");
    assert!(message.starts_with("handler.toml, line 2: not valid TOML: "), "{message}");
}

#[test]
fn quantities_carry_their_unit_and_keep_their_bounds() {
    check(
        "[limits]\nmemory = \"64MB\"",
        "handler.toml, line 6, `limits.memory`: \"64MB\" is not a size: write a whole number and a unit (B, KiB, MiB, GiB), as in \"64MiB\"",
        "",
    );
    check(
        "[limits]\ntime = 5",
        "handler.toml, line 6, `limits.time`: invalid type: integer `5`, expected a time with its unit, as in \"250ms\"",
        "",
    );
    check(
        "[limits]\ntime = \"2h\"",
        "handler.toml, line 6, `limits.time`: 2h is out of bounds: from 1ms to 5m",
        "",
    );
    check(
        "[limits]\nmemory = \"2GiB\"",
        "handler.toml, line 6, `limits.memory`: 2GiB is out of bounds: from 1MiB to 1GiB",
        "",
    );
    check(
        "[delivery]\nattempts = 0",
        "handler.toml, line 6, `delivery.attempts`: 0 is out of bounds: from 1 to 1000",
        "",
    );
    check(
        "[delivery]\nattempts = -1",
        "handler.toml, line 6, `delivery.attempts`: -1 is out of bounds: from 1 to 1000",
        "",
    );
    check(
        "[delivery]\nbackoff = \"2m\"",
        "handler.toml, line 6, `delivery.backoff`: the first wait, 2m, is longer than the longest, 1m",
        "`backoff` is the first wait, `backoff-max` the longest",
    );
}

#[test]
fn names_and_topics_are_legal() {
    let named = |name: &str| refusal(&HEAD.replace("audit\"\n", &format!("{name}\"\n"))).0;
    assert_eq!(
        named("Audit"),
        "handler.toml, line 1, `name`: \"Audit\" is not a name: lower-case letters, digits, and hyphens between them"
    );
    let topics = |topics: &str| refusal(&HEAD.replace("[\"tasks\"]", topics)).0;
    assert_eq!(topics("[]"), "handler.toml, line 4, `subscribe.topics`: name at least one topic");
    assert_eq!(topics("[\"a\", \"a\"]"), "handler.toml, line 4, `subscribe.topics`: \"a\" stands here twice");
    assert_eq!(
        topics("[\n\"a\",\n\"b c\"]"),
        "handler.toml, line 6, `subscribe.topics`: \"b c\" is not a topic: letters, digits, dots, underscores and hyphens"
    );
    check("events = [\"\"]", "handler.toml, line 5, `subscribe.events`: an event type cannot be empty", "");
    check(
        "type-header = \"\"",
        "handler.toml, line 5, `subscribe.type-header`: a header's name cannot be empty",
        "",
    );
    check(
        "[grants.sql.mails]\naccess = \"write\"\n[grants.mail]\nfrom = \"nobody\"",
        "handler.toml, line 8, `grants.mail.from`: \"nobody\" is not a mail address",
        "",
    );
}

#[test]
fn a_start_that_is_none_is_refused() {
    let (message, hint) = refusal(&format!("{HEAD}start = \"now\""));
    assert_eq!(message, "handler.toml, line 5, `subscribe.start`: \"now\" is no place to start");
    assert!(hint.contains("\"earliest\""), "{hint}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Manifest::load(Path::new("no/such/handler.toml")).unwrap_err();
    assert_eq!(error.to_string(), "cannot read no/such/handler.toml");
}

#[test]
fn where_requests_may_go_is_written_out() {
    check(
        "[grants.http]\nhosts = []",
        "handler.toml, line 6, `grants.http.hosts`: name at least one host",
        "",
    );
    check(
        "[grants.http]\nhosts = [\"*.example.org\"]",
        "handler.toml, line 6, `grants.http.hosts`: \"*.example.org\" is not a host: write a name in lower case \
         or an address, with a port if it needs one",
        "",
    );
    check(
        "[grants.http]\nhosts = [\"ftp://example.org\"]",
        "handler.toml, line 6, `grants.http.hosts`: \"ftp\" is not a scheme of requests: write https or http",
        "",
    );
    check(
        "[grants.http]\nhosts = [\"a.example\"]\nresponse-max = \"1GiB\"",
        "handler.toml, line 7, `grants.http.response-max`: 1GiB is out of bounds: from 1B to 64MiB",
        "",
    );
}

#[test]
fn what_is_asked_for_by_name_has_one() {
    check(
        "[grants.sql.ledger]\naccess = \"write\"\n[grants.keyvalue]\nbuckets = [\"Seen\"]",
        "handler.toml, line 8, `grants.keyvalue.buckets`: \"Seen\" is not a name: lower-case letters, digits, and \
         hyphens between them",
        "",
    );
    check(
        "[grants.config]\n\"a b\" = \"c\"",
        "handler.toml, line 6, `grants.config.a b`: \"a b\" is not a name of a value: letters, digits, dots, \
         underscores and hyphens, 63 at most",
        "",
    );
}
