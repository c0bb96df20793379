//! Reads what engines produced, as a reader who sees committed transactions only.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{Message as _, Offset, TopicPartitionList};
use serde::de::DeserializeOwned;

/// How long the next record may take.
const RECORD_LIMIT: Duration = Duration::from_secs(60);
/// How long is waited for a record that must not come.
const SURPLUS: Duration = Duration::from_millis(500);
/// How long one poll waits.
const POLL: Duration = Duration::from_millis(100);

/// Reads on from where the topic ended once.
pub(super) struct Produced {
    consumer: BaseConsumer,
}

impl Produced {
    /// Behind these ends of a topic.
    ///
    /// # Errors
    /// When the client cannot be made.
    pub(super) fn behind(broker: &str, topic: &str, ends: &BTreeMap<i32, i64>) -> Result<Self> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", broker)
            .set("group.id", "bench-reader")
            .set("enable.auto.commit", "false")
            .set("isolation.level", "read_committed")
            .set("fetch.queue.backoff.ms", "1")
            .create()?;
        let mut wanted = TopicPartitionList::new();
        for (partition, end) in ends {
            wanted.add_partition_offset(topic, *partition, Offset::Offset(*end))?;
        }
        consumer.assign(&wanted)?;
        Ok(Self { consumer })
    }

    /// The next one, if it comes in time.
    ///
    /// # Errors
    /// When the broker does not answer, or the record is none of ours.
    pub(super) fn next<T: DeserializeOwned>(&self, wait: Duration) -> Result<Option<T>> {
        let Some(message) = self.consumer.poll(wait) else { return Ok(None) };
        Ok(Some(serde_json::from_slice(message?.payload().unwrap_or_default())?))
    }

    /// Reads one record for each event and nothing else. What is looked at in each answers its event's number.
    ///
    /// # Errors
    /// When one is missing or there twice, or what is looked at is not right.
    pub(super) fn must_be_once<T: DeserializeOwned + Debug>(
        &self,
        events: u32,
        mut look: impl FnMut(&T) -> Result<u64>,
    ) -> Result<()> {
        let mut seen = vec![false; events as usize];
        let (mut read, mut last) = (0, Instant::now());
        while read < events {
            let Some(told) = self.next(POLL)? else {
                ensure!(last.elapsed() < RECORD_LIMIT, "only {read} of {events} records came");
                continue;
            };
            (read, last) = (read + 1, Instant::now());
            let number = look(&told)?;
            let place = usize::try_from(number).ok().and_then(|number| seen.get_mut(number));
            let twice = place.is_none_or(|seen| std::mem::replace(seen, true));
            ensure!(!twice, "the record of event {number} came twice: {told:?}");
        }
        let surplus: Option<T> = self.next(SURPLUS)?;
        ensure!(surplus.is_none(), "one too many: {surplus:?}");
        Ok(())
    }
}
