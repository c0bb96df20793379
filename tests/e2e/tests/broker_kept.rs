//! `keylane broker` with a data folder: SIGKILL costs nothing that was acknowledged, and a write that was
//! torn is cut off and said.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use keylane_e2e::broker::Broker;
use keylane_e2e::deployment::free_port;
use keylane_e2e::dev_broker::DevBroker;
use keylane_e2e::plain::PlainClient;
use keylane_test_support::waiting;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{ClientConfig, ClientContext, Offset, TopicPartitionList};

const LIMIT: Duration = Duration::from_secs(60);
const TOPIC: &str = "kept";
const PARTITIONS: usize = 2;
const RECORDS: usize = 40_000;
/// So many are acknowledged when the broker is killed, about: the producer goes on meanwhile.
const BEFORE_THE_KILL: usize = 5_000;

/// Counts what the broker has acknowledged and keeps what it refused.
#[derive(Clone, Default)]
struct Acknowledged {
    records: Arc<AtomicUsize>,
    refused: Arc<Mutex<Vec<String>>>,
}

impl ClientContext for Acknowledged {}

impl ProducerContext for Acknowledged {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(_) => {
                self.records.fetch_add(1, Ordering::Relaxed);
            }
            Err((error, _)) => {
                self.refused.lock().unwrap_or_else(PoisonError::into_inner).push(error.to_string())
            }
        }
    }
}

impl Acknowledged {
    fn count(&self) -> usize {
        self.records.load(Ordering::Relaxed)
    }
}

fn commit(group: &BaseConsumer, offset: i64) -> Result<()> {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(TOPIC, 0, Offset::Offset(offset))?;
    Ok(group.commit(&list, CommitMode::Sync)?)
}

fn committed(group: &BaseConsumer) -> Result<i64> {
    let mut list = TopicPartitionList::new();
    list.add_partition(TOPIC, 0);
    let list = group.committed_offsets(list, LIMIT)?;
    let offset = list.find_partition(TOPIC, 0).and_then(|element| element.offset().to_raw());
    offset.context("nothing is committed")
}

/// Sends all records, numbered, each partition's in order.
fn send_all(producer: &ThreadedProducer<Acknowledged>) -> Result<()> {
    for number in 0..RECORDS {
        let value = number.to_string();
        let partition = i32::try_from(number % PARTITIONS)?;
        let record: BaseRecord<'_, (), str> = BaseRecord::to(TOPIC).partition(partition).payload(&value);
        producer.send(record).map_err(|(error, _)| error)?;
    }
    Ok(())
}

#[test]
fn sigkill_loses_and_doubles_nothing_that_was_acknowledged() -> Result<()> {
    let (folder, port) = (tempfile::tempdir()?, free_port()?);
    let broker = DevBroker::start_kept(port, folder.path())?;
    let client = PlainClient::new(&broker.bootstrap);
    client.create_topics(&[TOPIC], i32::try_from(PARTITIONS)?)?;
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &broker.bootstrap).set("group.id", "kept-group");
    let group: BaseConsumer = config.create()?;
    config.set("enable.idempotence", "true").set("batch.num.messages", "50").set("linger.ms", "1");
    let acknowledged = Acknowledged::default();
    let producer: ThreadedProducer<Acknowledged> = config.create_with_context(acknowledged.clone())?;

    send_all(&producer)?;
    let mut promised = 0;
    while acknowledged.count() < BEFORE_THE_KILL {
        commit(&group, promised + 1)?;
        promised += 1;
    }
    broker.process.kill()?;
    ensure!(acknowledged.count() < RECORDS, "everything was acknowledged before the kill");

    let broker = DevBroker::start_kept(port, folder.path())?;
    producer.flush(LIMIT)?;
    let refused = acknowledged.refused.lock().unwrap_or_else(PoisonError::into_inner).clone();
    ensure!(refused.is_empty() && acknowledged.count() == RECORDS, "{refused:?}");
    ensure!(committed(&group)? >= promised, "{} was acknowledged", promised);
    let mut stored = client.read(TOPIC)?;
    ensure!(stored.len() == RECORDS, "{} records lie there, not {RECORDS}", stored.len());
    stored.sort_by_key(|record| (record.partition, record.offset));
    for one in &stored {
        let number = one.offset * i64::try_from(PARTITIONS)? + i64::from(one.partition);
        ensure!(one.record.value.as_deref() == Some(&number.to_string()), "{one:?}");
    }
    broker.stop()
}

/// The one file of this name below a folder.
fn find(folder: &Path, name: &str) -> Result<PathBuf> {
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().is_some_and(|found| found == name) {
                return Ok(path);
            }
        }
    }
    anyhow::bail!("there is no {name} in {}", folder.display())
}

/// Writes the first bytes of what a file holds behind its end, as a crash in the middle of a write would.
fn tear(file: &Path, bytes: usize) -> Result<()> {
    let mut held = std::fs::read(file)?;
    let start = held.get(..bytes).with_context(|| format!("{} is too short", file.display()))?.to_vec();
    held.extend(start);
    Ok(std::fs::write(file, held)?)
}

#[test]
fn a_torn_write_is_cut_off_and_said() -> Result<()> {
    let (folder, port) = (tempfile::tempdir()?, free_port()?);
    let broker = DevBroker::start_kept(port, folder.path())?;
    let client = PlainClient::new(&broker.bootstrap);
    client.create_topics(&[TOPIC], 1)?;
    let write = |value: &str| -> Result<()> {
        let mut writer = client.writer(TOPIC)?;
        writer.write(&[keylane_e2e::broker::Record {
            key: None,
            value: Some(value.to_owned()),
            headers: Vec::new(),
        }])?;
        writer.finish()
    };
    write("first")?;
    let mut config = ClientConfig::new();
    let group: BaseConsumer =
        config.set("bootstrap.servers", &broker.bootstrap).set("group.id", "kept-group").create()?;
    commit(&group, 1)?;
    broker.process.kill()?;
    // Less than a batch's header and a record, and less than an entry's length and checksum.
    tear(&find(folder.path(), "0.log")?, 65)?;
    tear(&find(folder.path(), "offsets.journal")?, 6)?;

    let mut broker = DevBroker::start_kept(port, folder.path())?;
    broker.process.until_says("cut the torn end of a partition's log", LIMIT)?;
    broker.process.until_says("ignored the torn end of the offsets journal", LIMIT)?;
    write("second")?;
    waiting::until("the commit is there", LIMIT, || {
        Ok(committed(&group).ok().filter(|offset| *offset == 1))
    })?;
    let values: Vec<_> = client.read(TOPIC)?.into_iter().map(|stored| stored.record.value).collect();
    ensure!(values == [Some("first".to_owned()), Some("second".to_owned())], "{values:?}");
    broker.stop()
}
