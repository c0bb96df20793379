//! A manifest that is right: what is written is what is meant, and what is left out has its default.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on should stop")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use keylane_deployment::{
    Access, Caps, ConfigGrant, DeadLetters, Delivery, DeploymentError, Document, Flood, Grants, Guarantee,
    HeaderProfile, HttpGrant, Isolation, KeyValueGrant, Limits, Lost, Manifest, NullKeys, Order,
    ProducerGrant, SqlGrant, Start, Subscribe, Then, Untyped,
};

const SMALLEST: &str = r#"
    name = "audit"
    component = "audit.wasm"
    [subscribe]
    topics = ["task-lifecycle"]
"#;

const FULL: &str = include_str!("full.toml");
const IN_CUTS: &str = include_str!("in_cuts.toml");

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
            lost: Lost::Stop,
        },
        delivery: Delivery {
            guarantee: Guarantee::AtLeastOnce,
            transaction_interval: None,
            order: Order::Key,
            null_keys: NullKeys::Unordered,
            attempts: 8,
            caps: Caps { retry: 8, trap: 3, timeout: 3, memory: 3, effects: 1_000 },
            backoff: Duration::from_millis(500),
            backoff_max: Duration::from_secs(60),
            max_age: None,
            then: Then::DeadLetter,
            flood: Some(Flood { share_percent: 50, events: 200 }),
        },
        dead_letters: DeadLetters { topic: None, headers: HeaderProfile::Keylane },
        grants: Grants::default(),
        limits: Limits {
            memory_bytes: 64 * 1024 * 1024,
            table_elements: 20_000,
            time: Duration::from_secs(1),
            host_call: Duration::from_secs(10),
            concurrency: 64,
            run_events: 100,
            slice: Duration::from_millis(50),
            stuck_after: Duration::from_secs(60),
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
    assert_eq!(manifest.subscribe.lost, Lost::GoOn);
    assert_eq!(
        manifest.delivery,
        Delivery {
            guarantee: Guarantee::ExactlyOnce,
            transaction_interval: None,
            order: Order::Key,
            null_keys: NullKeys::Ordered,
            attempts: 7,
            caps: Caps { retry: 6, trap: 1, timeout: 2, memory: 7, effects: 50 },
            backoff: Duration::from_millis(10),
            backoff_max: Duration::from_secs(120),
            max_age: Some(Duration::from_secs(3_600)),
            then: Then::DeadLetter,
            flood: Some(Flood { share_percent: 20, events: 30 }),
        }
    );
    let graveyard = DeadLetters { topic: Some("graveyard".to_owned()), headers: HeaderProfile::Spring };
    assert_eq!(manifest.dead_letters, graveyard);
    let ledger = SqlGrant {
        access: Access::Write,
        isolation: Isolation::ReadCommitted,
        migrations: Some(PathBuf::from("migrations")),
        rows_max: 5,
    };
    assert_eq!(manifest.grants.sql["ledger"], ledger);
    let producer = ProducerGrant { topics: vec!["payouts".to_owned()], records_max: 7 };
    assert_eq!(manifest.grants.producer, Some(producer));
    let mail = manifest.grants.mail.unwrap();
    assert_eq!((mail.from.as_str(), mail.mails_max), ("Payroll <payroll@example.org>", 9));
    let buckets = ["balances", "seen"].map(str::to_owned).to_vec();
    assert_eq!(manifest.grants.keyvalue, Some(KeyValueGrant { buckets }));
    let http = HttpGrant {
        hosts: ["https://api.example.org:443", "http://10.0.0.7:8080"]
            .map(|host| host.parse().unwrap())
            .to_vec(),
        idempotency_key: true,
        requests_max: 3,
        request_bytes_max: 2048,
        response_bytes_max: 3072,
    };
    assert_eq!(manifest.grants.http, Some(http));
    let values =
        [("currency", "EUR"), ("api.url", "")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(manifest.grants.config, Some(ConfigGrant { values: values.into() }));
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
            slice: Duration::from_millis(20),
            stuck_after: Duration::from_secs(90),
        }
    );
}

#[test]
fn what_is_produced_without_a_database_is_exactly_once_where_that_is_asked_for() {
    let producer = "[grants.producer]\ntopics = [\"payouts\"]";
    for grants in [producer.to_owned(), format!("[grants.sql.reports]\naccess = \"read\"\n{producer}")] {
        let silent = read_manifest(&grants);
        assert_eq!((silent.delivery.guarantee, silent.is_in_cuts()), (Guarantee::AtLeastOnce, false));
        let asked = read_manifest(&format!("[delivery]\nguarantee = \"exactly-once\"\n{grants}"));
        assert_eq!((asked.delivery.guarantee, asked.is_in_cuts()), (Guarantee::ExactlyOnce, true));
        assert_eq!(silent.delivery.transaction_interval, None);
        assert_eq!(asked.delivery.transaction_interval, Some(Duration::from_millis(50)));
    }
    assert!(!read_manifest("[grants.sql.ledger]\naccess = \"write\"").is_in_cuts());
}

#[test]
fn every_key_is_read_of_a_handler_whose_transactions_are_kafkas() {
    let manifest = read(IN_CUTS).unwrap();
    assert!(manifest.is_in_cuts());
    assert_eq!(manifest.delivery.transaction_interval, Some(Duration::from_millis(200)));
    for (written, interval) in [("1ms", Duration::from_millis(1)), ("5s", Duration::from_secs(5))] {
        let manifest = read(&IN_CUTS.replace("200ms", written)).unwrap();
        assert_eq!(manifest.delivery.transaction_interval, Some(interval), "{written}");
    }
}

#[test]
fn the_grants_tell_what_is_promised() {
    let write = "[grants.sql.ledger]\naccess = \"write\"";
    let read = "[grants.sql.reports]\naccess = \"read\"";
    for (grants, words, guarantee, written) in [
        ("", "at-least-once", Guarantee::AtLeastOnce, None),
        (read, "at-least-once", Guarantee::AtLeastOnce, None),
        (write, "exactly-once", Guarantee::ExactlyOnce, Some("ledger")),
        (&format!("{read}\n{write}"), "exactly-once", Guarantee::ExactlyOnce, Some("ledger")),
    ] {
        let silent = read_manifest(grants);
        assert_eq!(silent.delivery.guarantee, guarantee, "{grants}");
        assert_eq!(silent.grants.write_database(), written, "{grants}");
        assert_eq!(read_manifest(&format!("[delivery]\nguarantee = \"{words}\"\n{grants}")), silent);
    }
    let sql = read_manifest(&format!("{write}\n{read}")).grants.sql;
    assert_eq!((sql["ledger"].access, sql["reports"].access), (Access::Write, Access::Read));
    assert_eq!(sql["ledger"].isolation, Isolation::Serializable);
}

/// The smallest manifest and these lines.
fn read_manifest(lines: &str) -> Manifest {
    read(&format!("{SMALLEST}\n{lines}")).unwrap()
}

#[test]
fn every_last_step_and_order_is_known() {
    for (written, then) in
        [("dead-letter", Then::DeadLetter), ("pause-lane", Then::PauseLane), ("stop", Then::Stop)]
    {
        let manifest = read(&format!("{SMALLEST}\n[delivery]\nthen = \"{written}\"")).unwrap();
        assert_eq!(manifest.delivery.then, then);
        assert_eq!(manifest.delivery.flood.is_some(), then == Then::DeadLetter, "{written}");
    }
    for (written, order, null_keys) in [
        ("order = \"partition\"", Order::Partition, NullKeys::Unordered),
        ("order = \"partition\"\nnull-keys = \"ordered\"", Order::Partition, NullKeys::Ordered),
        ("order = \"none\"\nnull-keys = \"unordered\"", Order::None, NullKeys::Unordered),
    ] {
        let delivery = read(&format!("{SMALLEST}\n[delivery]\n{written}")).unwrap().delivery;
        assert_eq!((delivery.order, delivery.null_keys), (order, null_keys));
    }
}

#[test]
fn defaults_give_way_to_what_is_written() {
    let few = read(&format!("{SMALLEST}\n[delivery]\nattempts = 2")).unwrap().delivery;
    assert_eq!(few.caps, Caps { retry: 2, trap: 2, timeout: 2, memory: 2, effects: 1_000 });
    let never = read(&format!("{SMALLEST}\n[delivery.flood]\nshare = 100")).unwrap().delivery;
    assert_eq!(never.flood, None);
    let slow = read(&format!("{SMALLEST}\n[limits]\ntime = \"2m\"\nslice = \"1s\"")).unwrap().limits;
    assert_eq!(slow.stuck_after, Duration::from_secs(131));
    let letters =
        format!("{SMALLEST}\nuntyped = \"dead-letter\"\n[delivery]\nthen = \"stop\"\n[dead-letters]");
    read(&letters).unwrap();
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
