//! What becomes of a handler when its topics change under it: partitions added, records deleted before they
//! were read, a topic deleted and made again; and what else a group's offsets may hold.

mod on_brokers;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use keylane_e2e::fleet::{Fleet, LIMIT, check_copies, until_each_reads};
use keylane_e2e::foreign;
use keylane_e2e::member::Host;
use keylane_e2e::offsets::Onlooker;
use keylane_e2e::topics::{Topics, by_key, numbered};
use keylane_test_support::waiting;
use on_brokers::{Check, On, copies};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, TopicPartitionList};

const KEYS: usize = 7;
/// How long the broker may take for one answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

const CHECKS: &[Check] = &[
    ("partitions_added_while_running_are_read_from_their_start", On::Every, added),
    ("records_deleted_before_they_were_read_are_counted", On::Every, lost),
    ("a_topic_made_again_under_a_running_host", On::Every, again_while_running),
    ("a_topic_made_again_under_an_old_commit", On::Every, again_under_an_old_commit),
    ("a_dead_letter_topic_that_is_too_small", On::Every, too_small),
    ("the_metadata_of_another_product", On::Every, foreign_metadata),
    ("lag_is_0_behind_transaction_markers", On::Kafka, markers),
];

fn main() -> ExitCode {
    on_brokers::run("what topics do to a handler", "", CHECKS)
}

/// With `start = "latest"`, which is about the partitions there were: the added ones are new in whole.
fn added(bootstrap: &str) -> Result<()> {
    let (topics, topic) = (Topics::new(bootstrap)?, "added");
    topics.create(topic, 2)?;
    topics.write(topic, 0, &numbered("added-before", 0..5, KEYS))?;
    let fleet = Fleet::new(bootstrap, topic, &[topic])?;
    fleet.subscribe("start = \"latest\"")?;
    let host = fleet.start("")?;
    until_each_reads(&[&host], &[4])?;
    let mut expected = Vec::new();
    let mut write = |partition: i32, range: std::ops::Range<usize>| -> Result<()> {
        let records = numbered(&format!("added-{partition}"), range, KEYS);
        topics.write(topic, partition, &records)?;
        expected.extend(records);
        Ok(())
    };
    for partition in 0..2 {
        write(partition, 0..40)?;
    }
    topics.grow(topic, 5)?;
    for partition in 0..5 {
        write(partition, 40..90)?;
    }
    until_each_reads(&[&host], &[7])?;
    fleet.until_done()?;
    let copies = copies(bootstrap)?;
    check_copies(&copies, &by_key(&expected))?;
    let before = |copy: &&keylane_e2e::broker::Stored| {
        copy.record.value.as_deref().is_some_and(|value| value.starts_with("added-before"))
    };
    ensure!(copies.iter().find(before).is_none(), "what lay there before the start was read");
    // One that starts now gives the retry topic as many partitions, which the first one takes up as well.
    let second = fleet.start("")?;
    until_each_reads(&[&host, &second], &[5, 5])?;
    second.stop()?;
    until_each_reads(&[&host], &[10])?;
    host.stop()
}

fn until_stopped(host: &Host, why: &str) -> Result<()> {
    waiting::until("the partition is stopped", LIMIT, || {
        let partitions = host.partitions().unwrap_or_default();
        Ok(partitions.iter().any(|p| p.fault.as_deref().is_some_and(|f| f.contains(why))).then_some(()))
    })
    .with_context(|| format!("{:?}; {}", host.partitions(), host.process.last_words()))
}

fn lost(bootstrap: &str) -> Result<()> {
    let (topics, topic) = (Topics::new(bootstrap)?, "lost-records");
    topics.create(topic, 1)?;
    let all = numbered(topic, 0..150, KEYS);
    let (early, late) = all.split_at(100);
    topics.write(topic, 0, early)?;
    let fleet = Fleet::new(bootstrap, topic, &[topic])?;
    let host = fleet.start("")?;
    fleet.until_done()?;
    host.stop()?;
    topics.write(topic, 0, late)?;
    topics.delete_records(topic, 0, 120)?;

    fleet.subscribe("lost = \"stop\"")?;
    let host = fleet.start("")?;
    until_stopped(&host, "20 records")?;
    ensure!(host.says("records were removed by retention before they were read")? > 0, "nothing is said");
    host.until_ready_is(503, "20 records")?;
    host.stop()?;
    check_copies(&copies(bootstrap)?, &by_key(early))?;

    fleet.subscribe("lost = \"go-on\"")?;
    let host = fleet.start("")?;
    fleet.until_done()?;
    let read = [early, late.get(20..).unwrap_or_default()].concat();
    check_copies(&copies(bootstrap)?, &by_key(&read))?;
    let counted = host.metrics()?.sum("keylane_records_lost_total", &[]);
    ensure!(counted == 20.0, "counted as lost: {counted}");
    host.stop()
}

fn again_while_running(bootstrap: &str) -> Result<()> {
    let (topics, topic) = (Topics::new(bootstrap)?, "again-running");
    topics.create(topic, 2)?;
    let fleet = Fleet::new(bootstrap, topic, &[topic])?;
    let host = fleet.start("")?;
    for partition in 0..2 {
        topics.write(topic, partition, &numbered(&format!("{topic}-old-{partition}"), 0..50, KEYS))?;
    }
    fleet.until_done()?;
    topics.delete(topic)?;
    topics.create(topic, 2)?;
    let mut new = Vec::new();
    for partition in 0..2 {
        let records = numbered(&format!("{topic}-new-{partition}"), 0..30, KEYS);
        topics.write(topic, partition, &records)?;
        new.extend(records);
    }
    fleet.until_done().with_context(|| host.process.last_words())?;
    check_copies(&copies(bootstrap)?, &by_key(&new))?;
    ensure!(topics.ends(topic)? == [30, 30], "the topic is not the new one");
    host.stop()
}

/// A letter that its topic does not take would hold up its event for ever: the host does not even begin.
fn too_small(bootstrap: &str) -> Result<()> {
    const BYTES: &str = "100000";
    let (topics, topic, letters) = (Topics::new(bootstrap)?, "too-small", "too-small.echo.dlq");
    topics.create(topic, 2)?;
    topics.write(topic, 0, &numbered(topic, 0..10, KEYS))?;
    topics.create_with(letters, 1, &[("max.message.bytes", BYTES)])?;
    let fleet = Fleet::new(bootstrap, topic, &[topic])?;
    let mut host = fleet.start("")?;
    let status = host.process.wait(LIMIT)?;
    ensure!(status.code() == Some(2), "it ended with {status}; {}", host.process.last_words());
    let log = host.process.log()?;
    let said = log.lines().find(|line| line.starts_with("error: ")).unwrap_or_default();
    let source_bytes = topics.setting(topic, "max.message.bytes")?;
    for words in [letters, topic, BYTES, &source_bytes, "max.message.bytes"] {
        ensure!(said.contains(words), "it does not name {words:?}: {said:?}; {log}");
    }
    let positions = Onlooker::new(bootstrap).positions(&[fleet.subscription()])?;
    ensure!(positions.iter().all(|position| position.committed.is_none()), "committed: {positions:?}");
    ensure!(topics.setting(letters, "max.message.bytes")? == BYTES, "the topic was changed");
    ensure!(topics.ends(letters)? == [0], "partitions or records were added: {:?}", topics.ends(letters)?);
    Ok(())
}

fn committed(bootstrap: &str, group: &str, topic: &str) -> Result<(i64, String)> {
    let client: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", bootstrap).set("group.id", group).create()?;
    let mut list = TopicPartitionList::new();
    list.add_partition(topic, 0);
    let committed = client.committed_offsets(list, ANSWER_LIMIT)?;
    let element = committed.find_partition(topic, 0).context("no answer")?;
    Ok((element.offset().to_raw().context("no offset")?, element.metadata().to_owned()))
}

/// The broker forgets a topic's offsets when it is deleted, but a tool may bring them back.
fn again_under_an_old_commit(bootstrap: &str) -> Result<()> {
    let (topics, topic) = (Topics::new(bootstrap)?, "again-committed");
    topics.create(topic, 1)?;
    let fleet = Fleet::new(bootstrap, topic, &[topic])?;
    topics.write(topic, 0, &numbered(&format!("{topic}-old"), 0..50, KEYS))?;
    let host = fleet.start("")?;
    fleet.until_done()?;
    host.stop()?;
    let (offset, metadata) = committed(bootstrap, &fleet.group(), topic)?;
    ensure!(offset == 50, "{offset} is committed");
    topics.delete(topic)?;
    topics.create(topic, 1)?;
    let new = numbered(&format!("{topic}-new"), 0..80, KEYS);
    topics.write(topic, 0, &new)?;
    // The deletion may take a moment to reach the group's coordinator, and then it would forget this too.
    waiting::until("the old commit is there to stay", LIMIT, || {
        foreign::commit(bootstrap, &fleet.group(), (topic, 0), offset, metadata.as_bytes())?;
        Ok(committed(bootstrap, &fleet.group(), topic).ok().filter(|(found, _)| *found == offset))
    })?;
    let host = fleet.start("")?;
    fleet.until_done().with_context(|| host.process.last_words())?;
    check_copies(&copies(bootstrap)?, &by_key(&new))?;
    ensure!(host.says("the topic was deleted and made again")? > 0, "{}", host.process.last_words());
    host.stop()
}

fn foreign_metadata(bootstrap: &str) -> Result<()> {
    let (topics, topic) = (Topics::new(bootstrap)?, "foreign-metadata");
    topics.create(topic, 3)?;
    let fleet = Fleet::new(bootstrap, topic, &[topic])?;
    let found: [(i32, usize, &[u8]); 3] = [
        (0, 10, b"\x00\xff\xfe\x80 bytes of another product \xed\xa0\x80"),
        (1, 5, br#"{"product":"another","gaps":[7,9]}"#),
        (2, 0, b""),
    ];
    let mut expected = Vec::new();
    for (partition, committed, metadata) in found {
        let records = numbered(&format!("{topic}-{partition}"), 0..30, KEYS);
        topics.write(topic, partition, &records)?;
        let offset = i64::try_from(committed)?;
        foreign::commit(bootstrap, &fleet.group(), (topic, partition), offset, metadata)?;
        expected.extend(records.into_iter().skip(committed));
    }
    let host = fleet.start("")?;
    fleet.until_done().with_context(|| host.process.last_words())?;
    check_copies(&copies(bootstrap)?, &by_key(&expected))?;
    ensure!(host.says("is not keylane's, or damaged")? == 2, "{}", host.process.last_words());
    host.stop()
}

fn markers(bootstrap: &str) -> Result<()> {
    let (topics, topic) = (Topics::new(bootstrap)?, "markers");
    topics.create(topic, 1)?;
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("transactional.id", "markers")
        .create()?;
    producer.init_transactions(ANSWER_LIMIT)?;
    let send = |records: &[(String, String)]| -> Result<()> {
        for (key, value) in records {
            let record: BaseRecord<'_, str, str> =
                BaseRecord::to(topic).partition(0).key(key.as_str()).payload(value.as_str());
            producer.send(record).map_err(|(error, _)| error)?;
        }
        Ok(producer.flush(ANSWER_LIMIT)?)
    };
    let kept = numbered("markers-kept", 0..10, KEYS);
    producer.begin_transaction()?;
    send(&kept)?;
    producer.commit_transaction(ANSWER_LIMIT)?;
    producer.begin_transaction()?;
    send(&numbered("markers-aborted", 0..5, KEYS))?;
    producer.abort_transaction(ANSWER_LIMIT)?;
    // The brokers write it after they have answered the transaction's end.
    waiting::until("each transaction's marker", LIMIT, || Ok((topics.ends(topic)? == [17]).then_some(())))?;

    let fleet = Fleet::new(bootstrap, topic, &[topic])?;
    let host = fleet.start("")?;
    fleet.until_done().with_context(|| host.process.last_words())?;
    let copies = copies(bootstrap)?;
    check_copies(&copies, &by_key(&kept))?;
    let aborted = copies.iter().filter_map(|c| c.record.value.as_deref()).any(|v| v.starts_with("markers-a"));
    ensure!(!aborted, "an aborted record was handled");
    waiting::until("the host shows no lag", LIMIT, || {
        Ok(host.partitions()?.iter().all(|partition| partition.lag == Some(0)).then_some(()))
    })?;
    ensure!(committed(bootstrap, &fleet.group(), topic)?.0 == 17, "the commit stays before the markers");
    host.stop()
}
