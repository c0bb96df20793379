//! `keylane outbox` and `keylane adopt` on the database of a handler that made something.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop"
)]

#[path = "outbox/by_hand.rs"]
mod by_hand;
#[path = "outbox/mails.rs"]
mod mails;

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use keylane_effects::{Database, DatabaseConfig, EndedAs, OutboxKind, OutboxRow, StreamKey, open};
use keylane_engine::{Fence, TopicId};
use tempfile::TempDir;

use by_hand::ByHand;

const MANIFEST: &str = "name = \"audit\"\ncomponent = \"audit.wasm\"\n[subscribe]\ntopics = [\"tasks\"]\n\
                        [grants.sql.ledger]\naccess = \"write\"\n";
const HOST: &str = "fleet = \"exchange\"\nhandlers = [\"audit.toml\", \"plain.toml\"]\n[kafka]\n\
                    brokers = [\"localhost:1\"]\n[databases.audit.ledger]\nwrite = \"sqlite://audit.db\"\n";
const LIMIT: Duration = Duration::from_secs(60);

fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("audit.toml"), MANIFEST).unwrap();
    let plain = MANIFEST.split("[grants").next().unwrap().replace("audit", "plain");
    std::fs::write(folder.path().join("plain.toml"), plain).unwrap();
    std::fs::write(folder.path().join("keylane.toml"), HOST).unwrap();
    folder
}

fn keylane(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_keylane"))
        .args(arguments)
        .args(["--config", "keylane.toml"])
        .current_dir(folder)
        .env_remove("KEYLANE_LOG")
        .output()
        .unwrap()
}

/// What a command said on standard output; it must have gone well.
fn said(folder: &Path, arguments: &[&str]) -> String {
    let output = keylane(folder, arguments);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// What a command said on standard error, and its exit code.
fn refused(folder: &Path, arguments: &[&str]) -> (String, Option<i32>) {
    let output = keylane(folder, arguments);
    (String::from_utf8(output.stderr).unwrap(), output.status.code())
}

fn row(ordinal: i32, kind: OutboxKind, key: &str) -> OutboxRow {
    OutboxRow {
        event_offset: 7,
        ordinal,
        kind,
        topic: "payouts".to_owned(),
        key: Some(key.as_bytes().to_vec()),
        value: Some(vec![b'x'; 200]),
        headers: Vec::new(),
    }
}

/// The partition whose events the handler is given.
fn stream() -> StreamKey {
    StreamKey {
        fleet: "exchange".to_owned(),
        handler: "audit".to_owned(),
        topic: "tasks".to_owned(),
        topic_id: TopicId::new([7; 16]),
        partition: 3,
    }
}

/// Becomes the owner of the partition, which starts at its beginning.
async fn own(database: &Arc<dyn Database>) -> Fence {
    database.settle_start(&stream(), &[(3, 0)]).await.unwrap();
    database.take(&stream(), LIMIT).await.unwrap().fence
}

/// Ends one event that made two records and a mail.
async fn make(database: &Arc<dyn Database>) {
    let fence = own(database).await;
    let rows = [
        row(0, OutboxKind::Record, "worker-7"),
        row(1, OutboxKind::Record, "worker-8"),
        row(2, OutboxKind::Mail, "worker-9"),
    ];
    let run = database.begin(&fence).await.unwrap();
    run.finish(&rows, &[(7, EndedAs::Done)], LIMIT).await.unwrap();
}

/// What `keylane outbox list` says to programs.
fn json(folder: &Path, more: &[&str]) -> serde_json::Value {
    serde_json::from_str(&said(folder, &[&["outbox", "list", "audit", "--json"], more].concat())).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_listed_and_dropped() {
    let folder = folder();
    let folder = folder.path();
    let database = open(&DatabaseConfig::sqlite(&folder.join("audit.db"))).await.unwrap();
    assert_eq!(said(folder, &["outbox", "list", "audit"]), "audit: nothing waits\n");
    make(&database).await;

    let text = said(folder, &["outbox", "list", "audit"]);
    assert!(
        text.starts_with("audit: 2 records, 1 mail; held up by a refusal: 0; the oldest waits for "),
        "{text}"
    );
    assert!(text.contains("worker-7") && text.contains("tasks[3] 7"), "{text}");
    assert!(!said(folder, &["outbox", "list", "audit", "--refused"]).contains("worker-7"));

    let listed = json(folder, &[]);
    assert_eq!((&listed["records"], &listed["mails"], &listed["parked"]), (&2.into(), &1.into(), &0.into()));
    let rows = listed["rows"].as_array().unwrap();
    let of = |key: &str| rows.iter().find(|row| row["key"] == key).unwrap()["id"].to_string();
    assert_eq!(rows[0]["state"], "ready");

    let dropped = said(folder, &["outbox", "drop", "audit", &of("worker-8")]);
    assert_eq!(dropped, "audit: dropped: 1\n");
    let left = json(folder, &[]);
    assert_eq!((&left["records"], &left["mails"]), (&1.into(), &1.into()));
    assert_eq!(said(folder, &["outbox", "drop", "audit", "--refused"]), "audit: dropped: 0\n");
    assert_eq!(said(folder, &["outbox", "retry", "audit"]), "audit: tried again now: 0\n");
    assert_eq!(said(folder, &["outbox", "reset", "audit"]), "audit: its relay begins a new count\n");
    assert_eq!(json(folder, &[])["records"], 1, "a reset drops nothing");
}

const TOO_LARGE: &str = "payouts: the record is too large";
const NO_MAILBOX: &str = "550 no such mailbox";

/// A folder whose outbox has a record and a mail that were refused, and their ids.
async fn with_two_refused() -> (TempDir, (ByHand, i64, i64)) {
    let folder = folder();
    let database = open(&DatabaseConfig::sqlite(&folder.path().join("audit.db"))).await.unwrap();
    make(&database).await;
    let refused = ByHand::with_two_refused(&database).await;
    (folder, refused)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_is_listed_with_its_reason() {
    let (folder, (mut relay, record, mail)) = with_two_refused().await;
    let folder = folder.path();
    let text = said(folder, &["outbox", "list", "audit", "--refused"]);
    assert!(text.starts_with("audit: 1 record, 1 mail; held up by a refusal: 2; "), "{text}");
    for (id, kind, key, reason) in
        [(record, "record", "worker-7", TOO_LARGE), (mail, "mail", "worker-9", NO_MAILBOX)]
    {
        let of_it = |line: &&str| line.trim_start().starts_with(&format!("{id} "));
        let line = text.lines().find(of_it).unwrap_or_else(|| panic!("{id}: {text}"));
        assert!(line.contains(kind) && line.contains(key) && line.contains(reason), "{line}");
        assert!(line.contains("refused, next try in 3,5"), "an hour less a little: {line}");
    }
    let listed = json(folder, &["--refused"]);
    let rows = listed["rows"].as_array().unwrap();
    let told: Vec<_> = rows.iter().map(|row| (&row["id"], &row["state"], &row["last_error"])).collect();
    let refused = &"refused".into();
    assert_eq!(
        told,
        [(&record.into(), refused, &TOO_LARGE.into()), (&mail.into(), refused, &NO_MAILBOX.into())]
    );
    assert_eq!((relay.records().await, relay.mails().await), (vec![], vec![]), "a list lets nothing go");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_is_tried_again_or_dropped() {
    let (folder, (mut relay, record, mail)) = with_two_refused().await;
    let folder = folder.path();
    let nobody = said(folder, &["outbox", "retry", "audit", "987654"]);
    assert_eq!(nobody, "audit: tried again now: 0\n");
    assert_eq!(relay.refused().await, (vec![], vec![record, mail]));

    let one = said(folder, &["outbox", "retry", "audit", &record.to_string()]);
    assert_eq!(one, "audit: tried again now: 1\n");
    assert_eq!(relay.refused().await, (vec![record], vec![mail]));
    assert_eq!((relay.records().await, relay.mails().await), (vec![record], vec![]), "the one alone is due");
    relay.sent().await;
    assert_eq!(relay.refused().await, (vec![], vec![mail]));

    let all = said(folder, &["outbox", "retry", "audit"]);
    assert_eq!(all, "audit: tried again now: 1\n");
    assert_eq!(relay.refused().await, (vec![mail], vec![]));
    assert_eq!(relay.mails().await, [mail]);
    relay.refuse_mail(mail, NO_MAILBOX).await;
    assert_eq!(json(folder, &["--refused"])["rows"][0]["attempts"], 2);

    assert_eq!(said(folder, &["outbox", "drop", "audit", "--refused"]), "audit: dropped: 1\n");
    assert_eq!(relay.refused().await, (vec![], vec![]));
    assert_eq!(said(folder, &["outbox", "list", "audit"]), "audit: nothing waits\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_another_machine_is_refused_until_it_is_adopted() {
    let folder = folder();
    let folder = folder.path();
    let elsewhere = Some("another machine".to_owned());
    let config = DatabaseConfig { machine: elsewhere, ..DatabaseConfig::sqlite(&folder.join("audit.db")) };
    drop(open(&config).await.unwrap());
    let (told, code) = refused(folder, &["outbox", "list", "audit"]);
    assert!(told.contains("another machine") && told.contains("keylane adopt"), "{told}");
    assert_eq!(code, Some(2));
    let adopted = said(folder, &["adopt", "audit"]);
    assert_eq!(adopted, "audit: its database belongs to the fleet \"exchange\" here now\n");
    assert_eq!(said(folder, &["outbox", "list", "audit"]), "audit: nothing waits\n");
}

#[test]
fn a_handler_without_an_outbox_and_a_database_that_is_not_there() {
    let folder = folder();
    let folder = folder.path();
    let (told, code) = refused(folder, &["outbox", "list", "plain"]);
    assert!(told.contains("\"plain\" writes to no database, so it has no outbox"), "{told}");
    assert_eq!(code, Some(2));
    let (told, code) = refused(folder, &["outbox", "list", "nobody"]);
    assert!(told.contains("runs no handler \"nobody\"") && told.contains("it runs audit, plain"), "{told}");
    assert_eq!(code, Some(2));
    for command in [["outbox", "list", "audit"].as_slice(), &["adopt", "audit"]] {
        let (told, code) = refused(folder, command);
        assert!(told.contains("the database of audit is not there: "), "{told}");
        assert_eq!(code, Some(2));
        assert!(!folder.join("audit.db").exists(), "a command that looks makes no file");
    }
}
