//! Dead letters on a real Apache Kafka, all the way round: a host buries them, `keylane dlq redrive` is killed
//! again and again while it gives them back, and a host gets each of them once, and buries it once more.

#![allow(clippy::indexing_slicing, reason = "JSON answers null for what is not there")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use keylane_e2e::broker::{Broker as _, Record, Stored};
use keylane_e2e::deployment::{Deployment, Part};
use keylane_e2e::host::{self, Process};
use keylane_e2e::place;
use keylane_e2e::plain::PlainClient;
use keylane_e2e::story::TASKS;
use keylane_test_support::{Checks, apache_kafka, waiting};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use serde_json::Value;

const NAME: &str = "letters_go_round_and_a_killed_redrive_sends_each_once";
const HANDLER: &str = "burying";
const LETTERS: usize = 60;
const PARTITIONS: i32 = 3;
/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(90);
/// Letters in a second, so that a kill comes between two transactions, or in one.
const RATE: &str = "12";
const KILLS: usize = 3;

fn main() -> ExitCode {
    let mut checks = Checks::from_args();
    checks.run(NAME, || match apache_kafka(NAME)? {
        Some(kafka) => round(&kafka.bootstrap()),
        None => Ok(()),
    });
    checks.finish()
}

fn dlq_topic() -> String {
    format!("{TASKS}.{HANDLER}.dlq")
}

fn retry_topic() -> String {
    format!("{TASKS}.{HANDLER}.retry")
}

fn round(bootstrap: &str) -> Result<()> {
    let deployment = Deployment::new(bootstrap, "round", &[Part { folder: "tests/e2e/burying" }])?;
    refused(&deployment, &["list", "nobody"], 2, "it runs burying")?;
    refused(&deployment, &["list", HANDLER, "--topic", "elsewhere"], 2, "it reads task-lifecycle")?;
    refused(&deployment, &["redrive", HANDLER], 2, &dlq_topic())?;

    write(bootstrap)?;
    let first = bury(bootstrap, &deployment, "first", LETTERS)?;
    let origins = origins(&first, 0)?;
    ensure!(origins.len() == LETTERS, "{} origins of {LETTERS} letters", origins.len());

    let killed = (0..KILLS).map(|kill| kill_one(bootstrap, &deployment, kill)).collect::<Result<Vec<_>>>()?;
    ensure!(killed.iter().all(|sent| *sent < LETTERS), "none was left to interrupt: {killed:?}");
    let report = json(&deployment, &["redrive", HANDLER])?;
    let last = report["sent"].as_u64().context("no count")?;
    ensure!(last > 0, "the last one had nothing to do: {report:#}");
    ensure!(json(&deployment, &["redrive", HANDLER])?["sent"] == 0, "one more had something to do");
    check_sent(bootstrap, &origins)?;
    let lists = json(&deployment, &["list", HANDLER])?;
    let redriven: u64 =
        lists.as_array().into_iter().flatten().filter_map(|one| one["redriven"].as_u64()).sum();
    ensure!(redriven == LETTERS as u64, "{redriven} are counted as redriven: {lists:#}");

    let both = bury(bootstrap, &deployment, "second", 2 * LETTERS)?;
    let again: Vec<Stored> = both.into_iter().filter(|letter| !first.contains(letter)).collect();
    ensure!(self::origins(&again, 1)? == origins, "letters that came back tell other origins");
    Ok(())
}

/// Events that trap, and some that do not.
fn write(bootstrap: &str) -> Result<()> {
    let client = PlainClient::new(bootstrap);
    client.create_topics(&[TASKS], PARTITIONS)?;
    let record = |number: usize| Record {
        key: Some(format!("key-{number}")),
        value: Some(if number < LETTERS { "trap" } else { "fine" }.to_owned()),
        headers: vec![("number".to_owned(), number.to_string())],
    };
    let mut writer = client.writer(TASKS)?;
    writer.write(&(0..LETTERS + 20).map(record).collect::<Vec<_>>())?;
    writer.finish()
}

/// Runs a host until so many letters are there, and stops it.
fn bury(bootstrap: &str, deployment: &Deployment, log: &str, letters: usize) -> Result<Vec<Stored>> {
    let mut host = host::start(deployment, &format!("{log}.log"))?;
    let buried = waiting::until("letters", LIMIT, || {
        // The host makes the topic when it starts.
        let found = committed(bootstrap, &dlq_topic()).unwrap_or_default();
        Ok((found.len() >= letters).then_some(found))
    });
    let buried = buried.with_context(|| host.last_words())?;
    host.terminate()?;
    ensure!(host.wait(LIMIT)?.success(), "the host did not stop well: {}", host.last_words());
    ensure!(buried.len() == letters, "{} letters of {letters}", buried.len());
    Ok(buried)
}

/// Kills a redrive when it has sent something that the ones before had not. Answers how many letters have
/// been sent by then.
fn kill_one(bootstrap: &str, deployment: &Deployment, kill: usize) -> Result<usize> {
    let sent = || Ok::<_, anyhow::Error>(committed(bootstrap, &retry_topic())?.len());
    let before = sent()?;
    let config = path(deployment)?;
    let arguments = ["dlq", "redrive", HANDLER, "--config", &config, "--rate", RATE];
    let process = Process::start(&arguments, &deployment.folder().join(format!("redrive-{kill}.log")))?;
    let moved = waiting::until("a redrive sends", LIMIT, || Ok((sent()? > before).then_some(())));
    moved.with_context(|| process.last_words())?;
    process.kill()?;
    sent()
}

/// Each letter was sent once, to the partition of its key, and says where it came from.
fn check_sent(bootstrap: &str, origins: &BTreeMap<String, (String, String)>) -> Result<()> {
    let sent = committed(bootstrap, &retry_topic())?;
    ensure!(sent.len() == LETTERS, "{} records of {LETTERS} letters", sent.len());
    let homes: BTreeMap<Option<String>, i32> = committed(bootstrap, TASKS)?
        .into_iter()
        .map(|stored| (stored.record.key, stored.partition))
        .collect();
    for stored in &sent {
        let record = &stored.record;
        ensure!(homes.get(&record.key) == Some(&stored.partition), "another partition: {stored:?}");
        ensure!(record.value.as_deref() == Some("trap"), "another value: {stored:?}");
        ensure!(record.header("keylane-redrives") == Some("1"), "not counted: {stored:?}");
        ensure!(record.header("kafka_dlt-original-topic").is_none(), "the letter's own: {stored:?}");
    }
    ensure!(self::origins(&sent, 1)? == *origins, "sent letters tell other origins");
    Ok(())
}

/// Where the event of each number came from, by what these records tell. Each number may be there once.
fn origins(records: &[Stored], redrives: usize) -> Result<BTreeMap<String, (String, String)>> {
    let mut origins = BTreeMap::new();
    for stored in records {
        let said = |name: &str| {
            let header = stored.record.header(name).map(str::to_owned);
            header.with_context(|| format!("no {name}: {stored:?}"))
        };
        ensure!(said("keylane-origin-topic")? == TASKS, "from another topic: {stored:?}");
        let counted = stored.record.header("keylane-redrives").unwrap_or("0");
        ensure!(counted == redrives.to_string(), "{counted} redrives: {stored:?}");
        let origin = (said("keylane-origin-partition")?, said("keylane-origin-offset")?);
        let before = origins.insert(said("number")?, origin);
        ensure!(before.is_none(), "twice: {stored:?}");
    }
    Ok(origins)
}

/// What a read-committed reader finds in a topic. Headers that are not text are shown as far as they are.
fn committed(bootstrap: &str, topic: &str) -> Result<Vec<Stored>> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "round-reader")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true")
        .set("allow.auto.create.topics", "false")
        .set("fetch.wait.max.ms", "10")
        .create()?;
    let partitions =
        if consumer.fetch_metadata(Some(topic), LIMIT)?.topics().iter().any(|one| one.error().is_none()) {
            PARTITIONS
        } else {
            0
        };
    let mut found = Vec::new();
    for partition in 0..partitions {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Beginning)?;
        consumer.assign(&list)?;
        let end = Instant::now() + LIMIT;
        loop {
            ensure!(Instant::now() < end, "{topic}[{partition}] has no end");
            match consumer.poll(Duration::from_millis(100)) {
                Some(Err(KafkaError::PartitionEOF(ended))) if ended == partition => break,
                Some(message) => found.push(stored(&message?)),
                None => {}
            }
        }
    }
    Ok(found)
}

fn stored(message: &rdkafka::message::BorrowedMessage<'_>) -> Stored {
    use rdkafka::message::Headers as _;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
    let record = Record {
        key: message.key().map(text),
        value: message.payload().map(text),
        headers: headers.map(|one| (one.key.to_owned(), text(one.value.unwrap_or_default()))).collect(),
    };
    Stored { partition: message.partition(), offset: message.offset(), record }
}

fn path(deployment: &Deployment) -> Result<String> {
    let config = deployment.config();
    Ok(config.to_str().context("the temporary folder's name is not UTF-8")?.to_owned())
}

/// Runs `keylane dlq` to its end: the exit code, standard output, standard error.
fn dlq(config: &Path, arguments: &[&str]) -> Result<(i32, String, String)> {
    let output = Command::new(place::keylane()?)
        .arg("dlq")
        .args(arguments)
        .arg("--config")
        .arg(config)
        .env("KEYLANE_LOG", "warn")
        .output()?;
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Ok((output.status.code().context("ended by a signal")?, text(&output.stdout), text(&output.stderr)))
}

/// What it answers as JSON.
fn json(deployment: &Deployment, arguments: &[&str]) -> Result<Value> {
    let arguments = [arguments, &["--json"]].concat();
    let (code, answer, said) = dlq(&deployment.config(), &arguments)?;
    ensure!(code == 0, "{arguments:?} ended with {code}: {said}");
    serde_json::from_str(&answer).with_context(|| format!("{arguments:?} answered {answer:?}"))
}

/// A command that is refused with this code and these words.
fn refused(deployment: &Deployment, arguments: &[&str], code: i32, words: &str) -> Result<()> {
    let (found, _, said) = dlq(&deployment.config(), arguments)?;
    ensure!(found == code && said.contains(words), "{arguments:?} ended with {found}: {said}");
    Ok(())
}
