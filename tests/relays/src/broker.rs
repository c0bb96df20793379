//! The model of Kafka: one log that readers of committed records see, the relay's position, and transactions of
//! one transactional id, where whoever opens the way ends what was open before.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use keylane_effects::{OpenedSender, Position, RelaySender, RelaySenders, SendError};
use keylane_engine::{Boxed, OutgoingRecord};

use crate::mistake::Mistake;
use crate::shared::{Link, Shared};

/// Begins the value of a record that Kafka refuses.
pub const POISON: &[u8] = b"!";

/// The longest that a transaction is open.
const TRANSACTION_MS: u64 = 10_000;

/// A record that readers of committed records see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub topic: String,
    pub key: Option<Bytes>,
    pub value: Bytes,
}

/// The state of all brokers.
#[derive(Debug, Default)]
pub struct Broker {
    epoch: u64,
    /// Records of the transaction that is open.
    open: Vec<OutgoingRecord>,
    open_since_ms: u64,
    pub position: Option<Position>,
    /// What was committed, in order.
    pub seen: Vec<Seen>,
    /// What was refused is taken now: its topic was changed.
    pub takes_all: bool,
    /// Topics that are not there.
    pub missing: BTreeSet<String>,
}

impl Broker {
    fn refuse(&self, records: &[OutgoingRecord]) -> Option<SendError> {
        let topics: BTreeSet<String> = records
            .iter()
            .map(|record| record.topic.clone())
            .filter(|topic| self.missing.contains(topic))
            .collect();
        let is_bad = |record: &OutgoingRecord| {
            !self.takes_all && record.value.as_ref().is_some_and(|value| value.starts_with(POISON))
        };
        // Brokers refuse many records together, so innocent ones are suspected with the one at fault.
        let suspects = if records.iter().any(is_bad) { (0..records.len()).collect() } else { Vec::new() };
        if topics.is_empty() && suspects.is_empty() {
            return None;
        }
        let reason = "refused by the model".to_owned();
        Some(SendError::Refused { topics: topics.into_iter().collect(), records: suspects, reason })
    }

    /// Ends a transaction that is open for too long, and whoever has it.
    fn end_by_time(&mut self, now_ms: u64) {
        if !self.open.is_empty() && self.open_since_ms + TRANSACTION_MS < now_ms {
            self.open.clear();
            self.epoch += 1;
        }
    }

    fn commit(&mut self, position: Option<Position>) {
        let seen = std::mem::take(&mut self.open).into_iter().map(|record| Seen {
            topic: record.topic,
            key: record.key,
            value: record.value.unwrap_or_default(),
        });
        self.seen.extend(seen);
        self.position = position.or(self.position);
    }
}

/// Opens the way for one process.
pub struct Ways {
    pub link: Link,
}

impl RelaySenders for Ways {
    fn open(&self, _database: &str) -> Boxed<'_, Result<OpenedSender, SendError>> {
        Box::pin(async move {
            let epoch = self.link.ask_kafka(|shared, _| {
                if !shared.broker.open.is_empty() {
                    shared.saw("transaction ended by the next relay");
                }
                if !shared.has(Mistake::NoFence) {
                    shared.broker.epoch += 1;
                    shared.broker.open.clear();
                }
                shared.broker.epoch
            });
            let epoch = epoch.await.ok_or_else(unanswered)?;
            let position = self.link.ask_kafka(|shared, _| shared.broker.position).await;
            let position = position.ok_or_else(unanswered)?;
            let way: Box<dyn RelaySender> = Box::new(Way { epoch, link: self.link.clone() });
            Ok((way, position))
        })
    }
}

/// The way, for as long as no other is opened.
struct Way {
    epoch: u64,
    link: Link,
}

fn unanswered() -> SendError {
    SendError::Failed("Kafka does not answer".to_owned())
}

impl Way {
    async fn fenced<T>(
        &self,
        act: impl FnOnce(&mut Shared, u64) -> Result<T, SendError>,
    ) -> Result<T, SendError> {
        let epoch = self.epoch;
        let asked = self.link.ask_kafka(move |shared, now_ms| {
            shared.broker.end_by_time(now_ms);
            if shared.broker.epoch != epoch {
                shared.saw("sender fenced");
                return Err(SendError::Superseded);
            }
            act(shared, now_ms)
        });
        asked.await.ok_or_else(unanswered)?
    }
}

impl RelaySender for Way {
    fn send(&mut self, records: Vec<OutgoingRecord>, position: Position) -> Boxed<'_, Result<(), SendError>> {
        Box::pin(async move {
            let host = self.link.host;
            self.fenced(move |shared, now_ms| match shared.broker.refuse(&records) {
                Some(refused) => {
                    shared.saw("records refused");
                    Err(refused)
                }
                None => {
                    shared.broker.open.extend(records);
                    shared.broker.open_since_ms = now_ms;
                    Ok(())
                }
            })
            .await?;
            let afterwards = self.link.shared().has(Mistake::PositionAfterwards);
            self.fenced(move |shared, now_ms| {
                shared.note(now_ms, format!("host {host} commits batch {} in Kafka", position.batch));
                shared.broker.commit((!afterwards).then_some(position));
                Ok(())
            })
            .await?;
            if afterwards {
                self.fenced(move |shared, _| {
                    shared.broker.position = Some(position);
                    Ok(())
                })
                .await?;
            }
            Ok(())
        })
    }
}

/// The way for one process.
pub fn ways(link: &Link) -> Arc<Ways> {
    Arc::new(Ways { link: link.clone() })
}
