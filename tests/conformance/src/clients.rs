//! Ordinary clients (librdkafka), with settings that keep the checks quick.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::Target;
use crate::raw::Raw;

/// Nothing in a check takes this long unless it is broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for one future on this thread.
pub(crate) fn wait<T>(future: impl Future<Output = T>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(future))
}

pub(crate) fn config(target: &Target, extra: &[(&str, &str)]) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &target.bootstrap).set("broker.address.family", "v4");
    for (key, value) in extra {
        config.set(*key, *value);
    }
    config
}

pub(crate) fn admin(target: &Target) -> anyhow::Result<AdminClient<DefaultClientContext>> {
    Ok(config(target, &[]).create()?)
}

pub(crate) fn patient() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(PATIENCE)).operation_timeout(Some(PATIENCE))
}

/// `created` when every partition answers, or the name of the error.
pub(crate) fn create_topic(
    target: &Target,
    name: &str,
    partitions: i32,
    settings: &[(&str, &str)],
) -> anyhow::Result<String> {
    let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
    for (key, value) in settings {
        topic = topic.set(key, value);
    }
    let results = wait(admin(target)?.create_topics(&[topic], &patient()))??;
    if let Err((_, code)) = results.first().context("no result")? {
        return Ok(format!("{code:?}"));
    }
    let mut raw = Raw::connect(target)?;
    until("every partition of a new topic", || raw.is_ready(name, partitions))?;
    Ok("created".to_owned())
}

/// A topic that must not fail to be created.
pub(crate) fn new_topic(target: &Target, name: &str, partitions: i32) -> anyhow::Result<()> {
    let result = create_topic(target, name, partitions, &[])?;
    if result == "created" { Ok(()) } else { bail!("creating {name}: {result}") }
}

/// A topic whose old timestamps do not begin a segment each: Kafka reads one segment at a time.
pub(crate) fn new_topic_of_one_segment(target: &Target, name: &str) -> anyhow::Result<()> {
    let result = create_topic(target, name, 1, &[("segment.ms", "1000000000000000")])?;
    if result == "created" { Ok(()) } else { bail!("creating {name}: {result}") }
}

pub(crate) fn producer(target: &Target, extra: &[(&str, &str)]) -> anyhow::Result<FutureProducer> {
    let mut config = config(target, &[("message.timeout.ms", "20000"), ("linger.ms", "5")]);
    for (key, value) in extra {
        config.set(*key, *value);
    }
    Ok(config.create()?)
}

/// A record to be sent.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Outgoing<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) headers: &'a [(&'a str, Option<&'a [u8]>)],
    pub(crate) timestamp: Option<i64>,
}

/// Sends all, then waits for each: its offset, or the name of the error.
pub(crate) fn send(producer: &FutureProducer, records: &[Outgoing<'_>]) -> anyhow::Result<Vec<String>> {
    let mut under_way = Vec::with_capacity(records.len());
    for record in records {
        let mut headers = OwnedHeaders::new();
        for (key, value) in record.headers {
            headers = headers.insert(Header { key, value: *value });
        }
        let mut out: FutureRecord<'_, [u8], [u8]> =
            FutureRecord::to(record.topic).partition(record.partition).headers(headers);
        out.key = record.key;
        out.payload = record.value;
        out.timestamp = record.timestamp;
        match producer.send_result(out) {
            Ok(delivery) => under_way.push(delivery),
            Err((error, _)) => bail!("not even queued: {error}"),
        }
    }
    wait(async {
        let mut results = Vec::with_capacity(under_way.len());
        for delivery in under_way {
            results.push(match delivery.await? {
                Ok(delivered) => delivered.offset.to_string(),
                Err((error, _)) => error_name(&error),
            });
        }
        Ok(results)
    })?
}

/// Sends `count` records with the values 0, 1, 2, ... round the partitions; all must arrive.
pub(crate) fn send_numbers(
    producer: &FutureProducer,
    topic: &str,
    partitions: i32,
    count: i32,
) -> anyhow::Result<()> {
    let values: Vec<String> = (0..count).map(|i| i.to_string()).collect();
    let record =
        |(i, value): (i32, &'_ String)| -> (i32, Vec<u8>) { (i % partitions, value.clone().into_bytes()) };
    let bodies: Vec<(i32, Vec<u8>)> = (0..).zip(&values).map(record).collect();
    let records: Vec<Outgoing<'_>> = bodies
        .iter()
        .map(|(partition, value)| Outgoing {
            topic,
            partition: *partition,
            value: Some(value),
            ..Outgoing::default()
        })
        .collect();
    let failed: Vec<String> =
        send(producer, &records)?.into_iter().filter(|result| result.parse::<i64>().is_err()).collect();
    if failed.is_empty() { Ok(()) } else { bail!("{} records failed: {:?}", failed.len(), failed.first()) }
}

/// The name of the broker's or the client's error code.
pub(crate) fn error_name(error: &KafkaError) -> String {
    error.rdkafka_error_code().map_or_else(|| error.to_string(), |code: RDKafkaErrorCode| format!("{code:?}"))
}

pub(crate) fn consumer(target: &Target, group: &str, extra: &[(&str, &str)]) -> anyhow::Result<BaseConsumer> {
    Ok(consumer_config(target, group, extra).create()?)
}

pub(crate) fn consumer_config(target: &Target, group: &str, extra: &[(&str, &str)]) -> ClientConfig {
    let mut config = config(
        target,
        &[
            ("group.id", group),
            ("auto.offset.reset", "earliest"),
            ("enable.auto.commit", "false"),
            ("partition.assignment.strategy", "cooperative-sticky"),
            ("session.timeout.ms", "6000"),
            ("heartbeat.interval.ms", "500"),
        ],
    );
    for (key, value) in extra {
        config.set(*key, *value);
    }
    config
}

/// Lets a consumer leave its group and waits until nothing is assigned to it. Dropping one while a rebalance
/// event waits in its queue can block for ever: the client answers the event after its group thread has ended.
pub(crate) fn leave<C: ConsumerContext>(consumer: &BaseConsumer<C>) -> anyhow::Result<()> {
    consumer.unsubscribe();
    until("it has left", || {
        let _events = consumer.poll(Duration::from_millis(10));
        Ok(consumer.assignment()?.count() == 0)
    })
}

/// A consumer that reads these partitions from this offset on, in no group.
pub(crate) fn reader(
    target: &Target,
    topic: &str,
    partitions: i32,
    from: Offset,
    extra: &[(&str, &str)],
) -> anyhow::Result<BaseConsumer> {
    let reader = consumer(target, "reader", extra)?;
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        list.add_partition_offset(topic, partition, from)?;
    }
    reader.assign(&list)?;
    Ok(reader)
}

/// A record that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Incoming {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) timestamp: Option<i64>,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: String,
}

impl Incoming {
    fn from(message: &BorrowedMessage<'_>) -> Self {
        let header = |h: Header<'_, &[u8]>| format!("{}={}", h.key, shown(h.value));
        let headers: Vec<String> =
            message.headers().map(|all| all.iter().map(header).collect()).unwrap_or_default();
        Self {
            partition: message.partition(),
            offset: message.offset(),
            timestamp: message.timestamp().to_millis(),
            key: message.key().map(ToOwned::to_owned),
            value: message.payload().map(ToOwned::to_owned),
            headers: headers.join(","),
        }
    }

    /// All that a producer gave, on one line.
    pub(crate) fn line(&self) -> String {
        let (key, value) = (shown(self.key.as_deref()), shown(self.value.as_deref()));
        format!("@{} key={key} value={value} headers=[{}]", self.offset, self.headers)
    }
}

/// Bytes as text in quotes, or `null`.
pub(crate) fn shown(bytes: Option<&[u8]>) -> String {
    bytes.map_or_else(|| "null".to_owned(), |b| format!("{:?}", String::from_utf8_lossy(b)))
}

/// Reads until there are `count` records; fails when none comes for too long.
pub(crate) fn read(consumer: &BaseConsumer, count: usize) -> anyhow::Result<Vec<Incoming>> {
    let mut records = Vec::with_capacity(count);
    let until = Instant::now() + PATIENCE;
    while records.len() < count {
        if Instant::now() >= until {
            bail!("only {} of {count} records came", records.len());
        }
        if let Some(message) = consumer.poll(Duration::from_millis(100)) {
            records.push(Incoming::from(&message?));
        }
    }
    Ok(records)
}

/// Polls until `met` says so; fails when it never does.
pub(crate) fn until(what: &str, mut met: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let end = Instant::now() + PATIENCE;
    while !met()? {
        if Instant::now() >= end {
            bail!("waited too long for: {what}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
