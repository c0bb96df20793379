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
    let manifest = &config.handlers[0].manifest;
    let options = engine(manifest, config.limits, HostBudget::new(config.limits.host_bytes));
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
fn dead_letters_go_where_the_manifest_says() {
    let config = config(MANIFEST);
    let options = dead_letters(&config.fleet, &config.handlers[0].manifest, "r1");
    assert_eq!(options.topic_of("tasks"), "graveyard");
    assert_eq!(options.profile, HeaderProfile::Connect);
    assert_eq!((options.group.as_str(), options.revision.as_str()), ("exchange.audit", "r1"));
}
