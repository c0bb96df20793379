//! All that a round left behind, as it lies in Kafka: the only thing that the checker looks at.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::faults::FaultLog;
use crate::given_up::Figures;
use crate::ledger::{LedgerRow, Sums};
use crate::losses::Loss;
use crate::onlooker::end_of;
use crate::samples::Sample;
use crate::traffic::{Acknowledged, Written};
use anyhow::{Context, Result, ensure};
use keylane_test_support::{TakenMail, waiting};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers as _, Message};
use rdkafka::{Offset, TopicPartitionList};

/// How long a topic may take to be read.
const READ_LIMIT: Duration = Duration::from_secs(120);
/// How long one poll waits.
const POLL: Duration = Duration::from_millis(100);

/// Headers in their order; a value may be missing.
pub type Headers = Vec<(String, Option<Vec<u8>>)>;

/// A record as it lies in a topic.
#[derive(Clone, PartialEq, Eq)]
pub struct Stored {
    /// The partition.
    pub partition: i32,
    /// The offset in it.
    pub offset: i64,
    /// The record's time, in milliseconds since the epoch: the broker's where the topic says so.
    pub at_ms: u64,
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The value.
    pub value: Option<Vec<u8>>,
    /// The headers.
    pub headers: Headers,
}

/// For a finding that somebody reads: bytes as text, and of a long value its beginning.
impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 60;
        let text = |bytes: &Option<Vec<u8>>| {
            bytes.as_ref().map(|bytes| {
                bytes
                    .iter()
                    .copied()
                    .take(SHOWN)
                    .flat_map(std::ascii::escape_default)
                    .map(char::from)
                    .collect::<String>()
            })
        };
        let headers: Vec<_> = self.headers.iter().map(|(name, value)| (name, text(value))).collect();
        let Self { partition, offset, at_ms, key, value, .. } = self;
        write!(f, "({partition}, {offset}) at {at_ms}: {:?} = {:?}, {headers:?}", text(key), text(value))
    }
}

impl Stored {
    /// The value of the last header of this name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().rev().find(|(header, _)| header == name)?.1.as_deref()
    }
}

/// What a round left behind.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// Where each partition of the input ended before the round.
    pub began_at: BTreeMap<i32, i64>,
    /// What the producer wrote, by its acknowledgements.
    pub written: Acknowledged,
    /// What the producer cannot tell of.
    pub unsure: Vec<Written>,
    /// The input of this round.
    pub input: Vec<Stored>,
    /// What the handlers told, in the order of each partition.
    pub seen: Vec<Stored>,
    /// The dead letters, in the order of each partition.
    pub letters: Vec<Stored>,
    /// Which host each dead letter's revision names.
    pub revisions: BTreeMap<Vec<u8>, u32>,
    /// Where each partition of the input ended after the round.
    pub ends: BTreeMap<i32, i64>,
    /// What was committed after the round.
    pub committed: BTreeMap<i32, i64>,
    /// What was committed meanwhile.
    pub samples: Vec<Sample>,
    /// What hosts say they lost, in this round and before.
    pub losses: Vec<Loss>,
    /// What was done to hosts and brokers, in this round and before.
    pub faults: FaultLog,
    /// What lies outside of Kafka, where the handlers' effects must happen once.
    pub once: Option<Once>,
    /// Whether the handlers' records are committed with their progress by Kafka alone, once.
    pub in_cuts: bool,
}

/// What the handlers left in their database and with the mail server.
#[derive(Debug, Clone, Default)]
pub struct Once {
    /// The rows of this round, in the order of their ids.
    pub rows: Vec<LedgerRow>,
    /// The sums before the round.
    pub before: Sums,
    /// The sums after it.
    pub after: Sums,
    /// The mails that the server took in this round.
    pub mails: Vec<TakenMail>,
    /// Records and mails that had not left at the end.
    pub unsent: i64,
    /// What the faults met in the database.
    pub figures: Figures,
}

impl Evidence {
    /// Whether all that the handlers do must happen once.
    #[must_use]
    pub fn is_once(&self) -> bool {
        self.once.is_some() || self.in_cuts
    }

    /// Writes it down for people.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn save(&self, folder: &Path) -> Result<()> {
        for (name, records) in [("input", &self.input), ("seen", &self.seen), ("letters", &self.letters)] {
            let mut file = BufWriter::new(File::create(folder.join(format!("{name}.txt")))?);
            for record in records {
                writeln!(file, "{}", line(record))?;
            }
            file.flush()?;
        }
        std::fs::write(folder.join("samples.json"), serde_json::to_string_pretty(&self.samples)?)?;
        std::fs::write(folder.join("faults.json"), serde_json::to_string_pretty(&self.faults)?)?;
        std::fs::write(folder.join("losses.json"), serde_json::to_string_pretty(&self.losses)?)?;
        if let Some(once) = &self.once {
            let mut file = BufWriter::new(File::create(folder.join("once.txt"))?);
            once.rows.iter().try_for_each(|row| writeln!(file, "{row:?}"))?;
            once.mails.iter().try_for_each(|mail| writeln!(file, "{mail:?}"))?;
            writeln!(file, "before {:?}\nafter {:?}\nunsent {}", once.before, once.after, once.unsent)?;
            file.flush()?;
        }
        let offsets = format!(
            "began at {:?}\nends {:?}\ncommitted {:?}\nrevisions {:?}\n",
            self.began_at, self.ends, self.committed, self.revisions
        );
        Ok(std::fs::write(folder.join("offsets.txt"), offsets)?)
    }
}

/// A record in one line: its place, time, key, the first line of its value, and its headers.
fn line(record: &Stored) -> String {
    let text = |bytes: &Option<Vec<u8>>| match bytes {
        Some(bytes) => bytes.escape_ascii().to_string(),
        None => "(none)".to_owned(),
    };
    let value = record.value.as_ref().and_then(|value| value.split(|byte| *byte == b'\n').next());
    let headers: Vec<_> =
        record.headers.iter().map(|(name, value)| format!("{name}={}", text(value))).collect();
    let Stored { partition, offset, at_ms, key, .. } = record;
    let value = text(&value.map(<[u8]>::to_vec));
    format!("{partition}/{offset} {at_ms} {} {value:?} {}", text(key), headers.join(" "))
}

/// Reads a topic from the first to the second of these offsets.
///
/// # Errors
/// When it cannot be read, or there is a hole in a partition.
pub fn read(
    bootstrap: &str,
    topic: &str,
    from: &BTreeMap<i32, i64>,
    to: &BTreeMap<i32, i64>,
) -> Result<Vec<Stored>> {
    let mut wanted = TopicPartitionList::new();
    let mut missing = 0;
    let mut next = BTreeMap::new();
    for (partition, end) in to {
        let begin = from.get(partition).copied().unwrap_or(0);
        next.insert(*partition, begin);
        missing += end - begin;
        if begin < *end {
            wanted.add_partition_offset(topic, *partition, Offset::Offset(begin))?;
        }
    }
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "chaos-reader")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "error")
        .create()?;
    consumer.assign(&wanted)?;
    let mut records = Vec::new();
    let limit = Instant::now() + READ_LIMIT;
    while missing > 0 {
        ensure!(Instant::now() < limit, "{topic}: {missing} records did not come");
        // A poll may end without a record when the client has something else to do.
        let Some(polled) = consumer.poll(POLL) else { continue };
        let record = stored(&polled.with_context(|| format!("reading {topic}"))?)?;
        let expected = next.get_mut(&record.partition).context("a partition that was not asked for")?;
        ensure!(record.offset == *expected, "{topic}/{}: no offset {expected}", record.partition);
        *expected += 1;
        // Records behind the end that was asked for belong to nobody's evidence.
        if to.get(&record.partition).is_some_and(|end| record.offset < *end) {
            missing -= 1;
            records.push(record);
        }
    }
    records.sort_by_key(|record| (record.partition, record.offset));
    Ok(records)
}

/// Reads what is committed of a topic, from these offsets to where it ends now. Offsets are missing where a
/// transaction's marks lie, or what one wrote that was given up.
///
/// # Errors
/// When it cannot be read.
pub fn read_committed(bootstrap: &str, topic: &str, from: &BTreeMap<i32, i64>) -> Result<Vec<Stored>> {
    let reader = |isolation: &str| -> Result<BaseConsumer> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", bootstrap).set("group.id", "chaos-reader");
        config.set("enable.auto.commit", "false").set("auto.offset.reset", "error");
        config.set("isolation.level", isolation).set("enable.partition.eof", "true");
        Ok(config.create()?)
    };
    let (consumer, all) = (reader("read_committed")?, reader("read_uncommitted")?);
    // Brokers acknowledge the end of a transaction before each partition has its mark.
    for partition in from.keys() {
        let end = |of: &BaseConsumer| end_of(of, topic, *partition);
        waiting::until(&format!("{topic}/{partition} has no open transaction"), READ_LIMIT, || {
            let written = end(&all)?;
            Ok((written.is_some() && written == end(&consumer)?).then_some(()))
        })?;
    }
    let mut wanted = TopicPartitionList::new();
    for (partition, begin) in from {
        wanted.add_partition_offset(topic, *partition, Offset::Offset(*begin))?;
    }
    consumer.assign(&wanted)?;
    let (mut records, mut at_end) = (Vec::new(), BTreeSet::new());
    let limit = Instant::now() + READ_LIMIT;
    while at_end.len() < from.len() {
        ensure!(Instant::now() < limit, "{topic}: its end did not come");
        match consumer.poll(POLL) {
            None => {}
            Some(Ok(message)) => records.push(stored(&message)?),
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                at_end.insert(partition);
            }
            Some(Err(error)) => return Err(error).with_context(|| format!("reading {topic}")),
        }
    }
    records.sort_by_key(|record| (record.partition, record.offset));
    Ok(records)
}

fn stored(message: &BorrowedMessage<'_>) -> Result<Stored> {
    let headers = message.headers().map(|headers| {
        let header = |header: rdkafka::message::Header<'_, &[u8]>| {
            (header.key.to_owned(), header.value.map(<[u8]>::to_vec))
        };
        headers.iter().map(header).collect()
    });
    Ok(Stored {
        partition: message.partition(),
        offset: message.offset(),
        at_ms: u64::try_from(message.timestamp().to_millis().unwrap_or(0))?,
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: headers.unwrap_or_default(),
    })
}
