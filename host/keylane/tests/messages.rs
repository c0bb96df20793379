//! The messages that a newcomer meets first, word for word.
//!
//! Each folder of `tests/golden/messages` is a case: `command` holds the arguments, `expected.txt` what the
//! program writes and its exit code, and the other files are there for it to read. A file `components`
//! names components of this repository that are put beside them. A case runs in a copy of its folder.
//!
//! `KEYLANE_BLESS=1 cargo test -p keylane --test messages` writes down what the program says now;
//! what has changed is then to be read in the difference.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on should stop"
)]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// Files of a case that are not for the program to read.
const OURS: [&str; 3] = ["command", "components", "expected.txt"];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

fn cases() -> Vec<PathBuf> {
    let folder = repository().join("tests/golden/messages");
    let mut cases: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() >= 20, "only {} cases", cases.len());
    cases
}

/// Copies what the program is to read.
fn lay_out(case: &Path) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy(case, folder.path());
    for ours in OURS {
        let _missing = fs::remove_file(folder.path().join(ours));
    }
    for component in fs::read_to_string(case.join("components")).unwrap_or_default().lines() {
        let built = repository().join("target/wasm32-wasip2/component").join(component);
        fs::copy(&built, folder.path().join(component)).unwrap_or_else(|error| {
            panic!("{}: {error}; run `make components guests` first", built.display())
        });
    }
    folder
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Runs a case and writes down what the program said.
fn run(case: &Path) -> String {
    let command = fs::read_to_string(case.join("command")).unwrap();
    let folder = lay_out(case);
    let output = Command::new(env!("CARGO_BIN_EXE_keylane"))
        .args(command.split_whitespace())
        .current_dir(folder.path())
        .env_remove("KEYLANE_LOG")
        .env_remove("CLICOLOR_FORCE")
        .output()
        .unwrap();
    let mut said = format!("exit code {}\n", output.status.code().expect("no exit code"));
    for (name, bytes) in [("standard output", output.stdout), ("standard error", output.stderr)] {
        let text = String::from_utf8(bytes).unwrap();
        if !text.is_empty() {
            write!(said, "--- {name}\n{text}").unwrap();
        }
    }
    said
}

#[test]
fn the_first_messages_are_as_agreed() {
    let bless = std::env::var_os("KEYLANE_BLESS").is_some_and(|value| value == "1");
    let mut differences = String::new();
    for case in cases() {
        let said = run(&case);
        let file = case.join("expected.txt");
        if bless {
            fs::write(&file, &said).unwrap();
        }
        let expected = fs::read_to_string(&file).unwrap_or_default();
        if said != expected {
            let name = case.file_name().unwrap().to_string_lossy().into_owned();
            write!(differences, "\n=== {name}\nexpected:\n{expected}\nsaid:\n{said}").unwrap();
        }
    }
    assert!(differences.is_empty(), "KEYLANE_BLESS=1 accepts what is said now{differences}");
}
