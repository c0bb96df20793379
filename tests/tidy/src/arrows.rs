//! The arrows between rooms: towards the centre, and only those drawn here. A new arrow is a decision,
//! made by adding it to this list.

use toml::Table;

use crate::repository::{File, assert_clean, cargo_files};

/// Each crate of `host/` and the crates of `host/` that it may know.
const ARROWS: &[(&str, &[&str])] = &[
    ("lanes", &[]),
    ("engine", &["lanes"]),
    ("effects", &["engine"]),
    ("kafka", &["effects", "engine"]),
    ("deployment", &[]),
    ("capability", &["deployment", "effects", "engine"]),
    ("guest", &["capability", "deployment", "effects", "engine"]),
    ("devbroker", &[]),
    ("keylane", &["capability", "deployment", "devbroker", "effects", "engine", "guest", "kafka"]),
];

/// Crates of `handlers/` that others in `handlers/` may know.
const GUEST_LIBRARY: &str = "keylane-sdk";

/// What breaks the arrows in one crate's manifest.
fn findings(file: &File) -> Vec<String> {
    let room = file.path.trim_end_matches("/Cargo.toml");
    let manifest: Table = file.text.parse().unwrap();
    let production =
        [dependencies(&manifest, "dependencies"), dependencies(&manifest, "build-dependencies")].concat();
    let tests = dependencies(&manifest, "dev-dependencies");
    if let Some(name) = room.strip_prefix("host/") {
        return host_findings(name, &production, &tests);
    }
    if room.starts_with("handlers/") {
        return [production, tests].concat().iter().filter_map(|used| handler_finding(room, used)).collect();
    }
    Vec::new()
}

fn host_findings(name: &str, production: &[String], tests: &[String]) -> Vec<String> {
    let Some((_, allowed)) = ARROWS.iter().find(|(room, _)| *room == name) else {
        return vec![format!(
            "host/{name}: a room without arrows; add it to the list in tests/tidy/src/arrows.rs"
        )];
    };
    let allowed = |used: &str| used.strip_prefix("keylane-").is_some_and(|room| allowed.contains(&room));
    let ours = |used: &&String| used.starts_with("keylane") || is_handler(used) || is_test_crate(used);
    let mut findings: Vec<String> = production
        .iter()
        .filter(ours)
        .filter(|used| !allowed(used))
        .map(|used| format!("host/{name} may not know {used}"))
        .collect();
    let handlers = tests.iter().filter(|used| is_handler(used));
    findings
        .extend(handlers.map(|used| format!("host/{name} may not know the handler {used}, even in tests")));
    findings
}

fn handler_finding(room: &str, used: &str) -> Option<String> {
    let of_the_host = used.starts_with("keylane") && used != GUEST_LIBRARY && !is_test_crate(used);
    of_the_host.then(|| format!("{room} may not know {used}: handlers and host meet in wit/ only"))
}

/// The names of a table of dependencies, those for one target included.
fn dependencies(manifest: &Table, kind: &str) -> Vec<String> {
    let names = |table: &Table| -> Vec<String> {
        table
            .get(kind)
            .and_then(toml::Value::as_table)
            .into_iter()
            .flatten()
            .map(|(name, _)| name.clone())
            .collect()
    };
    let targets = manifest.get("target").and_then(toml::Value::as_table).into_iter().flatten();
    let of_targets = targets.filter_map(|(_, target)| target.as_table()).flat_map(names);
    names(manifest).into_iter().chain(of_targets).collect()
}

fn is_handler(name: &str) -> bool {
    name == GUEST_LIBRARY || ["accounting", "email", "analytics"].contains(&name)
}

fn is_test_crate(name: &str) -> bool {
    name.starts_with("guest-")
        || ["keylane-test-support", "keylane-conformance", "keylane-tidy"].contains(&name)
}

#[test]
fn a_wrong_arrow_is_found() {
    for (path, dependency, finding) in [
        ("host/lanes", "keylane-engine", "host/lanes may not know keylane-engine"),
        ("host/engine", "keylane-kafka", "host/engine may not know keylane-kafka"),
        ("host/kafka", "keylane-deployment", "host/kafka may not know keylane-deployment"),
        ("host/guest", "keylane-kafka", "host/guest may not know keylane-kafka"),
        ("host/keylane", "keylane-lanes", "host/keylane may not know keylane-lanes"),
        ("host/keylane", "accounting", "host/keylane may not know accounting"),
        ("host/guest", "keylane-test-support", "host/guest may not know keylane-test-support"),
        (
            "handlers/email",
            "keylane-engine",
            "handlers/email may not know keylane-engine: handlers and host meet in wit/ only",
        ),
    ] {
        let text = format!("[dependencies]\n{dependency}.workspace = true");
        assert_eq!(findings(&File::fixture(&format!("{path}/Cargo.toml"), &text)), [finding]);
    }
    let in_tests = "[dev-dependencies]\nkeylane-sdk.workspace = true";
    assert_eq!(findings(&File::fixture("host/guest/Cargo.toml", in_tests)).len(), 1);
    let for_a_target = "[target.'cfg(unix)'.dependencies]\nkeylane-kafka.workspace = true";
    assert_eq!(findings(&File::fixture("host/guest/Cargo.toml", for_a_target)).len(), 1);
    assert_eq!(findings(&File::fixture("host/attic/Cargo.toml", "")).len(), 1);
}

#[test]
fn a_right_arrow_is_not() {
    for (path, text) in [
        ("host/engine/Cargo.toml", "[dependencies]\nkeylane-lanes.workspace = true\ntokio.workspace = true"),
        ("host/guest/Cargo.toml", "[dev-dependencies]\nkeylane-test-support.workspace = true"),
        ("handlers/email/Cargo.toml", "[dependencies]\nkeylane-sdk.workspace = true"),
        ("tests/e2e/Cargo.toml", "[dependencies]\nkeylane-lanes.workspace = true"),
    ] {
        assert_eq!(findings(&File::fixture(path, text)), Vec::<String>::new());
    }
}

#[test]
fn the_rooms_keep_their_arrows() {
    let files = cargo_files();
    for (room, _) in ARROWS {
        let path = format!("host/{room}/Cargo.toml");
        assert!(files.iter().any(|file| file.path == path), "no {path}: take the room off the list");
    }
    assert_clean(&files.iter().flat_map(findings).collect::<Vec<_>>());
}
