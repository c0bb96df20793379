//! The ordering engine is a pure state machine: no clock, no thread, no lock, no randomness, no input or output.

use crate::repository::{File, assert_clean, rust_files};
use crate::source::code_only;

/// What may not be named in `host/lanes`.
const IMPURE: &[&str] = &[
    "std::time::Instant",
    "std::time::SystemTime",
    "std::thread",
    "std::sync",
    "std::fs",
    "std::io",
    "std::net",
    "std::env",
    "std::process",
    "thread_local",
    "Instant",
    "SystemTime",
    "Mutex",
    "RwLock",
    "Atomic",
    "RandomState",
    "rand::",
    "async",
    "await",
    "tracing::",
    "metrics::",
];

/// What a production file of the ordering engine names and may not.
fn findings(file: &File) -> Vec<String> {
    let production = file.path.starts_with("host/lanes/src/") && !file.path.ends_with("tests.rs");
    if !production || file.path.contains("/tests/") {
        return Vec::new();
    }
    let code = code_only(&file.text);
    let mut findings = Vec::new();
    for (number, line) in code.lines().enumerate() {
        let named = IMPURE.iter().filter(|word| names(line, word));
        findings.extend(named.map(|word| format!("{}:{}: names {word}", file.path, number + 1)));
    }
    findings
}

/// Whether a line holds the word from its beginning: `Atomic` is in `AtomicU64`, but `rand::` not in `brand::`.
fn names(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line.get(..at).and_then(|before| before.chars().next_back());
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

#[test]
fn impurity_is_found() {
    let check = |code: &str| findings(&File::fixture("host/lanes/src/lane.rs", code)).len();
    for impure in
        ["use std::thread;", "let x = Instant::now();", "async fn run() {}", "x: AtomicU64", "rand::random()"]
    {
        assert_eq!(check(impure), 1, "{impure}");
    }
    for pure in ["// Instant", "let text = \"std::thread\";", "brand::new()", "use std::time::Duration;"] {
        assert_eq!(check(pure), 0, "{pure}");
    }
    assert_eq!(findings(&File::fixture("host/lanes/src/lane/tests.rs", "use std::thread;")).len(), 0);
    assert_eq!(findings(&File::fixture("host/engine/src/owner.rs", "use std::thread;")).len(), 0);
}

#[test]
fn the_ordering_engine_is_pure() {
    assert_clean(&rust_files().iter().flat_map(findings).collect::<Vec<_>>());
}
