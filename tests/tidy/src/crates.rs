//! Every crate has the workspace's lints, edition and dependencies, so that there is one of each.

use toml::{Table, Value};

use crate::repository::{File, assert_clean, cargo_files};

/// Keys of `[package]` that the workspace decides.
const INHERITED: &[&str] = &["version", "edition", "rust-version", "license", "publish"];

/// What a crate has of its own and should have from the workspace.
fn findings(file: &File) -> Vec<String> {
    let manifest: Table = file.text.parse().unwrap();
    let mut findings = Vec::new();
    if !inherits(manifest.get("lints")) {
        findings.push(format!("{}: write [lints] workspace = true", file.path));
    }
    let package = manifest.get("package").and_then(Value::as_table);
    for key in INHERITED {
        if !inherits(package.and_then(|package| package.get(*key))) {
            findings.push(format!("{}: write {key}.workspace = true", file.path));
        }
    }
    for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
        let own = manifest.get(kind).and_then(Value::as_table).into_iter().flatten();
        let own = own.filter(|(_, dependency)| !inherits(Some(dependency)));
        findings.extend(own.map(|(name, _)| format!("{}: write {name}.workspace = true", file.path)));
    }
    findings
}

fn inherits(value: Option<&Value>) -> bool {
    value.and_then(|value| value.get("workspace")).and_then(Value::as_bool) == Some(true)
}

#[test]
fn a_crate_that_goes_its_own_way_is_found() {
    let package: String = INHERITED.iter().map(|key| format!("{key}.workspace = true\n")).collect();
    let right = format!(
        "[package]\nname = \"a\"\n{package}[lints]\nworkspace = true\n[dependencies]\nb.workspace = true\n"
    );
    let check = |text: &str| findings(&File::fixture("host/a/Cargo.toml", text)).len();
    assert_eq!(check(&right), 0);
    assert_eq!(check(&right.replace("[lints]\nworkspace = true\n", "")), 1);
    assert_eq!(check(&right.replace("edition.workspace = true", "edition = \"2021\"")), 1);
    assert_eq!(check(&right.replace("b.workspace = true", "b = \"1\"")), 1);
    assert_eq!(check(&right.replace("b.workspace = true", "b = { path = \"../b\" }")), 1);
}

#[test]
fn crates_follow_the_workspace() {
    assert_clean(&cargo_files().iter().flat_map(findings).collect::<Vec<_>>());
}
