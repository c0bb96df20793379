//! Each guest has a test of its name.

use std::collections::BTreeSet;

use crate::stage::folder;

/// The files whose tests are about one guest each.
const SOURCES: [&str; 4] = [
    include_str!("answers.rs"),
    include_str!("contained.rs"),
    include_str!("refused.rs"),
    include_str!("services.rs"),
];

#[test]
fn each_guest_has_a_test_of_its_name() {
    let guests = folder("");
    let folders: BTreeSet<String> = std::fs::read_dir(&guests)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().join("Cargo.toml").is_file())
        .map(|entry| entry.file_name().into_string().unwrap().replace('-', "_"))
        .collect();
    assert!(!folders.is_empty(), "no guests in {}", guests.display());
    let tests: BTreeSet<String> = SOURCES.iter().flat_map(|source| test_names(source)).collect();
    let untested: Vec<_> = folders.difference(&tests).collect();
    assert!(untested.is_empty(), "guests without a test of their name: {untested:?}");
}

/// The functions that stand below a test attribute.
fn test_names(source: &str) -> Vec<String> {
    let lines: Vec<_> = source.lines().collect();
    lines
        .windows(2)
        .filter(|pair| pair[0].starts_with("#[tokio::test"))
        .filter_map(|pair| pair[1].strip_prefix("async fn ")?.split_once('('))
        .map(|(name, _)| name.to_owned())
        .collect()
}
