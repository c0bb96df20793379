//! The independent producer: unique values with Zipf's keys, acknowledged by all replicas in sync.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rdkafka::ClientContext;
use rdkafka::Message;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};

use crate::effects::Effects;
use crate::evidence::Headers;
use crate::fate::Fate;
use crate::fleet::INPUT;
use crate::numbers::{Numbers, Zipf};
use crate::plan::{Plan, WRITES_MS};

/// How long the last records may be on their way.
const FLUSH_LIMIT: Duration = Duration::from_secs(120);
/// Time between two portions of records.
const PORTION: Duration = Duration::from_millis(20);
/// Of a thousand events, how many have no key.
const WITHOUT_KEY: u64 = 10;
/// The longest filling of a value, in bytes.
const FILLING: u64 = 400;

/// A record as it was handed to the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The value.
    pub value: Vec<u8>,
    /// The headers.
    pub headers: Headers,
}

/// All that was written, by the partition and offset that the brokers acknowledged.
pub type Acknowledged = BTreeMap<(i32, i64), Written>;

/// What a round's producer knows of its records.
#[derive(Debug, Default)]
pub struct Told {
    /// Those of which the brokers have said where they lie.
    pub acknowledged: Acknowledged,
    /// Those that its client believes to be written without that: it was told so of a later one of the partition, or
    /// of a repeat. Where a partition had just got another leader, they may be lost all the same.
    pub unsure: Vec<Written>,
}

impl Told {
    /// How many records there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.acknowledged.len() + self.unsure.len()
    }
}

/// A record's number, and its partition and offset.
type Report = (u64, Result<(i32, i64), KafkaError>);

/// Keeps where each record was acknowledged.
#[derive(Clone, Default)]
struct Reports(Arc<Mutex<Vec<Report>>>);

impl ClientContext for Reports {}

impl ProducerContext for Reports {
    type DeliveryOpaque = Box<u64>;

    fn delivery(&self, result: &DeliveryResult<'_>, id: Self::DeliveryOpaque) {
        let told = match result {
            Ok(message) => Ok((message.partition(), message.offset())),
            Err((error, _)) => Err(error.clone()),
        };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((*id, told));
    }
}

/// Writes what the plan says, from the value with this number on, and waits for every acknowledgement.
///
/// # Errors
/// When a record was not acknowledged.
pub fn write(bootstrap: &str, plan: &Plan, first_id: u64) -> Result<Told> {
    let reports = Reports::default();
    let producer: ThreadedProducer<Reports> = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("partitioner", "murmur2_random")
        .set("message.timeout.ms", "300000")
        .set("topic.metadata.refresh.interval.ms", "2000")
        .create_with_context(reports.clone())?;
    let mut drawer = Drawer::new(plan, first_id);
    let mut written = BTreeMap::new();
    let begun = Instant::now();
    let mut elapsed = Duration::ZERO;
    while elapsed < Duration::from_millis(WRITES_MS) {
        let now_ms = u64::try_from(elapsed.as_millis())?;
        while u64::try_from(written.len())? < plan.rate * now_ms / 1000 {
            let (id, record) = drawer.next(plan.troubled(now_ms));
            send(&producer, id, &record)?;
            written.insert(id, record);
        }
        std::thread::sleep(PORTION);
        elapsed = begun.elapsed();
    }
    producer.flush(FLUSH_LIMIT).context("records are still on their way")?;
    told(&reports, written)
}

fn told(reports: &Reports, mut written: BTreeMap<u64, Written>) -> Result<Told> {
    let mut all = Told::default();
    for (id, told) in reports.0.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
        let place = told.with_context(|| format!("the value {id} was not acknowledged"))?;
        let record = written.remove(&id).with_context(|| format!("the value {id} is acknowledged twice"))?;
        if place.1 < 0 {
            all.unsure.push(record);
            continue;
        }
        ensure!(all.acknowledged.insert(place, record).is_none(), "two values at {place:?}");
    }
    ensure!(written.is_empty(), "{} values without an acknowledgement", written.len());
    Ok(all)
}

fn send(producer: &ThreadedProducer<Reports>, id: u64, record: &Written) -> Result<()> {
    let mut headers = OwnedHeaders::new();
    for (key, value) in &record.headers {
        headers = headers.insert(Header { key, value: value.as_ref() });
    }
    let mut message = BaseRecord::<[u8], [u8], Box<u64>>::with_opaque_to(INPUT, Box::new(id))
        .payload(&record.value)
        .headers(headers);
    if let Some(key) = &record.key {
        message = message.key(key);
    }
    loop {
        match producer.send(message) {
            Ok(()) => return Ok(()),
            // The client's queue is full while the brokers are away.
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => message = back,
            Err((error, _)) => return Err(error.into()),
        }
        std::thread::sleep(PORTION);
    }
}

struct Drawer {
    numbers: Numbers,
    keys: Zipf,
    effects: Option<Effects>,
    next_id: u64,
}

impl Drawer {
    fn new(plan: &Plan, first_id: u64) -> Self {
        let (numbers, keys) = (Numbers::new(plan.seed, 2), Zipf::new(plan.keys));
        Self { numbers, keys, effects: plan.effects, next_id: first_id }
    }

    fn next(&mut self, troubled: u64) -> (u64, Written) {
        let (id, numbers) = (self.next_id, &mut self.numbers);
        self.next_id += 1;
        let key = format!("key-{:03}", self.keys.draw(numbers));
        let key = (numbers.below(1000) >= WITHOUT_KEY).then(|| key.into_bytes());
        let mut value = Fate::draw(numbers, troubled, self.effects).line(id).into_bytes();
        let filling = numbers.below(FILLING);
        value.extend((0..filling).map(|_| numbers.any().to_le_bytes()[0]));
        let mut headers = vec![("chaos-id".to_owned(), Some(id.to_string().into_bytes()))];
        // A name twice, a value that is missing, one that is empty, one that is no text.
        for _ in 0..numbers.below(4) {
            let value = [None, Some(Vec::new()), Some(vec![0xff, 0x00]), Some(b"text".to_vec())];
            let at = usize::try_from(numbers.below(4)).unwrap_or(0);
            headers.push(("more".to_owned(), value.into_iter().nth(at).flatten()));
        }
        (id, Written { key, value, headers })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_writes_the_same_values_and_all_differ() {
        let plan = Plan::draw(3, None);
        let draw = || {
            let mut drawer = Drawer::new(&plan, 100);
            (0..500).map(|_| drawer.next(1_000)).collect::<Vec<_>>()
        };
        let (one, two) = (draw(), draw());
        assert_eq!(one, two);
        let values: std::collections::BTreeSet<_> = one.iter().map(|(_, record)| &record.value).collect();
        assert_eq!(values.len(), 500);
        assert_eq!(Fate::of(&one[7].1.value).map(|(id, _)| id), Some(107));
    }
}
