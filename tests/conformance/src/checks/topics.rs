//! Topics: creating, describing, growing, deleting, and their ids.

use anyhow::Context;
use kafka_protocol::messages::create_topics_request::CreatableTopicConfig;
use rdkafka::admin::NewPartitions;
use rdkafka::consumer::Consumer;
use uuid::Uuid;

use super::{Check, check};
use crate::clients::{
    Outgoing, PATIENCE, admin, consumer, create_topic, new_topic, patient, producer, send, until, wait,
};
use crate::raw::{Raw, creatable, text};
use crate::{Observed, Target};

/// The protocol's number for a setting that was given to this topic.
const GIVEN_TO_THE_TOPIC: i8 = 1;

pub(super) const CHECKS: &[Check] = &[
    check(
        "create_a_topic_twice",
        create_twice,
        &["created", "12 partitions", "TopicAlreadyExists", "InvalidTopic"],
    ),
    check(
        "what_cannot_be_created",
        refused_topics,
        &[
            "no partitions: 37",
            "-2 partitions: 37",
            "three replicas: 38",
            "unknown setting: 40",
            "wrong value: 40",
            "name of 250 bytes: 17",
            "default number: 0, 1 partition",
        ],
    ),
    check(
        "topic_ids",
        topic_ids,
        &[
            "created with an id: true",
            "metadata has the same: true",
            "asked by id: ids",
            "an unknown id: 100",
            "fetch by id: 0",
            "fetch by an unknown id: 100",
        ],
    ),
    check(
        "delete_and_create_again",
        delete_and_recreate,
        &[
            "deleted: 0",
            "metadata: 3",
            "deleted again: 3",
            "fetch by the old id: 100",
            "committed offset of the old topic: Invalid",
            "another id: true",
            "starts at: 0",
        ],
    ),
    check(
        "unknown_topic",
        unknown_topic,
        &[
            "metadata: 3",
            "invalid name: 17",
            "produce: 3",
            "fetch: 3",
            "offsets: 3",
            "partition out of range: 3",
            "subscriber is told: UnknownTopicOrPartition",
        ],
    ),
    check(
        "a_topic_made_by_metadata",
        auto_create,
        &["error 0, partitions 1", "not when the client forbids: 3"],
    ),
    check(
        "add_partitions",
        add_partitions,
        &["5 partitions", "shrinking: 37", "same number: 37", "unknown: 3", "old records stay: 1"],
    ),
    check(
        "topic_settings",
        settings,
        &[
            "cleanup.policy=compact given=true",
            "max.message.bytes=2000 given=true",
            "min.insync.replicas=1 given=false",
            "1000 bytes: 0",
            "3000 bytes: MessageSizeTooLarge",
            "settings of an unknown topic: 3",
            "changed: 0, then max.message.bytes=5000 given=true",
            "3000 bytes: 1",
            "taken back: 0, then max.message.bytes=1048588 given=false",
            "a wrong value: 40",
            "no such setting: 40",
            "of an unknown topic: 3",
        ],
    ),
];

fn partitions(target: &Target, topic: &str) -> anyhow::Result<usize> {
    let metadata = consumer(target, "metadata", &[])?.fetch_metadata(Some(topic), PATIENCE)?;
    Ok(metadata.topics().first().context("no topic")?.partitions().len())
}

fn create_twice(target: &Target) -> anyhow::Result<Observed> {
    let first = create_topic(target, "twice", 12, &[])?;
    Ok(vec![
        first,
        format!("{} partitions", partitions(target, "twice")?),
        create_topic(target, "twice", 12, &[])?,
        create_topic(target, "not/a/name", 1, &[])?,
    ])
}

fn refused_topics(target: &Target) -> anyhow::Result<Observed> {
    let mut raw = Raw::connect(target)?;
    let setting =
        |name, value| CreatableTopicConfig::default().with_name(text(name)).with_value(Some(text(value)));
    let long = "x".repeat(250);
    let asked = [
        ("no partitions", creatable("refused", 0)),
        ("-2 partitions", creatable("refused", -2)),
        ("three replicas", creatable("refused", 1).with_replication_factor(3)),
        ("unknown setting", creatable("refused", 1).with_configs(vec![setting("no.such.setting", "1")])),
        ("wrong value", creatable("refused", 1).with_configs(vec![setting("retention.ms", "soon")])),
        ("name of 250 bytes", creatable(&long, 1)),
    ];
    let mut seen = Vec::new();
    for (what, topic) in asked {
        seen.push(format!("{what}: {}", raw.create_topic(topic)?.error_code));
    }
    let made = raw.create_topic(creatable("default-number", -1).with_replication_factor(-1))?;
    seen.push(format!("default number: {}, {} partition", made.error_code, made.num_partitions));
    Ok(seen)
}

fn topic_ids(target: &Target) -> anyhow::Result<Observed> {
    let mut raw = Raw::connect(target)?;
    let made = raw.create_topic(creatable("ids", 1))?;
    until("the topic", || raw.is_ready("ids", 1))?;
    let same = raw.topic_id("ids")? == made.topic_id;
    let by_id = raw.topic(None, made.topic_id, false)?;
    let unknown = Uuid::from_u128(0x1234_5678_9abc_def0);
    Ok(vec![
        format!("created with an id: {}", !made.topic_id.is_nil()),
        format!("metadata has the same: {same}"),
        format!("asked by id: {}", by_id.name.map(|n| n.to_string()).unwrap_or_default()),
        format!("an unknown id: {}", raw.topic(None, unknown, false)?.error_code),
        format!("fetch by id: {}", raw.fetch_by_id(made.topic_id)?.error_code),
        format!("fetch by an unknown id: {}", raw.fetch_by_id(unknown)?.error_code),
    ])
}

fn delete_and_recreate(target: &Target) -> anyhow::Result<Observed> {
    let mut raw = Raw::connect(target)?;
    let old = raw.create_topic(creatable("again", 1))?.topic_id;
    until("the topic", || raw.is_ready("again", 1))?;
    let producer = producer(target, &[])?;
    send(&producer, &[Outgoing { topic: "again", value: Some(b"old"), ..Outgoing::default() }])?;
    raw.commit_from_outside("again-group", "again", 1)?;
    let deleted = raw.delete_topic("again")?;
    until("the topic is gone", || Ok(raw.topic(Some("again"), Uuid::nil(), false)?.error_code == 3))?;
    let mut seen = vec![format!("deleted: {deleted}"), "metadata: 3".to_owned()];
    seen.push(format!("deleted again: {}", raw.delete_topic("again")?));
    until("the old id is unknown", || Ok(raw.fetch_by_id(old)?.error_code == 100))?;
    seen.push("fetch by the old id: 100".to_owned());
    let new = raw.create_topic(creatable("again", 1))?.topic_id;
    until("the topic", || raw.is_ready("again", 1))?;
    let committed = || -> anyhow::Result<String> {
        let mut list = rdkafka::TopicPartitionList::new();
        list.add_partition("again", 0);
        let committed = consumer(target, "again-group", &[])?.committed_offsets(list, PATIENCE)?;
        let element = committed.find_partition("again", 0).context("no partition")?;
        Ok(format!("{:?}", element.offset()))
    };
    until("old offsets are forgotten", || Ok(committed()? == "Invalid"))?;
    seen.push(format!("committed offset of the old topic: {}", committed()?));
    seen.push(format!("another id: {}", new != old && new == raw.topic_id("again")?));
    seen.push(format!("starts at: {}", raw.list_offset("again", -1)?.1));
    Ok(seen)
}

fn unknown_topic(target: &Target) -> anyhow::Result<Observed> {
    let mut raw = Raw::connect(target)?;
    let batch = keylane_test_support::raw_batch(&["x"], None)?;
    let mut seen = vec![
        format!("metadata: {}", raw.topic(Some("nowhere"), Uuid::nil(), false)?.error_code),
        format!("invalid name: {}", raw.topic(Some("no/where"), Uuid::nil(), false)?.error_code),
        format!("produce: {}", raw.produce("nowhere", -1, batch)?.0),
        format!("fetch: {}", raw.fetch("nowhere", 0, 1 << 20, 0)?.error_code),
        format!("offsets: {}", raw.list_offset("nowhere", -1)?.0),
    ];
    new_topic(target, "one-partition", 1)?;
    seen.push(format!(
        "partition out of range: {}",
        raw.commit("nowhere", ("", -1), ("one-partition", 7), 1)?
    ));
    let subscriber = consumer(target, "nowhere", &[("allow.auto.create.topics", "false")])?;
    subscriber.subscribe(&["nowhere"])?;
    let mut told = None;
    until("the subscriber is told", || {
        if let Some(Err(error)) = subscriber.poll(std::time::Duration::from_millis(100)) {
            told = Some(crate::clients::error_name(&error));
        }
        Ok(told.is_some())
    })?;
    seen.push(format!("subscriber is told: {}", told.unwrap_or_default()));
    Ok(seen)
}

fn auto_create(target: &Target) -> anyhow::Result<Observed> {
    let mut raw = Raw::connect(target)?;
    let forbidden = raw.topic(Some("auto"), Uuid::nil(), false)?.error_code;
    // Kafka answers with an error until the topic has a leader.
    until("the topic is made", || Ok(raw.topic(Some("auto"), Uuid::nil(), true)?.error_code == 0))?;
    let topic = raw.topic(Some("auto"), Uuid::nil(), false)?;
    Ok(vec![
        format!("error {}, partitions {}", topic.error_code, topic.partitions.len()),
        format!("not when the client forbids: {forbidden}"),
    ])
}

fn add_partitions(target: &Target) -> anyhow::Result<Observed> {
    new_topic(target, "grow", 2)?;
    let producer = producer(target, &[])?;
    send(&producer, &[Outgoing { topic: "grow", value: Some(b"kept"), ..Outgoing::default() }])?;
    let grown = [NewPartitions::new("grow", 5)];
    wait(admin(target)?.create_partitions(&grown, &patient()))??;
    until("5 partitions", || Ok(partitions(target, "grow")? == 5))?;
    let mut raw = Raw::connect(target)?;
    Ok(vec![
        format!("{} partitions", partitions(target, "grow")?),
        format!("shrinking: {}", raw.grow_topic("grow", 3)?),
        format!("same number: {}", raw.grow_topic("grow", 5)?),
        format!("unknown: {}", raw.grow_topic("nothing-to-grow", 5)?),
        format!("old records stay: {}", raw.list_offset("grow", -1)?.1),
    ])
}

fn setting(raw: &mut Raw, topic: &str, name: &str) -> anyhow::Result<String> {
    let settings = raw.settings(topic)?.configs;
    let entry = settings.iter().find(|s| *s.name == *name).with_context(|| name.to_owned())?;
    let given = entry.config_source == GIVEN_TO_THE_TOPIC;
    Ok(format!("{name}={} given={given}", entry.value.clone().unwrap_or_default()))
}

fn settings(target: &Target) -> anyhow::Result<Observed> {
    let topic = "settings";
    create_topic(target, topic, 1, &[("cleanup.policy", "compact"), ("max.message.bytes", "2000")])?;
    let mut raw = Raw::connect(target)?;
    until("the settings", || Ok(raw.settings(topic)?.error_code == 0))?;
    let mut seen = Vec::new();
    for name in ["cleanup.policy", "max.message.bytes", "min.insync.replicas"] {
        seen.push(setting(&mut raw, topic, name)?);
    }
    let producer = producer(target, &[])?;
    let sent = |size: usize| -> anyhow::Result<String> {
        let body = vec![b'x'; size];
        let record = Outgoing { topic, key: Some(b"k"), value: Some(&body), ..Outgoing::default() };
        Ok(format!("{size} bytes: {}", send(&producer, &[record])?.join("")))
    };
    seen.extend([sent(1000)?, sent(3000)?]);
    seen.push(format!("settings of an unknown topic: {}", raw.settings("no-settings")?.error_code));
    let size = "max.message.bytes";
    for (what, value, shown) in [("changed", Some("5000"), "=5000"), ("taken back", None, "=1048588")] {
        let altered = raw.alter_topic(topic, size, value)?;
        until("the new setting", || Ok(setting(&mut raw, topic, size)?.contains(shown)))?;
        seen.push(format!("{what}: {altered}, then {}", setting(&mut raw, topic, size)?));
        if value.is_some() {
            seen.push(sent(3000)?);
        }
    }
    seen.push(format!("a wrong value: {}", raw.alter_topic(topic, size, Some("many"))?));
    seen.push(format!("no such setting: {}", raw.alter_topic(topic, "no.such.setting", Some("1"))?));
    seen.push(format!("of an unknown topic: {}", raw.alter_topic("no-settings", size, Some("1"))?));
    Ok(seen)
}
