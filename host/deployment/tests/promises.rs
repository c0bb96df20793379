//! Promises that cannot be kept: each is refused at its place, with what to change.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::path::Path;

use keylane_deployment::{Document, Manifest};

const HEAD: &str = "name = \"audit\"\ncomponent = \"audit.wasm\"\n[subscribe]\ntopics = [\"tasks\"]\n";
const WRITE: &str = "[grants.sql.ledger]\naccess = \"write\"\n";
const READ: &str = "[grants.sql.ledger]\naccess = \"read\"\n";
const PRODUCER: &str = "[grants.producer]\ntopics = [\"payouts\"]\n";
const MAIL: &str = "[grants.mail]\nfrom = \"audit@example.org\"\n";
const GRANT_SOMETHING: &str = "add [grants.sql.NAME] with access = \"write\", or [grants.producer], or write \
                               guarantee = \"at-least-once\"";

/// The lines are appended to four lines that are right, within `[subscribe]`.
fn check(lines: &str, message: &str, hint: &str) {
    let text = format!("{HEAD}{lines}");
    let error = Manifest::from_document(&Document::from_text(Path::new("handler.toml"), &text)).unwrap_err();
    let said = (error.to_string(), error.hint().unwrap_or_default());
    assert_eq!(said, (format!("handler.toml, line {message}"), hint.to_owned()), "for {lines:?}");
}

#[test]
fn exactly_once_with_nothing_that_can_be_committed() {
    for grants in ["", READ, "[grants.logging]"] {
        check(
            &format!("[delivery]\nguarantee = \"exactly-once\"\n{grants}"),
            "6, `delivery.guarantee`: nothing can be committed together with the end of an event: the handler \
             writes to no database and produces nothing",
            GRANT_SOMETHING,
        );
    }
}

#[test]
fn less_than_the_database_gives() {
    check(
        &format!("[delivery]\nguarantee = \"at-least-once\"\n{WRITE}"),
        "6, `delivery.guarantee`: the effects of a handler that writes to a database happen exactly once, always",
        "leave `guarantee` out, or write guarantee = \"exactly-once\"",
    );
}

/// An interval of transactions that are not made, or that another's commit decides about.
#[test]
fn an_interval_of_no_transactions() {
    for (guarantee, grants, line) in [
        ("", "", 6),
        ("", PRODUCER, 6),
        ("guarantee = \"at-least-once\"\n", PRODUCER, 7),
        ("guarantee = \"at-least-once\"\n", READ, 7),
    ] {
        check(
            &format!("[delivery]\n{guarantee}transaction-interval = \"50ms\"\n{grants}"),
            &format!(
                "{line}, `delivery.transaction-interval`: the handler is at least once: what it produces is sent at \
                 once, and in no transaction"
            ),
            "leave `transaction-interval` out, or write guarantee = \"exactly-once\"",
        );
    }
    for (guarantee, line) in [("", 6), ("guarantee = \"exactly-once\"\n", 7)] {
        check(
            &format!("[delivery]\n{guarantee}transaction-interval = \"50ms\"\n{WRITE}{PRODUCER}"),
            &format!(
                "{line}, `delivery.transaction-interval`: the handler writes to a database: what it produces leaves \
                 as soon as that has committed it"
            ),
            "leave `transaction-interval` out",
        );
    }
}

#[test]
fn an_interval_out_of_bounds() {
    for written in ["0ms", "5001ms", "1m"] {
        check(
            &format!(
                "[delivery]\nguarantee = \"exactly-once\"\ntransaction-interval = {written:?}\n{PRODUCER}"
            ),
            &format!("7, `delivery.transaction-interval`: {written} is out of bounds: from 1ms to 5s"),
            "",
        );
    }
}

#[test]
fn mail_without_a_database() {
    for (grants, line) in [(String::new(), 5), (READ.to_owned(), 7), (PRODUCER.to_owned(), 7)] {
        check(
            &format!("{grants}{MAIL}"),
            &format!(
                "{line}, `grants.mail`: a mail waits in the handler's database until its event is done, so that \
                 it leaves once, but this handler writes to none"
            ),
            "add [grants.sql.NAME] with access = \"write\"",
        );
    }
}

#[test]
fn two_databases_that_are_written_to() {
    check(
        "[grants.sql.one]\naccess = \"write\"\n[grants.sql.two]\naccess = \"write\"",
        "7, `grants.sql.two`: a handler may write to one database: two cannot be committed together",
        "split the handler, merge the databases, or write access = \"read\" for one of them",
    );
}

#[test]
fn changes_to_a_database_that_is_only_read() {
    check(
        &format!("{READ}migrations = \"up\""),
        "7, `grants.sql.ledger.migrations`: `access` is \"read\", but `migrations` is for a database that is \
         written to",
        "leave `migrations` out, or write access = \"write\"",
    );
    check(
        &format!("{READ}isolation = \"read-committed\""),
        "7, `grants.sql.ledger.isolation`: `access` is \"read\", but `isolation` is for a database that is \
         written to",
        "leave `isolation` out, or write access = \"write\"",
    );
}

#[test]
fn values_without_a_database() {
    check(
        "[grants.keyvalue]\nbuckets = [\"seen\"]",
        "5, `grants.keyvalue`: values are kept in the handler's database, so that they change once with their \
         event, but this handler writes to none",
        "add [grants.sql.NAME] with access = \"write\"",
    );
}

#[test]
fn requests_that_cannot_be_told_from_their_repeats() {
    for key in ["", "idempotency-key = false\n"] {
        check(
            &format!("[grants.http]\nhosts = [\"api.example.org\"]\n{key}{WRITE}"),
            "5, `grants.http`: a request cannot be taken back when its event is undone and handled again, so the \
             effects of this handler would not happen exactly once",
            "write idempotency-key = true, if the hosts take a request that carries a key they know as done",
        );
    }
}
