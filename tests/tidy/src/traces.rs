//! Nothing in the repository knows the machine it was written on, or where one of us gets packages from.

use crate::repository::{File, assert_clean, files};

/// The one source that the lock file may name; put together here so that this file does not name it.
fn lock_source() -> String {
    ["registry+https://github.com/rust-lang/", "crates", ".io-index"].concat()
}

/// Places of one machine, and hosts of registries, in pieces for the same reason.
fn traces() -> Vec<String> {
    let folders = ["work", "root", "home", "Users"].map(|folder| format!("/{folder}/"));
    let hosts = [
        ["crates", "io"],
        ["npmjs", "org"],
        ["pypi", "org"],
        ["pythonhosted", "org"],
        ["repo.maven", "apache.org"],
        ["repo1.maven", "org"],
        ["proxy.golang", "org"],
    ];
    folders.into_iter().chain(hosts.map(|host| host.join("."))).collect()
}

/// The lines of a file that name what they should not.
fn findings(file: &File) -> Vec<String> {
    if file.name() == "Cargo.lock" {
        return lock_findings(file);
    }
    let traces = traces();
    let lines = file.text.lines().enumerate();
    lines
        .flat_map(|(number, line)| {
            traces
                .iter()
                .filter(|trace| line.contains(trace.as_str()))
                .map(move |trace| format!("{}:{}: names {trace}", file.path, number + 1))
        })
        .collect()
}

fn lock_findings(file: &File) -> Vec<String> {
    let usual = format!("source = \"{}\"", lock_source());
    let sources = file.text.lines().filter(|line| line.starts_with("source = ") && *line != usual);
    sources.map(|line| format!("{}: an unusual {line}", file.path)).collect()
}

#[test]
fn a_trace_is_found() {
    for trace in traces() {
        let text = format!("first\nsee {trace}x for more");
        assert_eq!(findings(&File::fixture("README.md", &text)), [format!("README.md:2: names {trace}")]);
    }
    let text = format!("source = \"{}\"\nsource = \"git+https://example.org\"\n", lock_source());
    assert_eq!(findings(&File::fixture("Cargo.lock", &text)).len(), 1);
}

#[test]
fn the_repository_bears_no_traces() {
    assert_clean(&files().iter().flat_map(findings).collect::<Vec<_>>());
}
