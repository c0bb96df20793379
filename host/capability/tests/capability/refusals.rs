//! Imports that a manifest does not grant or the host does not have, and what the linker then holds.

use keylane_capability::GuestState;
use keylane_deployment::Grants;
use wasmtime::component::Linker;
use wasmtime::{Config, Engine};

use crate::support::Surroundings;

const RUNTIME: &[&str] = &[
    "wasi:cli/environment@0.2.6",
    "wasi:cli/exit@0.2.6",
    "wasi:cli/stderr@0.2.0",
    "wasi:io/streams@0.2.6",
    "wasi:clocks/wall-clock@0.2.6",
    "wasi:filesystem/preopens@0.2.6",
    "wasi:random/random@0.2.6",
    "keylane:handler/types@0.1.0",
];

fn refusal(grants: Option<Grants>, imports: &[&str]) -> String {
    let mut surroundings = Surroundings::new("");
    surroundings.manifest.grants = grants.unwrap_or(surroundings.manifest.grants);
    let checked = surroundings.capabilities().check(&surroundings.manifest, imports);
    checked.unwrap_err().to_string()
}

#[test]
fn the_runtime_and_what_is_granted_may_be_imported() {
    let mut surroundings = Surroundings::new("");
    let mut imports = RUNTIME.to_vec();
    imports.extend([
        "keylane:handler/sql@0.1.0",
        "keylane:handler/producer@0.1.0",
        "keylane:handler/mail@0.1.0",
        "wasi:logging/logging@0.1.0-draft",
    ]);
    surroundings.capabilities().check(&surroundings.manifest, &imports).unwrap();
    surroundings.manifest.grants = Grants::default();
    surroundings.capabilities().check(&surroundings.manifest, RUNTIME).unwrap();
}

#[test]
fn an_import_without_a_grant_is_refused_with_what_to_write() {
    for (import, grant) in [
        ("keylane:handler/sql@0.1.0", "[grants.sql.NAME]"),
        ("keylane:handler/producer@0.1.0", "[grants.producer] with topics = [\"...\"]"),
        ("keylane:handler/mail@0.1.0", "[grants.mail] with from = \"...\""),
        ("wasi:logging/logging@0.1.0-draft", "[grants.logging]"),
    ] {
        assert_eq!(
            refusal(Some(Grants::default()), &[import]),
            format!(
                "the component of handler \"accounting\" imports {import}, which its manifest does not grant; write \
                 {grant} in the manifest, or build the component without this import"
            )
        );
    }
}

#[test]
fn an_import_that_the_host_does_not_have_is_refused_by_name() {
    for import in [
        "wasi:sockets/tcp@0.2.6",
        "wasi:sockets/instance-network@0.2.6",
        "wasi:http/incoming-handler@0.2.6",
        "wasi:cli/environment@0.3.0",
        "wasi:cli/environment",
        "keylane:handler/schedule@0.1.0",
        "print",
    ] {
        let said = refusal(None, &[RUNTIME[0], import]);
        let begins = format!(
            "the component of handler \"accounting\" imports {import}, which this host does not offer"
        );
        assert!(said.starts_with(&begins), "{said}");
    }
}

#[test]
fn another_version_is_refused_with_the_one_there_is() {
    assert_eq!(
        refusal(None, &["keylane:handler/sql@0.2.0"]),
        "the component of handler \"accounting\" imports keylane:handler/sql@0.2.0, but this host has version 0.1.0 of \
         keylane:handler/sql; build the component against that version"
    );
    assert!(refusal(None, &["keylane:handler/types@0.2.0"]).contains("has version 0.1.0"));
}

#[test]
fn two_databases_to_write_to_are_refused() {
    let mut grants = Surroundings::new("").manifest.grants;
    let ledger = grants.sql["ledger"].clone();
    grants.sql.insert("second".to_owned(), ledger);
    assert_eq!(
        refusal(Some(grants), &[]),
        "the manifest of handler \"accounting\" grants 2 databases for writing (ledger, second); a handler writes to \
         one database, because two cannot commit as one: keep access = \"write\" in one [grants.sql.NAME]"
    );
}

#[test]
fn every_set_of_grants_can_be_linked() {
    let mut config = Config::new();
    config.concurrency_support(false);
    let engine = Engine::new(&config).unwrap();
    let surroundings = Surroundings::new("");
    for grants in [Grants::default(), surroundings.manifest.grants.clone()] {
        let mut linker: Linker<GuestState> = Linker::new(&engine);
        surroundings.capabilities().link(&mut linker, &grants).unwrap();
    }
}
