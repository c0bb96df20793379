//! Vendors: each heavy library has one or two rooms that may know it, so that it can be replaced there.
//! Tests may use whatever they like.

use toml::Table;

use crate::repository::{File, assert_clean, cargo_files};

/// Libraries by the beginning of their name, and the rooms of the host that may use them.
const VENDORS: &[(&str, &[&str])] = &[
    ("rdkafka", &["kafka"]),
    ("wasmtime", &["guest", "capability"]),
    ("sqlx", &["effects"]),
    ("libsqlite3-sys", &["effects"]),
    ("lettre", &["capability"]),
    ("kafka-protocol", &["devbroker"]),
];

/// What a crate of the host uses and may not.
fn findings(file: &File) -> Vec<String> {
    let Some(room) = file.path.strip_prefix("host/").map(|path| path.trim_end_matches("/Cargo.toml")) else {
        return Vec::new();
    };
    let manifest: Table = file.text.parse().unwrap();
    let tables =
        ["dependencies", "build-dependencies"].into_iter().filter_map(|kind| manifest.get(kind)?.as_table());
    let used: Vec<&String> = tables.flat_map(|table| table.keys()).collect();
    let forbidden = |name: &&String| {
        VENDORS.iter().any(|(vendor, rooms)| name.starts_with(vendor) && !rooms.contains(&room))
    };
    let mut findings: Vec<String> = used
        .iter()
        .copied()
        .filter(forbidden)
        .map(|name| format!("host/{room} may not use {name}"))
        .collect();
    if room == "lanes" {
        findings
            .extend(used.into_iter().map(|name| format!("host/lanes may not use anything, not even {name}")));
    }
    findings
}

#[test]
fn a_vendor_in_the_wrong_room_is_found() {
    for (path, dependency, expected) in [
        ("host/engine/Cargo.toml", "rdkafka", 1),
        ("host/keylane/Cargo.toml", "wasmtime-wasi", 1),
        ("host/guest/Cargo.toml", "sqlx", 1),
        ("host/kafka/Cargo.toml", "lettre", 1),
        ("host/kafka/Cargo.toml", "kafka-protocol", 1),
        ("host/lanes/Cargo.toml", "bytes", 1),
        ("host/kafka/Cargo.toml", "rdkafka", 0),
        ("host/capability/Cargo.toml", "wasmtime", 0),
        ("tests/e2e/Cargo.toml", "rdkafka", 0),
    ] {
        let text = format!("[dependencies]\n{dependency}.workspace = true");
        assert_eq!(findings(&File::fixture(path, &text)).len(), expected, "{dependency} in {path}");
    }
}

#[test]
fn vendors_stay_in_their_rooms() {
    assert_clean(&cargo_files().iter().flat_map(findings).collect::<Vec<_>>());
}
