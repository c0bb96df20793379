//! The map shows the land: ARCHITECTURE.md is short, and each file and test that it cites is there.

use crate::repository::{File, assert_clean, files};

/// Lines of ARCHITECTURE.md.
const MAP_LINES_MAX: usize = 250;

/// Papers that the root has.
const PAPERS: &[&str] = &["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "LICENSE"];

/// What the map cites and the land has not.
fn findings(map: &File, land: &[File]) -> Vec<String> {
    let mut findings = Vec::new();
    let lines = map.text.lines().count();
    if lines > MAP_LINES_MAX {
        findings.push(format!("{}: {lines} lines, at most {MAP_LINES_MAX}", map.path));
    }
    for (number, line) in map.text.lines().enumerate() {
        let missing = line.split('`').skip(1).step_by(2).filter(|word| is_missing(word, land));
        findings.extend(missing.map(|word| format!("{}:{}: there is no `{word}`", map.path, number + 1)));
    }
    findings
}

/// Whether a word in backticks cites something that is not there. `a/b.rs` cites a file or folder,
/// `a/b.rs::name` and `room::tests::name` a function; other words cite nothing.
fn is_missing(word: &str, land: &[File]) -> bool {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | ':');
    if !word.chars().all(plain) {
        return false;
    }
    let (path, function) = match word.rsplit_once("::") {
        Some((path, function)) => (path, Some(function)),
        None => (word, None),
    };
    match function {
        Some(function) if path.contains('/') => {
            !land.iter().any(|file| file.path == path && defines(file, function))
        }
        Some(function) => {
            path.split("::").any(|part| part == "tests") && !land.iter().any(|file| defines(file, function))
        }
        None => is_path(word, land) && !exists(word, land),
    }
}

/// A path begins with one of the root's folders.
fn is_path(word: &str, land: &[File]) -> bool {
    let Some((first, _)) = word.split_once('/') else { return false };
    land.iter().any(|file| file.path.split_once('/').is_some_and(|(folder, _)| folder == first))
}

fn exists(path: &str, land: &[File]) -> bool {
    let folder = format!("{}/", path.trim_end_matches('/'));
    land.iter().any(|file| file.path == path || file.path.starts_with(&folder))
}

/// Whether a Rust file holds a function or module of this name.
fn defines(file: &File, name: &str) -> bool {
    let is_rust = file.path.ends_with(".rs");
    is_rust
        && ["fn ", "mod "].iter().any(|kind| {
            let opening = format!("{kind}{name}");
            file.text.match_indices(&opening).any(|(at, found)| {
                let next = file.text.get(at + found.len()..).and_then(|rest| rest.chars().next());
                !next.is_some_and(|c| c.is_alphanumeric() || c == '_')
            })
        })
}

#[test]
fn a_citation_of_nothing_is_found() {
    let land = [
        File::fixture("host/lanes/src/lane.rs", "fn order_holds_long() {}"),
        File::fixture("host/lanes/tests/order.rs", "#[test]\nfn order_holds() {}"),
    ];
    let check = |text: &str| findings(&File::fixture("ARCHITECTURE.md", text), &land);
    for missing in [
        "host/lanes/src/gone.rs",
        "host/gone",
        "host/lanes/tests/order.rs::gone",
        "host/lanes/src/lane.rs::order_holds",
        "lanes::tests::gone",
    ] {
        assert_eq!(
            check(&format!("x\nsee `{missing}`")),
            [format!("ARCHITECTURE.md:2: there is no `{missing}`")]
        );
    }
    for there in [
        "host/lanes/src/lane.rs",
        "host/lanes",
        "host/",
        "host/lanes/tests/order.rs::order_holds",
        "tests::order_holds",
        "std::sync::Arc",
        "wasi:logging/logging",
        "done | retry",
        "a/b",
    ] {
        assert_eq!(check(&format!("see `{there}`")), Vec::<String>::new());
    }
    assert_eq!(check(&"x\n".repeat(251)).len(), 1);
}

#[test]
fn the_map_shows_the_land() {
    let land = files();
    let map = land.iter().find(|file| file.path == "ARCHITECTURE.md").unwrap();
    assert_clean(&findings(map, &land));
}

#[test]
fn the_papers_are_there() {
    let land = files();
    let missing = PAPERS.iter().filter(|paper| !land.iter().any(|file| file.path == **paper));
    assert_clean(&missing.map(|paper| format!("there is no {paper}")).collect::<Vec<_>>());
}
