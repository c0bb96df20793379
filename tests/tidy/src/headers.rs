//! Each file opens with what it is for, and none is named after nothing in particular.

use crate::repository::{File, assert_clean, rust_files};

/// Names that say what a file is not about.
const ATTICS: &[&str] = &["util", "utils", "helper", "helpers", "common", "manager", "managers", "misc"];

/// What is wrong with how a file opens, or is named.
fn findings(file: &File) -> Vec<String> {
    let mut findings = Vec::new();
    if !file.text.starts_with("//!") {
        findings.push(format!("{}: does not open with a `//!` comment that says what it is for", file.path));
    }
    let parts = file.path.trim_end_matches(".rs").split('/');
    let attics = parts.filter(|part| part.split(['_', '-']).any(|word| ATTICS.contains(&word)));
    findings.extend(attics.map(|part| format!("{}: {part:?} says nothing of what is in it", file.path)));
    findings
}

#[test]
fn a_file_without_a_word_is_found() {
    assert_eq!(findings(&File::fixture("host/a/src/lane.rs", "use std::fmt;\n//! late")).len(), 1);
    assert_eq!(findings(&File::fixture("host/a/src/lane.rs", "//! Lanes.")).len(), 0);
}

#[test]
fn an_attic_is_found() {
    for path in [
        "host/common/src/x.rs",
        "host/a/src/utils.rs",
        "tests/a/pool_manager.rs",
        "host/a/src/test_helpers/mod.rs",
    ] {
        assert_eq!(findings(&File::fixture(path, "//! x")).len(), 1, "{path}");
    }
    assert_eq!(findings(&File::fixture("host/a/src/commons.rs", "//! x")).len(), 0);
}

#[test]
fn every_file_says_what_it_is_for() {
    assert_clean(&rust_files().iter().flat_map(findings).collect::<Vec<_>>());
}
