//! librdkafka's transactional producer and its readers of committed records.

use std::time::Duration;

use anyhow::Context;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::{Message, Offset, TopicPartitionList};

use super::{Check, check};
use crate::clients::{PATIENCE, config, consumer, error_name, leave, new_topic, reader, until};
use crate::{Observed, Target};

pub(super) const CHECKS: &[Check] = &[
    check(
        "transactions_of_a_client",
        process,
        &[
            "round 0: committed",
            "round 1: aborted",
            "round 2: committed",
            "committed: 0-0 0-1 0-2 2-0 2-1 2-2, then the end at 12",
            "uncommitted: 0-0 0-1 0-2 1-0 1-1 1-2 2-0 2-1 2-2",
            r#"offset: Offset(2) "gaps of 2""#,
        ],
    ),
    check(
        "a_transaction_with_an_old_generation",
        stale,
        &["refused: IllegalGeneration, abort it: true, fatal: false", "aborted", "with a new one: committed"],
    ),
    check(
        "a_client_fenced_in_a_transaction",
        fenced,
        &["the new one: committed", "the old one: Fenced, fatal: true", "of the old one: nothing"],
    ),
    check(
        "a_client_goes_on_after_an_aborted_transaction",
        aborted,
        &[
            "refused: MessageSizeTooLarge",
            "aborted",
            "then: OutOfOrderSequenceNumber, fatal: false",
            "aborted",
            "then: committed",
            "read: small",
        ],
    ),
];

/// It polls by itself, as the end of a transaction needs.
type Client = ThreadedProducer<DefaultProducerContext>;

fn transactional(target: &Target, name: &str) -> anyhow::Result<Client> {
    let settings = [("transactional.id", name), ("linger.ms", "1"), ("retry.backoff.ms", "20")];
    let producer: Client = config(target, &settings).create()?;
    producer.init_transactions(PATIENCE)?;
    Ok(producer)
}

fn send(producer: &Client, topic: &str, value: &str) -> anyhow::Result<()> {
    let record = BaseRecord::<(), str>::to(topic).partition(0).payload(value);
    producer.send(record).map_err(|(error, _)| error).context("not even queued")?;
    Ok(())
}

/// One word for the end of a transaction.
fn ended(result: Result<(), KafkaError>, word: &str) -> String {
    match result {
        Ok(()) => word.to_owned(),
        Err(KafkaError::Transaction(error)) => format!("{:?}, fatal: {}", error.code(), error.is_fatal()),
        Err(error) => error_name(&error),
    }
}

fn offsets(topic: &str, offset: i64, metadata: &str) -> anyhow::Result<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Offset(offset))?;
    list.find_partition(topic, 0).context("no partition")?.set_metadata(metadata);
    Ok(list)
}

/// A member of the group that has partition 0.
fn member(target: &Target, group: &str, topic: &str) -> anyhow::Result<BaseConsumer> {
    let member = consumer(target, group, &[])?;
    member.subscribe(&[topic])?;
    until("an assignment", || {
        let _events = member.poll(Duration::from_millis(50));
        Ok(member.assignment()?.count() > 0)
    })?;
    Ok(member)
}

/// The values up to the end of the partition, and where that is.
fn values(target: &Target, topic: &str, isolation: &str) -> anyhow::Result<(String, i64)> {
    let settings = [("isolation.level", isolation), ("enable.partition.eof", "true")];
    let reader = reader(target, topic, 1, Offset::Beginning, &settings)?;
    let mut values = Vec::new();
    let mut at_end = false;
    until("the end of the partition", || {
        match reader.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                values.push(String::from_utf8_lossy(message.payload().unwrap_or_default()).into_owned());
            }
            Some(Err(KafkaError::PartitionEOF(_))) => at_end = true,
            Some(Err(error)) => return Err(error.into()),
            None => {}
        }
        Ok(at_end)
    })?;
    let position = reader.position()?;
    let position = position.find_partition(topic, 0).and_then(|p| p.offset().to_raw()).unwrap_or(-1);
    Ok((values.join(" "), position))
}

fn process(target: &Target) -> anyhow::Result<Observed> {
    let (input, output, group) = ("txn-input", "txn-output", "txn-process");
    new_topic(target, input, 1)?;
    new_topic(target, output, 1)?;
    let producer = transactional(target, group)?;
    let member = member(target, group, input)?;
    let mut seen = Vec::new();
    for round in 0..3_i64 {
        producer.begin_transaction()?;
        for number in 0..3 {
            send(&producer, output, &format!("{round}-{number}"))?;
        }
        // What was not sent yet, an abort would take back.
        producer.flush(PATIENCE)?;
        let metadata = member.group_metadata().context("no group metadata")?;
        let list = offsets(input, round, &format!("gaps of {round}"))?;
        producer.send_offsets_to_transaction(&list, &metadata, PATIENCE)?;
        let result = if round == 1 {
            ended(producer.abort_transaction(PATIENCE), "aborted")
        } else {
            ended(producer.commit_transaction(PATIENCE), "committed")
        };
        seen.push(format!("round {round}: {result}"));
    }
    let mut read = (String::new(), -1);
    until("the last marker", || {
        read = values(target, output, "read_committed")?;
        Ok(read.0.ends_with("2-2"))
    })?;
    seen.push(format!("committed: {}, then the end at {}", read.0, read.1));
    seen.push(format!("uncommitted: {}", values(target, output, "read_uncommitted")?.0));
    let mut committed = TopicPartitionList::new();
    committed.add_partition(input, 0);
    let committed = member.committed_offsets(committed, PATIENCE)?;
    let element = committed.find_partition(input, 0).context("no partition")?;
    seen.push(format!("offset: {:?} {:?}", element.offset(), element.metadata()));
    leave(&member)?;
    Ok(seen)
}

fn stale(target: &Target) -> anyhow::Result<Observed> {
    let (topic, group) = ("txn-stale", "txn-stale-group");
    new_topic(target, topic, 2)?;
    let producer = transactional(target, group)?;
    let first = member(target, group, topic)?;
    let old = first.group_metadata().context("no group metadata")?;
    // The second one starts another generation; the first has to poll to take part in it.
    let second = consumer(target, group, &[])?;
    second.subscribe(&[topic])?;
    until("another generation", || {
        let _events = (first.poll(Duration::from_millis(20)), second.poll(Duration::from_millis(20)));
        Ok(first.assignment()?.count() == 1 && second.assignment()?.count() == 1)
    })?;
    producer.begin_transaction()?;
    let mut seen = Vec::new();
    match producer.send_offsets_to_transaction(&offsets(topic, 1, "")?, &old, PATIENCE) {
        Err(KafkaError::Transaction(error)) => seen.push(format!(
            "refused: {:?}, abort it: {}, fatal: {}",
            error.code(),
            error.txn_requires_abort(),
            error.is_fatal()
        )),
        other => seen.push(format!("{other:?}")),
    }
    seen.push(ended(producer.abort_transaction(PATIENCE), "aborted"));
    producer.begin_transaction()?;
    let new = first.group_metadata().context("no group metadata")?;
    let sent = producer.send_offsets_to_transaction(&offsets(topic, 1, "")?, &new, PATIENCE);
    let sent = sent.and_then(|()| producer.commit_transaction(PATIENCE));
    seen.push(format!("with a new one: {}", ended(sent, "committed")));
    leave(&first)?;
    leave(&second)?;
    Ok(seen)
}

fn fenced(target: &Target) -> anyhow::Result<Observed> {
    let topic = "txn-client-fenced";
    new_topic(target, topic, 1)?;
    let old = transactional(target, topic)?;
    old.begin_transaction()?;
    send(&old, topic, "old")?;
    until("the old one's record", || Ok(old.in_flight_count() == 0))?;
    let new = transactional(target, topic)?;
    new.begin_transaction()?;
    send(&new, topic, "new")?;
    let mut seen = vec![format!("the new one: {}", ended(new.commit_transaction(PATIENCE), "committed"))];
    seen.push(format!("the old one: {}", ended(old.commit_transaction(PATIENCE), "committed")));
    let mut read = String::new();
    until("the new one's record", || {
        read = values(target, topic, "read_committed")?.0;
        Ok(read.contains("new"))
    })?;
    seen.push(format!("of the old one: {}", if read == "new" { "nothing" } else { &read }));
    Ok(seen)
}

fn aborted(target: &Target) -> anyhow::Result<Observed> {
    let topic = "txn-client-aborted";
    new_topic(target, topic, 1)?;
    let settings = [("transactional.id", topic), ("message.max.bytes", "4000000"), ("linger.ms", "1")];
    let producer: Client = config(target, &settings).create()?;
    producer.init_transactions(PATIENCE)?;
    producer.begin_transaction()?;
    send(&producer, topic, "lost")?;
    producer.flush(PATIENCE)?;
    send(&producer, topic, &"x".repeat(2_000_000))?;
    let mut seen = Vec::new();
    let refused = producer.commit_transaction(PATIENCE);
    seen.push(match refused {
        Err(KafkaError::Transaction(error)) => format!("refused: {:?}", error.code()),
        other => format!("{other:?}"),
    });
    // The refused batch left a gap in the sequence; the next abort closes it with another epoch.
    for _ in 0..2 {
        seen.push(ended(producer.abort_transaction(PATIENCE), "aborted"));
        producer.begin_transaction()?;
        send(&producer, topic, "small")?;
        seen.push(format!("then: {}", ended(producer.commit_transaction(PATIENCE), "committed")));
    }
    let mut read = String::new();
    until("the small record", || {
        read = values(target, topic, "read_committed")?.0;
        Ok(!read.is_empty())
    })
    .context(format!("after {seen:?}"))?;
    seen.push(format!("read: {read}"));
    Ok(seen)
}
