//! Manifests whose policy contradicts itself, or that would do harm: each is refused at its place, with what
//! to do about it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::path::Path;

use keylane_deployment::{Document, Manifest};

const HEAD: &str = "name = \"audit\"\ncomponent = \"audit.wasm\"\n[subscribe]\ntopics = [\"tasks\"]\n";

/// Reads a manifest that must be refused, and gives the message and the hint.
fn refusal(text: &str) -> (String, String) {
    let error = Manifest::from_document(&Document::from_text(Path::new("handler.toml"), text)).unwrap_err();
    (error.to_string(), error.hint().unwrap_or_default())
}

/// The lines are appended to four lines that are right, within `[subscribe]`.
fn check(lines: &str, message: &str, hint: &str) {
    let expected = (format!("handler.toml, line {message}"), hint.to_owned());
    assert_eq!(refusal(&format!("{HEAD}{lines}")), expected, "for {lines:?}");
}

#[test]
fn a_cap_that_is_never_reached() {
    check(
        "[delivery]\nattempts = 3\n[delivery.caps]\ntimeout = 4",
        "8, `delivery.caps.timeout`: an event ends after 3 failures of any kind (`attempts`), so this cap is never reached",
        "write 3 at most, or raise `attempts`",
    );
    check(
        "[delivery.caps]\nretry = 9",
        "6, `delivery.caps.retry`: an event ends after 8 failures of any kind (`attempts`), so this cap is never reached",
        "write 8 at most, or raise `attempts`",
    );
}

#[test]
fn an_age_below_the_first_wait() {
    check(
        "[delivery]\nbackoff = \"2s\"\nmax-age = \"1s\"",
        "7, `delivery.max-age`: an event may be tried for 1s, but its first wait is 2s (`backoff`)",
        "raise `max-age`, lower `backoff`, or write attempts = 1 for no second attempt",
    );
}

#[test]
fn dead_letters_of_a_handler_that_has_none() {
    for then in ["pause-lane", "stop"] {
        check(
            &format!("[delivery]\nthen = \"{then}\"\n[delivery.flood]\nshare = 20"),
            "7, `delivery.flood`: a flood is one of dead letters, but `delivery.then` sends nothing there",
            "leave [delivery.flood] out, or write then = \"dead-letter\"",
        );
        check(
            &format!("[delivery]\nthen = \"{then}\"\n[dead-letters]\nheaders = \"spring\""),
            "7, `dead-letters`: nothing goes to the dead letters: neither `delivery.then` nor `subscribe.untyped` says so",
            "leave [dead-letters] out, or write then = \"dead-letter\" in [delivery]",
        );
    }
}

#[test]
fn an_order_that_leaves_records_without_a_key_no_choice() {
    let hint = "leave `null-keys` out, or write order = \"key\"";
    check(
        "[delivery]\norder = \"none\"\nnull-keys = \"ordered\"",
        "7, `delivery.null-keys`: `order` is \"none\": then nothing is ordered",
        hint,
    );
    check(
        "[delivery]\norder = \"partition\"\nnull-keys = \"unordered\"",
        "7, `delivery.null-keys`: `order` is \"partition\": then records without a key are ordered as well",
        hint,
    );
}

#[test]
fn a_run_that_keeps_its_limits_and_would_be_called_stuck() {
    check(
        "[limits]\ntime = \"3s\"\nslice = \"500ms\"\nstuck-after = \"2s\"",
        "8, `limits.stuck-after`: a run may rightly take 3500ms (`slice` and `time`), and would be reported as stuck",
        "write \"3500ms\" at least, or lower `time`",
    );
}

#[test]
fn topics_that_feed_a_handler_with_its_own_failures() {
    check(
        "[dead-letters]\ntopic = \"tasks\"",
        "6, `dead-letters.topic`: the handler reads \"tasks\" itself: what it gives up would come back",
        "name another topic",
    );
    check(
        "[dead-letters]\ntopic = \"tasks.audit.retry\"",
        "6, `dead-letters.topic`: the handler reads \"tasks.audit.retry\" itself: what it gives up would come back",
        "name another topic",
    );
    for own in ["tasks.audit.dlq", "tasks.audit.retry"] {
        let (message, _) = refusal(&HEAD.replace("\"tasks\"", &format!("\"tasks\", \"{own}\"")));
        assert_eq!(
            message,
            format!(
                "handler.toml, line 4, `subscribe.topics`: {own:?} is a topic that keylane makes for this handler itself"
            )
        );
    }
    let long = "t".repeat(240);
    let (message, _) = refusal(&HEAD.replace("tasks", &long));
    assert!(message.contains("a topic has at most 249 characters, this one has 250"), "{message}");
}

#[test]
fn numbers_beyond_their_bounds() {
    for (lines, message) in [
        ("[delivery.caps]\ntrap = 0", "6, `delivery.caps.trap`: 0 is out of bounds: from 1 to 1000"),
        ("[delivery.caps]\neffects = 0", "6, `delivery.caps.effects`: 0 is out of bounds: from 1 to 1000000"),
        ("[delivery.flood]\nshare = 101", "6, `delivery.flood.share`: 101 is out of bounds: from 1 to 100"),
        ("[delivery.flood]\nevents = 9", "6, `delivery.flood.events`: 9 is out of bounds: from 10 to 10000"),
        ("[delivery]\nmax-age = \"1ms\"", "6, `delivery.max-age`: 1ms is out of bounds: from 100ms to 720h"),
        ("[limits]\nslice = \"2m\"", "6, `limits.slice`: 2m is out of bounds: from 1ms to 1m"),
        ("[limits]\nstuck-after = \"1ms\"", "6, `limits.stuck-after`: 1ms is out of bounds: from 1s to 1h"),
        (
            "[dead-letters]\ntopic = \"a b\"",
            "6, `dead-letters.topic`: \"a b\" is not a topic: letters, digits, dots, underscores and hyphens",
        ),
    ] {
        check(lines, message, "");
    }
}
