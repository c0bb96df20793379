//! A manifest that is right: what is written is what is meant, and what is left out has its default.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on should stop")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use keylane_deployment::{
    Delivery, DeploymentError, Document, Grants, Limits, Manifest, NullKeys, Order, ProducerGrant, SqlGrant,
    Start, Subscribe, Untyped,
};

const SMALLEST: &str = r#"
    name = "audit"
    component = "audit.wasm"
    [subscribe]
    topics = ["task-lifecycle"]
"#;

const FULL: &str = r#"
    name = "accounting"
    component = "build/accounting.wasm"

    [subscribe]
    topics = ["task-lifecycle", "accounting-commands"]
    events = ["task.assigned", "task.completed"]
    type-header = "kind"
    untyped = "dead-letter"
    start = 2026-03-01T00:00:00Z

    [delivery]
    order = "partition"
    null-keys = "ordered"
    attempts = 3
    backoff = "10ms"
    backoff-max = "2m"
    then = "dead-letter"

    [grants.sql.ledger]
    access = "write"
    migrations = "migrations"
    rows-max = 5
    [grants.producer]
    topics = ["payouts"]
    records-max = 7
    [grants.mail]
    from = "Payroll <payroll@example.org>"
    mails-max = 9
    [grants.logging]

    [limits]
    memory = "16MiB"
    table-elements = 11
    time = "250ms"
    host-call = "3s"
    concurrency = 4
    run-events = 13
"#;

fn read(text: &str) -> Result<Manifest, DeploymentError> {
    Manifest::from_document(&Document::from_text(Path::new("handlers/h/handler.toml"), text))
}

#[test]
fn what_is_left_out_has_its_default() {
    let expected = Manifest {
        name: "audit".to_owned(),
        component: PathBuf::from("audit.wasm"),
        subscribe: Subscribe {
            topics: vec!["task-lifecycle".to_owned()],
            events: vec![],
            type_header: "ce_type".to_owned(),
            untyped: Untyped::Handle,
            start: Start::Earliest,
        },
        delivery: Delivery {
            order: Order::Key,
            null_keys: NullKeys::Unordered,
            attempts: 8,
            backoff: Duration::from_millis(500),
            backoff_max: Duration::from_secs(60),
        },
        grants: Grants::default(),
        limits: Limits {
            memory_bytes: 64 * 1024 * 1024,
            table_elements: 20_000,
            time: Duration::from_secs(1),
            host_call: Duration::from_secs(10),
            concurrency: 64,
            run_events: 100,
        },
    };
    assert_eq!(read(SMALLEST).unwrap(), expected);
}

#[test]
fn every_key_is_read() {
    let manifest = read(FULL).unwrap();
    assert_eq!(manifest.group("exchange"), "exchange.accounting");
    assert_eq!(manifest.component, Path::new("build/accounting.wasm"));
    assert_eq!(manifest.subscribe.topics, ["task-lifecycle", "accounting-commands"]);
    assert_eq!(manifest.subscribe.events, ["task.assigned", "task.completed"]);
    assert_eq!(manifest.subscribe.type_header, "kind");
    assert_eq!(manifest.subscribe.untyped, Untyped::DeadLetter);
    assert_eq!(manifest.subscribe.start, Start::Timestamp(1_772_323_200_000));
    assert_eq!(
        manifest.delivery,
        Delivery {
            order: Order::Partition,
            null_keys: NullKeys::Ordered,
            attempts: 3,
            backoff: Duration::from_millis(10),
            backoff_max: Duration::from_secs(120),
        }
    );
    let ledger = SqlGrant { migrations: Some(PathBuf::from("migrations")), rows_max: 5 };
    assert_eq!(manifest.grants.sql["ledger"], ledger);
    let producer = ProducerGrant { topics: vec!["payouts".to_owned()], records_max: 7 };
    assert_eq!(manifest.grants.producer, Some(producer));
    let mail = manifest.grants.mail.unwrap();
    assert_eq!((mail.from.as_str(), mail.mails_max), ("Payroll <payroll@example.org>", 9));
    assert!(manifest.grants.logging.is_some());
    assert_eq!(
        manifest.limits,
        Limits {
            memory_bytes: 16 * 1024 * 1024,
            table_elements: 11,
            time: Duration::from_millis(250),
            host_call: Duration::from_secs(3),
            concurrency: 4,
            run_events: 13,
        }
    );
}

#[test]
fn a_start_may_be_a_word_a_moment_or_milliseconds() {
    for (written, start) in [
        ("\"earliest\"", Start::Earliest),
        ("\"latest\"", Start::Latest),
        ("\"1970-01-01T00:00:01Z\"", Start::Timestamp(1_000)),
        ("1970-01-01T00:00:01.5Z", Start::Timestamp(1_500)),
        ("2000", Start::Timestamp(2_000)),
    ] {
        let manifest = read(&format!("{SMALLEST}\nstart = {written}")).unwrap();
        assert_eq!(manifest.subscribe.start, start, "{written}");
    }
}

#[test]
fn what_a_manifest_names_on_disk_is_looked_for() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("handler.toml");
    std::fs::write(
        &file,
        format!("{SMALLEST}\n[grants.sql.ledger]\naccess = \"write\"\nmigrations = \"up\""),
    )
    .unwrap();
    let manifest = Manifest::load(&file).unwrap();

    let missing = |manifest: &Manifest| match manifest.check_files(&file) {
        Err(DeploymentError::Missing { missing, .. }) => Some(missing),
        other => other.map(|()| None).unwrap(),
    };
    assert_eq!(missing(&manifest), Some(folder.path().join("audit.wasm")));
    std::fs::write(folder.path().join("audit.wasm"), "").unwrap();
    assert_eq!(missing(&manifest), Some(folder.path().join("up")));
    std::fs::create_dir(folder.path().join("up")).unwrap();
    assert_eq!(missing(&manifest), None);
}
