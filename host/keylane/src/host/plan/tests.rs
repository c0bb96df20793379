//! What files say reaches the rooms, each value in its place.

use std::fs;

use keylane_engine::HostBudget;

use super::*;

const MANIFEST: &str = r#"
    name = "audit"
    component = "audit.wasm"
    [subscribe]
    topics = ["tasks"]
    events = ["task.assigned"]
    type-header = "kind"
    untyped = "dead-letter"
    start = "latest"
    lost = "go-on"
    [delivery]
    order = "key"
    null-keys = "ordered"
    attempts = 7
    backoff = "10ms"
    backoff-max = "2m"
    max-age = "1h"
    [delivery.caps]
    retry = 6
    trap = 1
    timeout = 2
    memory = 5
    effects = 50
    [delivery.flood]
    share = 20
    events = 30
    [dead-letters]
    topic = "graveyard"
    headers = "connect"
    [limits]
    concurrency = 3
    run-events = 13
    slice = "20ms"
    stuck-after = "90s"
"#;

const HOST: &str = r#"
    fleet = "exchange"
    handlers = ["handler.toml"]
    [kafka]
    brokers = ["one:9092"]
    group-protocol = "consumer"
    instance = "host-1"
    session-timeout = "20s"
    [limits]
    partition-records = 7
    partition-bytes = "2MiB"
    revoke-drain = "4s"
"#;

/// Reads a host file with one handler.
fn config(manifest: &str) -> HostConfig {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("handler.toml"), manifest).unwrap();
    let file = folder.path().join("keylane.toml");
    fs::write(&file, HOST).unwrap();
    HostConfig::load(&file).unwrap()
}

#[test]
fn the_policy_is_the_manifests() {
    let config = config(MANIFEST);
    let options = engine(&config.handlers[0], config.limits, HostBudget::new(config.limits.host_bytes));
    let expected = Policy {
        attempts_max: 7,
        caps: ClassCaps { retry: 6, trap: 1, timeout: 2, memory: 5, effects: 50 },
        age_max_ms: Some(3_600_000),
        backoff_ms: 10,
        backoff_max_ms: 120_000,
        then: Then::DeadLetter,
        flood: Some(Flood { window_events: 30, share_percent: 20 }),
        run_events_max: 13,
        slice_ms: 20,
        ..Policy::default()
    };
    assert_eq!(options.policy, expected);
    assert_eq!((options.name.as_str(), options.slots), ("audit", 3));
    assert_eq!(options.lanes, LaneRule::KeyAndNull);
    assert_eq!(options.stuck_after, Duration::from_secs(90));
    assert_eq!(options.inbox, InboxLimits { records: 7, bytes: 2 << 20 });
    assert_eq!(options.filter.untyped, Untyped::DeadLetter);
}

#[test]
fn every_last_step_has_its_policy() {
    for (written, then) in [("pause-lane", Then::PauseLane), ("stop", Then::Stop)] {
        let manifest = format!(
            "name = \"audit\"\ncomponent = \"audit.wasm\"\n[subscribe]\ntopics = [\"tasks\"]\n\
             [delivery]\nthen = \"{written}\"\n"
        );
        let policy = policy(&config(&manifest).handlers[0].manifest);
        assert_eq!((policy.then, policy.flood), (then, None));
    }
}

#[test]
fn the_consumer_is_the_member_that_the_host_file_describes() {
    let config = config(MANIFEST);
    let retry = vec!["tasks.audit.retry".to_owned()];
    let expected = ConsumerConfig {
        retry_topics: retry.clone(),
        start: Start::Latest,
        lost: Lost::GoOn,
        group_protocol: keylane_kafka::GroupProtocol::Consumer,
        instance: Some("host-1".to_owned()),
        session_timeout: Duration::from_secs(20),
        drain_limit: Duration::from_secs(4),
        ..ConsumerConfig::new("exchange.audit", vec!["tasks".to_owned()])
    };
    assert_eq!(consumer(&config, &config.handlers[0].manifest, retry), expected);
}

#[test]
fn the_interval_of_transactions_is_the_manifests() {
    let producer = "[grants.producer]\ntopics = [\"payouts\"]\n[limits]";
    let interval_of = |delivery: &str| {
        let manifest = MANIFEST.replace("[limits]", producer);
        let config = config(&manifest.replace("[delivery]", &format!("[delivery]\n{delivery}")));
        consumer(&config, &config.handlers[0].manifest, Vec::new()).cut_interval
    };
    let exactly_once = "guarantee = \"exactly-once\"";
    assert_eq!(interval_of(""), None, "at least once");
    assert_eq!(interval_of(exactly_once), Some(Duration::from_millis(50)));
    let given = format!("{exactly_once}\ntransaction-interval = \"200ms\"");
    assert_eq!(interval_of(&given), Some(Duration::from_millis(200)));
}

#[test]
fn a_database_is_opened_as_the_file_says_and_its_password_means_itself() {
    let folder = tempfile::tempdir().unwrap();
    let grant = "[grants.sql.ledger]\naccess = \"write\"\nisolation = \"read-committed\"\n";
    let manifest = MANIFEST.replace("[limits]", &format!("{grant}[limits]\nhost-call = \"2s\""));
    fs::write(folder.path().join("handler.toml"), manifest).unwrap();
    fs::write(folder.path().join("secret"), "p@ss:w/rd%1\n").unwrap();
    let file = folder.path().join("keylane.toml");
    let databases = "[databases.audit.ledger]\nwrite = \"postgres://u@one/ledger\"\n\
                     read = \"postgres://u@two/ledger\"\npassword-file = \"secret\"\nwrite-connections = 2\n\
                     read-connections = 3\nidle-in-transaction = \"7s\"\n";
    fs::write(&file, format!("{HOST}{databases}")).unwrap();
    let config = HostConfig::load(&file).unwrap();
    let handler = &config.handlers[0];
    let expected = DatabaseConfig {
        read: Some("postgres://u:p%40ss%3Aw%2Frd%251@two/ledger".to_owned()),
        isolation: Isolation::ReadCommitted,
        write_connections: 2,
        read_connections: 3,
        idle_in_transaction: Duration::from_secs(7),
        lock_wait: Duration::from_secs(1),
        ..DatabaseConfig::new("postgres://u:p%40ss%3Aw%2Frd%251@one/ledger")
    };
    assert_eq!(database(handler, &handler.databases["ledger"]).unwrap(), expected);
    // A run holds a connection: more of them at once would wait for each other.
    let budget = || HostBudget::new(config.limits.host_bytes);
    assert_eq!(engine(handler, config.limits, budget()).slots, 2);
}

#[test]
fn the_defaults_of_a_database_are_its_drivers() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = MANIFEST.replace("[limits]", "[grants.sql.ledger]\naccess = \"write\"\n[limits]");
    fs::write(folder.path().join("handler.toml"), manifest).unwrap();
    let file = folder.path().join("keylane.toml");
    let with = |url: &str| {
        let databases = format!("[databases.audit.ledger]\nwrite = \"{url}\"\n");
        fs::write(&file, format!("{HOST}{databases}").replace("\"20s\"", "\"45s\"")).unwrap();
        let config = HostConfig::load(&file).unwrap();
        let slots =
            engine(&config.handlers[0], config.limits, HostBudget::new(config.limits.host_bytes)).slots;
        let handler = &config.handlers[0];
        (database(handler, &handler.databases["ledger"]).unwrap(), slots)
    };
    assert_eq!(with("postgres://u@one/ledger"), (DatabaseConfig::new("postgres://u@one/ledger"), 3));
    let sqlite =
        DatabaseConfig { write_connections: 1, ..DatabaseConfig::sqlite(&folder.path().join("a.db")) };
    assert_eq!(with("sqlite://a.db"), (sqlite, 1));
}

#[test]
fn dead_letters_go_where_the_manifest_says() {
    let config = config(MANIFEST);
    let options = dead_letters(&config.fleet, &config.handlers[0].manifest, "r1");
    assert_eq!(options.topic_of("tasks"), "graveyard");
    assert_eq!(options.profile, HeaderProfile::Connect);
    assert_eq!((options.group.as_str(), options.revision.as_str()), ("exchange.audit", "r1"));
}
