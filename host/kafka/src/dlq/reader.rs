//! Reads parts of topics, without a group: from an offset to an end that was asked for before.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode as Code};
use rdkafka::metadata::MetadataPartition;
use rdkafka::{Offset, TopicPartitionList};

use super::letter::Letter;
use crate::config::KafkaConfig;
use crate::context::Listener;
use crate::error::KafkaError;
use crate::native::{Answer, Inquiries};

/// The longest one question to the brokers may take.
pub(crate) const REQUEST_LIMIT: Duration = Duration::from_secs(10);
/// The longest wait for the next record. It covers a transaction of another redrive of which nothing is
/// heard any more: the broker ends that after a minute.
const SILENCE_LIMIT: Duration = Duration::from_secs(90);
/// The client waits so long at a time.
const POLL_LIMIT: Duration = Duration::from_millis(100);
/// Time between two looks for an answer that comes by itself.
const ANSWER_EVERY: Duration = Duration::from_millis(5);
/// How long a broker may hold back an answer without records. Each end of a partition is such an answer, and
/// the client asks for the next partition only behind it.
const FETCH_WAIT_MS: &str = "10";
/// Records held ahead of the reader, in KiB.
const PREFETCH_KIB: &str = "16384";

/// What a partition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// The oldest record's offset.
    pub(crate) low: i64,
    /// The offset after the newest record's.
    pub(crate) end: i64,
}

/// What the brokers say of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// How many partitions it has.
    pub(crate) partitions: i32,
    /// Those that have no leader now.
    pub(crate) leaderless: Vec<i32>,
}

/// A client that reads and remembers nothing. One partition at a time: its news that a partition's end is
/// reached do not say of which topic.
pub(crate) struct Reader {
    consumer: Arc<BaseConsumer<Listener>>,
    bootstrap: String,
}

impl Reader {
    pub(crate) fn new(kafka: &KafkaConfig) -> Result<Self, KafkaError> {
        kafka.check()?;
        let mut config = kafka.reader();
        // The client does not assign without a name. Nothing is ever committed under it.
        config.set("group.id", "keylane-dlq");
        config.set("fetch.wait.max.ms", FETCH_WAIT_MS);
        config.set("queued.max.messages.kbytes", PREFETCH_KIB);
        let consumer: BaseConsumer<Listener> = config
            .create_with_context(Listener::default())
            .map_err(|error| KafkaError::from_creation(&kafka.bootstrap, error))?;
        Ok(Self { consumer: Arc::new(consumer), bootstrap: kafka.bootstrap.clone() })
    }

    /// Whether a topic exists, and how many partitions it has.
    pub(crate) fn find(&self, topic: &str) -> Result<Option<i32>, KafkaError> {
        Ok(self.look(topic, REQUEST_LIMIT)?.map(|found| found.partitions))
    }

    /// The same, and which of its partitions take nothing now. Brokers may take so long to answer.
    pub(crate) fn look(&self, topic: &str, limit: Duration) -> Result<Option<Found>, KafkaError> {
        let metadata =
            self.consumer.fetch_metadata(Some(topic), limit).map_err(|error| self.unreachable(&error))?;
        let told = metadata.topics().iter().find(|told| told.name() == topic);
        match told.map(|told| (told.error().map(Code::from), told.partitions())) {
            Some((None, all)) if !all.is_empty() => Ok(Some(Found {
                partitions: i32::try_from(all.len()).unwrap_or(i32::MAX),
                leaderless: all.iter().filter(|one| one.leader() < 0).map(MetadataPartition::id).collect(),
            })),
            None | Some((None | Some(Code::UnknownTopicOrPartition | Code::UnknownTopic), _)) => Ok(None),
            Some((Some(code), _)) => {
                let can_retry = matches!(code, Code::LeaderNotAvailable);
                Err(KafkaError::Topic { topic: topic.to_owned(), reason: code.to_string(), can_retry })
            }
        }
    }

    /// The partitions of a topic that must exist.
    pub(crate) fn partitions(&self, topic: &str) -> Result<Range<i32>, KafkaError> {
        match self.find(topic)? {
            Some(partitions) => Ok(0..partitions),
            None => Err(self.missing(topic)),
        }
    }

    /// What names a topic over its lifetime; none where the broker does not tell.
    pub(crate) fn topic_id(&self, topic: &str) -> Result<Option<String>, KafkaError> {
        let silent = || self.unreachable(&ClientError::Global(Code::OperationTimedOut));
        let inquiries = Inquiries::new(self.consumer.clone(), Box::new(|| {})).ok_or_else(silent)?;
        inquiries.ask_topics(0, [topic]);
        let until = Instant::now() + REQUEST_LIMIT;
        while Instant::now() < until {
            let told = match inquiries.answer() {
                Some(Answer::Topics { topics, .. }) => topics.into_iter().find(|(name, _)| name == topic),
                Some(Answer::Failed { code, .. }) => Some((topic.to_owned(), Err(code))),
                Some(Answer::Offsets { .. } | Answer::SessionTimes(_)) | None => {
                    std::thread::sleep(ANSWER_EVERY);
                    continue;
                }
            };
            return match told {
                Some((_, Ok(facts))) => Ok(facts.id.is_known().then(|| facts.id.to_string())),
                // A broker that knows no such question tells no ids.
                Some((_, Err(Code::UnsupportedFeature))) | None => Ok(None),
                Some((_, Err(Code::UnknownTopicOrPartition | Code::UnknownTopic))) => {
                    Err(self.missing(topic))
                }
                Some((_, Err(code))) => Err(self.unreachable(&ClientError::Global(code))),
            };
        }
        Err(silent())
    }

    /// What a partition holds now.
    pub(crate) fn bounds(&self, topic: &str, partition: i32) -> Result<Bounds, KafkaError> {
        let (low, end) = self
            .consumer
            .fetch_watermarks(topic, partition, REQUEST_LIMIT)
            .map_err(|error| self.unreachable(&error))?;
        Ok(Bounds { low, end })
    }

    /// Begins to read these offsets of a partition. Ends earlier where the partition does.
    pub(crate) fn open(
        &self,
        topic: &str,
        partition: i32,
        offsets: Range<i64>,
    ) -> Result<Reading<'_>, KafkaError> {
        let reading = Reading {
            reader: self,
            topic: topic.to_owned(),
            partition,
            offsets,
            ends_early: true,
            is_over: false,
        };
        reading.seek()?;
        Ok(reading)
    }

    fn missing(&self, topic: &str) -> KafkaError {
        KafkaError::MissingTopics { bootstrap: self.bootstrap.clone(), topics: vec![topic.to_owned()] }
    }

    fn unreachable(&self, error: &ClientError) -> KafkaError {
        let reason = self.consumer.context().last_error().unwrap_or_else(|| error.to_string());
        KafkaError::Unreachable { bootstrap: self.bootstrap.clone(), reason }
    }
}

/// A part of a partition being read.
pub(crate) struct Reading<'a> {
    reader: &'a Reader,
    topic: String,
    partition: i32,
    /// What is still to come.
    offsets: Range<i64>,
    ends_early: bool,
    is_over: bool,
}

impl Reading<'_> {
    /// Waits for the last offset even where the partition seems to end before it: what lies behind another
    /// client's open transaction becomes visible when that ends.
    pub(crate) fn awaiting_the_last(mut self) -> Self {
        self.ends_early = false;
        self
    }

    /// The next record; none when all has been read.
    pub(crate) fn next(&mut self) -> Result<Option<Letter>, KafkaError> {
        let until = Instant::now() + SILENCE_LIMIT;
        while !self.is_over && !self.offsets.is_empty() {
            match self.reader.consumer.poll(POLL_LIMIT) {
                Some(Ok(message)) => {
                    let letter = Letter::of(&message);
                    if letter.topic != self.topic || letter.partition != self.partition {
                        continue;
                    }
                    self.offsets.start = letter.offset.saturating_add(1);
                    if letter.offset < self.offsets.end {
                        return Ok(Some(letter));
                    }
                }
                Some(Err(ClientError::PartitionEOF(partition))) if partition == self.partition => {
                    self.is_over = self.ends_early;
                }
                Some(Err(ClientError::MessageConsumption(
                    Code::AutoOffsetReset | Code::OffsetOutOfRange,
                ))) => self.pass_over_what_is_gone()?,
                Some(Err(ClientError::MessageConsumptionFatal(code))) => return Err(self.failed(code)),
                Some(Err(ClientError::MessageConsumption(
                    code @ (Code::TopicAuthorizationFailed
                    | Code::UnknownTopicOrPartition
                    | Code::UnknownTopic
                    // The client would pass over a batch that it cannot read, and its letters with it.
                    | Code::BadMessage
                    | Code::BadCompression
                    | Code::NotImplemented),
                ))) => return Err(self.failed(code)),
                // Broken connections mend themselves, or nothing comes until the limit.
                Some(Err(_)) | None => {}
            }
            if Instant::now() >= until {
                let silent = ClientError::Global(Code::OperationTimedOut);
                return Err(self.reader.unreachable(&silent));
            }
        }
        Ok(None)
    }

    /// What was to be read next has been removed meanwhile.
    fn pass_over_what_is_gone(&mut self) -> Result<(), KafkaError> {
        let Bounds { low, end } = self.reader.bounds(&self.topic, self.partition)?;
        let (topic, next) = (self.topic.clone(), self.offsets.start);
        if end < next {
            let reason = format!(
                "partition {} ends at offset {end}, before {next}, up to which it has been read: it was cut, or \
                 deleted and made again; try again",
                self.partition
            );
            return Err(KafkaError::Topic { topic, reason, can_retry: true });
        }
        self.offsets.start = next.max(low);
        self.seek()
    }

    fn seek(&self) -> Result<(), KafkaError> {
        let failed = |error: ClientError| self.reader.unreachable(&error);
        let mut list = TopicPartitionList::with_capacity(1);
        if !self.offsets.is_empty() {
            list.add_partition_offset(&self.topic, self.partition, Offset::Offset(self.offsets.start))
                .map_err(failed)?;
        }
        self.reader.consumer.assign(&list).map_err(failed)
    }

    fn failed(&self, code: Code) -> KafkaError {
        KafkaError::Topic { topic: self.topic.clone(), reason: code.to_string(), can_retry: false }
    }
}

impl Drop for Reading<'_> {
    /// The client would go on to fetch, as often as [`FETCH_WAIT_MS`] allows, for as long as the reader lives.
    fn drop(&mut self) {
        // One that is not let go of is fetched in vain, no more.
        let _ = self.reader.consumer.assign(&TopicPartitionList::new());
    }
}

/// The latest record of each key that counts in the only partition of a compacted topic, up to and with an
/// offset, or as far as can be read now. What has been removed by a tombstone is left out.
pub(crate) fn latest(
    reader: &Reader,
    topic: &str,
    last: Option<i64>,
    counts: impl Fn(&[u8]) -> bool,
) -> Result<BTreeMap<Vec<u8>, Letter>, KafkaError> {
    let mut latest = BTreeMap::new();
    let Bounds { low, end } = reader.bounds(topic, 0)?;
    let mut reading = match last {
        Some(last) => reader.open(topic, 0, low..last.saturating_add(1))?.awaiting_the_last(),
        None => reader.open(topic, 0, low..end)?,
    };
    while let Some(record) = reading.next()? {
        let Some(key) = record.key.as_deref().filter(|key| counts(key)).map(<[u8]>::to_vec) else { continue };
        match record.value {
            Some(_) => drop(latest.insert(key, record)),
            None => drop(latest.remove(&key)),
        }
    }
    Ok(latest)
}

#[cfg(test)]
mod tests {
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

    use super::*;

    /// A reader lives as long as its relay does. What it does not read must not be fetched a hundred times a second.
    #[test]
    fn what_has_been_read_is_not_fetched_any_more() {
        let mock = MockCluster::new(1).unwrap();
        mock.create_topic("positions", 1, 1).unwrap();
        let mut config = rdkafka::ClientConfig::new();
        let producer: BaseProducer =
            config.set("bootstrap.servers", mock.bootstrap_servers()).create().unwrap();
        for value in ["a", "b", "c"] {
            producer.send(BaseRecord::<(), _>::to("positions").partition(0).payload(value)).unwrap();
        }
        producer.flush(REQUEST_LIMIT).unwrap();
        let reader = Reader::new(&KafkaConfig::new(mock.bootstrap_servers())).unwrap();
        let mut reading = reader.open("positions", 0, 0..2).unwrap();
        assert_eq!(reading.next().unwrap().map(|letter| letter.offset), Some(0));
        assert_eq!(reader.consumer.assignment().unwrap().count(), 1);
        drop(reading);
        assert_eq!(reader.consumer.assignment().unwrap().count(), 0);
        let again = latest(&reader, "positions", None, |_| true).unwrap();
        assert!(again.is_empty(), "records without a key");
        assert_eq!(reader.consumer.assignment().unwrap().count(), 0);
    }
}
