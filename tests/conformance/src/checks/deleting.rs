//! Records that are deleted from the front of a partition, and topics that come back under their names:
//! what a reader is told that still stands before the first offset, or behind the last one.

use keylane_test_support::raw_batch;
use rdkafka::Offset;
use rdkafka::consumer::Consumer;

use super::{Check, check};
use crate::clients::{
    consumer, create_topic, error_name, leave, new_topic, producer, read, reader, send_numbers, until,
};
use crate::describe::describe;
use crate::raw::{Raw, creatable};
use crate::{Observed, Target};

pub(super) const CHECKS: &[Check] = &[
    check(
        "records_are_deleted_from_the_front",
        from_the_front,
        &[
            "before 3: (0, 3)",
            "before 2, which is gone already: (0, 3)",
            "behind the end: (1, -1)",
            "a negative offset: (1, -1)",
            "of an unknown topic: (3, -1)",
            "fetch below the start: 1",
            "fetch at the start: 0, start 3, end 6",
            "earliest (0, 3, -1), latest (0, 6, -1)",
            "by a time before all: (0, 3, 1001)",
            "up to the end: (0, 6)",
            "earliest (0, 6, -1), latest (0, 6, -1)",
            "and the next record gets: (0, 6)",
        ],
    ),
    check(
        "a_compacted_topic_keeps_its_records",
        compacted,
        &["compact: 44", "compact,delete: 0", "set back to delete: 0"],
    ),
    check(
        "a_reader_that_lost_records_is_told",
        lost,
        &[
            "reset=error: AutoOffsetReset",
            "reset=earliest reads from: 6",
            "a group's member with reset=error: AutoOffsetReset",
        ],
    ),
    check(
        "a_topic_that_came_back",
        came_back,
        &[
            "described: the raw id, 1 partition",
            "unknown: UnknownTopicOrPartition",
            "another id, as described: true",
            "fetch by the new name at the old offset: 1",
            "a running reader reads the new records: 0 1 2",
        ],
    ),
];

fn from_the_front(target: &Target) -> anyhow::Result<Observed> {
    let topic = "front";
    new_topic(target, topic, 1)?;
    let mut raw = Raw::connect(target)?;
    for _ in 0..3 {
        raw.produce(topic, -1, raw_batch(&["a", "b"], None)?)?;
    }
    let mut seen = Vec::new();
    for (what, topic, before) in [
        ("before 3", topic, 3),
        ("before 2, which is gone already", topic, 2),
        ("behind the end", topic, 7),
        ("a negative offset", topic, -2),
        ("of an unknown topic", "front-unknown", 1),
    ] {
        seen.push(format!("{what}: {:?}", raw.delete_records(topic, before)?));
    }
    seen.push(format!("fetch below the start: {}", raw.fetch(topic, 2, 1 << 20, 0)?.error_code));
    let there = raw.fetch(topic, 3, 1 << 20, 0)?;
    seen.push(format!(
        "fetch at the start: {}, start {}, end {}",
        there.error_code, there.log_start_offset, there.high_watermark
    ));
    let ends = |raw: &mut Raw| -> anyhow::Result<String> {
        let (earliest, latest) = (raw.list_offset(topic, -2)?, raw.list_offset(topic, -1)?);
        Ok(format!("earliest {earliest:?}, latest {latest:?}"))
    };
    seen.push(ends(&mut raw)?);
    seen.push(format!("by a time before all: {:?}", raw.list_offset(topic, 5)?));
    seen.push(format!("up to the end: {:?}", raw.delete_records(topic, -1)?));
    seen.push(ends(&mut raw)?);
    let next = raw.produce(topic, -1, raw_batch(&["c"], None)?)?;
    seen.push(format!("and the next record gets: {next:?}"));
    Ok(seen)
}

fn compacted(target: &Target) -> anyhow::Result<Observed> {
    let mut raw = Raw::connect(target)?;
    let mut seen = Vec::new();
    for (topic, policy) in [("only-compact", "compact"), ("compact-and-delete", "compact,delete")] {
        create_topic(target, topic, 1, &[("cleanup.policy", policy)])?;
        seen.push(format!("{policy}: {}", raw.delete_records(topic, 0)?.0));
    }
    raw.alter_topic("only-compact", "cleanup.policy", Some("delete"))?;
    until("the new policy", || Ok(raw.delete_records("only-compact", 0)?.0 == 0))?;
    seen.push("set back to delete: 0".to_owned());
    Ok(seen)
}

fn lost(target: &Target) -> anyhow::Result<Observed> {
    let topic = "lost";
    new_topic(target, topic, 1)?;
    send_numbers(&producer(target, &[])?, topic, 1, 10)?;
    let mut raw = Raw::connect(target)?;
    raw.commit_from_outside("lost-group", topic, 2)?;
    raw.delete_records(topic, 6)?;
    let told = |client: &rdkafka::consumer::BaseConsumer| -> anyhow::Result<String> {
        let mut told = None;
        until("an error", || {
            told = client.poll(std::time::Duration::from_millis(100)).and_then(Result::err);
            Ok(told.is_some())
        })?;
        Ok(told.map(|error| error_name(&error)).unwrap_or_default())
    };
    let strict = [("auto.offset.reset", "error")];
    let mut seen =
        vec![format!("reset=error: {}", told(&reader(target, topic, 1, Offset::Offset(2), &strict)?)?)];
    let lenient = read(&reader(target, topic, 1, Offset::Offset(2), &[])?, 1)?;
    seen.push(format!("reset=earliest reads from: {}", lenient.first().map_or(-1, |r| r.offset)));
    let member = consumer(target, "lost-group", &strict)?;
    member.subscribe(&[topic])?;
    seen.push(format!("a group's member with reset=error: {}", told(&member)?));
    leave(&member)?;
    Ok(seen)
}

fn came_back(target: &Target) -> anyhow::Result<Observed> {
    let topic = "came-back";
    let mut raw = Raw::connect(target)?;
    let old = raw.create_topic(creatable(topic, 1))?.topic_id;
    until("the topic", || raw.is_ready(topic, 1))?;
    let described = describe(target, topic)?;
    let the_raw = if described.id == old { "the raw" } else { "another" };
    let mut seen = vec![format!("described: {the_raw} id, {} partition", described.partitions)];
    let unknown = describe(target, "came-from-nowhere")?.error.unwrap_or_default();
    seen.push(format!("unknown: {unknown}"));

    send_numbers(&producer(target, &[])?, topic, 1, 10)?;
    let running = consumer(target, "came-back-group", &[("topic.metadata.refresh.interval.ms", "500")])?;
    running.subscribe(&[topic])?;
    read(&running, 10)?;
    raw.delete_topic(topic)?;
    until("the topic is gone", || Ok(raw.topic(Some(topic), uuid::Uuid::nil(), false)?.error_code == 3))?;
    let new = raw.create_topic(creatable(topic, 1))?.topic_id;
    until("the topic", || raw.is_ready(topic, 1))?;
    until("the new id", || Ok(describe(target, topic)?.id == new))?;
    seen.push(format!("another id, as described: {}", new != old));
    let past = raw.fetch(topic, 10, 1 << 20, 0)?.error_code;
    seen.push(format!("fetch by the new name at the old offset: {past}"));

    send_numbers(&producer(target, &[])?, topic, 1, 3)?;
    let mut offsets = Vec::new();
    until("the new records", || {
        // The client may tell of the topic's absence first.
        if let Some(Ok(message)) = running.poll(std::time::Duration::from_millis(100)) {
            offsets.push(rdkafka::Message::offset(&message).to_string());
        }
        Ok(offsets.len() >= 3)
    })?;
    seen.push(format!("a running reader reads the new records: {}", offsets.join(" ")));
    leave(&running)?;
    Ok(seen)
}
