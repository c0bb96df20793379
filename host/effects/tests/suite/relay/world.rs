//! What lies outside: a log with transactions and fencing, as Kafka has them, and a server that takes mails.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use keylane_effects::{
    Handed, Letter, MailError, MailSender, Position, RelaySender, RelaySenders, SendError,
};
use keylane_engine::{Boxed, OutgoingRecord};
use tokio::sync::watch;

use super::fragile::Life;
use crate::suite::LONG;

/// The log and the mails of a test.
#[derive(Clone, Default)]
pub struct World {
    inner: Arc<Mutex<Inner>>,
    /// Message-IDs of mails that are taken, but not answered yet.
    slow: Arc<watch::Sender<BTreeSet<String>>>,
}

#[derive(Default)]
struct Inner {
    /// What a read-committed reader sees, in order.
    seen: Vec<OutgoingRecord>,
    position: Option<Position>,
    /// Who may send, by the number of openings.
    epoch: u64,
    /// Sent, and not committed yet.
    open: Vec<OutgoingRecord>,
    /// Topics that are not there.
    missing: BTreeSet<String>,
    /// Values of records that are refused.
    refused: BTreeSet<Vec<u8>>,
    /// Mails taken, by Message-ID.
    mails: BTreeMap<String, u32>,
    /// Message-IDs that are refused.
    full: BTreeSet<String>,
    bounced: BTreeSet<String>,
}

impl World {
    fn with<T>(&self, look: impl FnOnce(&mut Inner) -> T) -> T {
        look(&mut self.inner.lock().unwrap())
    }

    /// What was sent for good: topic, key and value.
    pub fn seen(&self) -> Vec<(String, String, String)> {
        let text = |bytes: &Option<bytes::Bytes>| {
            bytes.as_ref().map_or_else(String::new, |bytes| String::from_utf8(bytes.to_vec()).unwrap())
        };
        self.with(|inner| {
            let one =
                |record: &OutgoingRecord| (record.topic.clone(), text(&record.key), text(&record.value));
            inner.seen.iter().map(one).collect()
        })
    }

    /// Mails taken, by Message-ID.
    pub fn mails(&self) -> BTreeMap<String, u32> {
        self.with(|inner| inner.mails.clone())
    }

    pub fn set_missing(&self, topic: &str, missing: bool) {
        self.with(|inner| match missing {
            true => drop(inner.missing.insert(topic.to_owned())),
            false => drop(inner.missing.remove(topic)),
        });
    }

    pub fn set_refused(&self, value: &str, refused: bool) {
        self.with(|inner| match refused {
            true => drop(inner.refused.insert(value.as_bytes().to_vec())),
            false => drop(inner.refused.remove(value.as_bytes())),
        });
    }

    pub fn set_bounced(&self, message_id: &str, bounced: bool) {
        self.with(|inner| match bounced {
            true => drop(inner.bounced.insert(message_id.to_owned())),
            false => drop(inner.bounced.remove(message_id)),
        });
    }

    pub fn set_full(&self, message_id: &str) {
        self.with(|inner| inner.full.insert(message_id.to_owned()));
    }

    pub fn set_slow(&self, message_id: &str, slow: bool) {
        self.slow.send_modify(|all| match slow {
            true => drop(all.insert(message_id.to_owned())),
            false => drop(all.remove(message_id)),
        });
    }

    pub fn position(&self) -> Option<Position> {
        self.with(|inner| inner.position)
    }

    pub fn set_position(&self, position: Option<Position>) {
        self.with(|inner| inner.position = position);
    }

    /// The ways out of one relay, which may die.
    pub fn ways(&self, life: &Arc<Life>) -> Arc<Ways> {
        Arc::new(Ways { world: self.clone(), life: life.clone() })
    }
}

/// The ways out of one relay.
pub struct Ways {
    world: World,
    life: Arc<Life>,
}

impl RelaySenders for Ways {
    fn open(&self, _: &str) -> Boxed<'_, Result<(Box<dyn RelaySender>, Option<Position>), SendError>> {
        Box::pin(async {
            self.life.point("before the way is opened").await;
            let (epoch, position) = self.world.with(|inner| {
                inner.epoch += 1;
                inner.open.clear();
                (inner.epoch, inner.position)
            });
            self.life.point("after the way was opened").await;
            let way = Way { world: self.world.clone(), life: self.life.clone(), epoch };
            Ok((Box::new(way) as Box<dyn RelaySender>, position))
        })
    }
}

struct Way {
    world: World,
    life: Arc<Life>,
    epoch: u64,
}

impl Way {
    /// Does something as long as nobody else has opened the way.
    fn fenced<T>(&self, act: impl FnOnce(&mut Inner) -> T) -> Result<T, SendError> {
        self.world
            .with(|inner| if inner.epoch == self.epoch { Ok(act(inner)) } else { Err(SendError::Superseded) })
    }
}

impl RelaySender for Way {
    fn send(&mut self, records: Vec<OutgoingRecord>, position: Position) -> Boxed<'_, Result<(), SendError>> {
        Box::pin(async move {
            self.life.point("before the transaction").await;
            let refused = self.fenced(|inner| inner.refuse(&records))?;
            if let Some(refused) = refused {
                return Err(refused);
            }
            self.fenced(|inner| inner.open = records)?;
            self.life.point("before the transaction is committed").await;
            self.fenced(|inner| {
                let open = std::mem::take(&mut inner.open);
                inner.seen.extend(open);
                inner.position = Some(position);
            })?;
            self.life.point("after the transaction was committed").await;
            Ok(())
        })
    }
}

impl Inner {
    /// A missing topic is named; of refused records the whole batch is suspected, as brokers do.
    fn refuse(&self, records: &[OutgoingRecord]) -> Option<SendError> {
        let topics: BTreeSet<String> = records
            .iter()
            .map(|record| record.topic.clone())
            .filter(|topic| self.missing.contains(topic))
            .collect();
        let bad = |record: &OutgoingRecord| {
            record.value.as_ref().is_some_and(|value| self.refused.contains(value.as_ref()))
        };
        let suspects = if records.iter().any(bad) { (0..records.len()).collect() } else { Vec::new() };
        if topics.is_empty() && suspects.is_empty() {
            return None;
        }
        let reason = "refused by the test".to_owned();
        Some(SendError::Refused { topics: topics.into_iter().collect(), records: suspects, reason })
    }
}

impl MailSender for Ways {
    fn limit(&self) -> Duration {
        LONG
    }

    fn send<'a>(
        &'a self,
        letter: Letter,
        may_begin: &'a (dyn Fn() -> bool + Send + Sync),
    ) -> Boxed<'a, Result<Handed, MailError>> {
        Box::pin(async move {
            self.life.point("before the mail").await;
            if !may_begin() {
                return Ok(Handed::NotBegun);
            }
            let taken = self.world.with(|inner| {
                if inner.bounced.contains(&letter.message_id) {
                    let reason = "no such mailbox".to_owned();
                    return Err(MailError { reason, is_final: true, is_its_own: true });
                }
                if inner.full.contains(&letter.message_id) {
                    let reason = "the mailbox is full".to_owned();
                    return Err(MailError { reason, is_final: false, is_its_own: true });
                }
                *inner.mails.entry(letter.message_id.clone()).or_default() += 1;
                Ok(Handed::Taken)
            });
            let mut slow = self.world.slow.subscribe();
            slow.wait_for(|slow| !slow.contains(&letter.message_id)).await.unwrap();
            self.life.point("after the mail").await;
            taken
        })
    }
}
