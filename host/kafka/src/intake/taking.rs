//! What the polling thread does for a handler with a write database: it has waiting partitions taken there,
//! and lets go those that were overtaken.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use keylane_engine::{Ownership, TopicPartition};

use super::assignment::{SETTLE_EVERY, names};
use super::poller::{Failure, Poller};
use super::start::Starter;

impl Poller {
    /// Goes on with partitions that wait to be taken in the handler's database.
    pub(super) fn take_waiting(&mut self) -> Result<(), Failure> {
        let now = Instant::now();
        let Self { takes: Some(takes), parts, .. } = self else { return Ok(()) };
        let lease = parts.commits.lease().clone();
        let heard = takes.hear(&mut parts.topics, &lease, now);
        for token in heard.over {
            parts.commits.forget(token);
        }
        if heard.is_due {
            self.next_settle = now;
        }
        if !heard.ready.is_empty() {
            self.admit(heard.ready)?;
        }
        if self.changes.is_empty() && now >= self.next_settle {
            self.ask_for_what_is_due(now);
        }
        Ok(())
    }

    /// Proves the membership for what is due, and has the database asked. A failure is tried again later.
    fn ask_for_what_is_due(&mut self, now: Instant) {
        let Self { takes: Some(takes), parts, .. } = self else { return };
        let due = takes.due(&self.waiting, &parts.topics, now);
        if due.is_empty() {
            self.waiting_for = parts.topics.trouble().map(str::to_owned);
            return;
        }
        let database = takes.database().to_owned();
        let starter = Starter {
            consumer: &parts.consumer,
            config: &parts.config,
            topics: &parts.topics,
            owned: &self.waiting,
            database: Some(&database),
        };
        let prepared = starter.prepare(&due, &mut parts.commits);
        self.next_settle = Instant::now() + SETTLE_EVERY;
        let lease = parts.commits.lease().clone();
        let waiting_for = match prepared {
            Ok(prepared) => {
                for take in prepared.takes {
                    takes.take(take, &lease);
                }
                for (offer, partitions) in prepared.offers {
                    takes.settle(offer, &partitions, &lease);
                }
                for (partition, reason) in prepared.refused {
                    takes.refuse(&partition, reason, now);
                }
                prepared.waiting_for
            }
            Err(reason) => Some(reason),
        };
        self.wait_for(waiting_for);
    }

    /// Partitions that the database gives to another host, or of which it does not say how they stand: they
    /// are dropped, nothing is committed, and they are taken anew after a pause, once the membership is
    /// proven. Whoever was replaced in the group learns of that by the proof.
    pub(super) fn drop_what_was_overtaken(&mut self) -> Result<(), Failure> {
        let mut reasons: BTreeMap<TopicPartition, Arc<str>> = BTreeMap::new();
        for feed in &self.feeds {
            if let Ownership::Overtaken { reason } = feed.inbox.ownership() {
                reasons.insert(feed.partition.clone(), reason);
            }
        }
        let Some(reason) = reasons.values().next() else { return Ok(()) };
        let group = self.parts.config.group.as_str();
        tracing::warn!(
            group,
            reason = &**reason,
            partitions = names(reasons.keys()),
            "the partitions are dropped, and taken anew in the handler's database"
        );
        self.drop_and_wait(&reasons.keys().cloned().collect())?;
        let now = Instant::now();
        for (partition, reason) in &reasons {
            // What the group has revoked meanwhile does not wait.
            if let Some(takes) = self.takes.as_mut().filter(|_| self.waiting.contains(partition)) {
                takes.overtaken(partition, reason, now);
            }
        }
        Ok(())
    }
}
