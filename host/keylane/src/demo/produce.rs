//! Produces the stream, as any other program would: with a Kafka producer, through the broker.

use std::collections::VecDeque;

use keylane_engine::{Acknowledgement, OutgoingRecord, Publisher as _};
use keylane_kafka::{KafkaConfig, KafkaPublisher};

/// Records that may be on their way and not acknowledged yet.
const UNACKNOWLEDGED_MAX: usize = 5_000;

/// A producer that sends much at once and waits for every acknowledgement.
pub(super) struct Producer {
    publisher: KafkaPublisher,
    /// In the order in which they were sent.
    unacknowledged: VecDeque<Acknowledgement>,
}

impl Producer {
    /// A producer for the broker at this address.
    ///
    /// # Errors
    /// When the Kafka client cannot be made.
    pub(super) fn new(bootstrap: &str) -> anyhow::Result<Self> {
        let publisher = KafkaPublisher::new(&KafkaConfig::new(bootstrap))?;
        Ok(Self { publisher, unacknowledged: VecDeque::new() })
    }

    /// Sends a record. Waits when too many are on their way.
    ///
    /// # Errors
    /// When this record or an earlier one was not taken.
    pub(super) async fn send(&mut self, record: OutgoingRecord) -> anyhow::Result<()> {
        if self.unacknowledged.len() >= UNACKNOWLEDGED_MAX
            && let Some(oldest) = self.unacknowledged.pop_front()
        {
            oldest.await?;
        }
        self.unacknowledged.push_back(self.publisher.publish(record).await?);
        Ok(())
    }

    /// Waits until everything that was sent is acknowledged.
    ///
    /// # Errors
    /// When a record was not taken.
    pub(super) async fn settle(&mut self) -> anyhow::Result<()> {
        while let Some(oldest) = self.unacknowledged.pop_front() {
            oldest.await?;
        }
        Ok(())
    }
}
