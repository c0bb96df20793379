//! Topics that take nothing, and the partitions that wait for them.
//!
//! A topic may come back, so a record for it is tried again and again. Between the tries only the partitions
//! concerned wait; the others are cut without them. A topic that takes nothing for about half a minute counts as
//! the fault of the events that write to it: they are refused, those that come later at once, until the topic
//! takes something, or has been left alone for [`FORGOTTEN_AFTER`]. What is refused once more though its event has
//! failed already, its dead letter for one, is nobody's fault that could be told: its partition waits. So does one
//! whose part was refused though it went alone, when nobody says for which topic.
//!
//! Where a partition of the topic is only silent, without a leader or without enough replicas, that is never the
//! fault of an event, however long it lasts. A try may take all the time that a record has, and everybody waits
//! with it, so that the pauses are longer.
//!
//! What bounds: one entry for each topic that the handler may write to, one wait for each partition that is owned.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use keylane_engine::TopicPartition;

use super::cuts::{FAILURES_ORDINARY, pause_after};

/// How often a topic is tried before it counts as the fault of its events: with the pauses between about half a
/// minute.
const TRIES_MAX: u32 = 12;
/// A topic that nothing was refused by for so long is tried anew.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);
/// Behind a try that met silence comes a pause of so many times as long as it took.
const PAUSE_PER_SILENCE: u32 = 3;

/// Owned by the committer.
#[derive(Default)]
pub(super) struct ClosedTopics {
    topics: BTreeMap<String, Closed>,
    waits: BTreeMap<TopicPartition, Wait>,
}

struct Closed {
    tries: u32,
    /// Those since brokers last said nothing at all. They count against the events.
    refusals: u32,
    /// When it is tried next.
    again_at: Instant,
    refused_at: Instant,
    /// The latest.
    reason: String,
}

impl Closed {
    /// It is tried again after the usual pause, or this one if that is longer.
    fn tried(&mut self, topic: &str, pause: Duration, now: Instant) {
        self.again_at = now + pause_after(self.tries).max(pause);
        self.tries = self.tries.saturating_add(1);
        let reason = self.reason.as_str();
        match self.tries == FAILURES_ORDINARY {
            true => tracing::warn!(topic, reason, "a topic takes nothing; what writes to it waits"),
            false => tracing::info!(topic, reason, tries = self.tries, "a topic takes nothing"),
        }
    }

    fn is_at_fault(&self) -> bool {
        self.refusals > TRIES_MAX
    }
}

struct Wait {
    tries: u32,
    until: Instant,
    reason: String,
}

impl ClosedTopics {
    /// This topic has taken nothing, as brokers say. What several partitions meet at about the same time is one try.
    pub(super) fn note(&mut self, topic: &str, reason: &str, now: Instant) {
        let closed = self.closed(topic, reason, now);
        if now >= closed.again_at {
            closed.refusals = closed.refusals.saturating_add(1);
            closed.tried(topic, Duration::ZERO, now);
        }
    }

    /// A partition of this topic has been silent in a try that took so long.
    pub(super) fn note_silence(&mut self, topic: &str, reason: &str, took: Duration, now: Instant) {
        let closed = self.closed(topic, reason, now);
        closed.refusals = 0;
        if now >= closed.again_at {
            closed.tried(topic, took.saturating_mul(PAUSE_PER_SILENCE), now);
        }
    }

    fn closed(&mut self, topic: &str, reason: &str, now: Instant) -> &mut Closed {
        let fresh = Closed { tries: 0, refusals: 0, again_at: now, refused_at: now, reason: String::new() };
        let closed = self.topics.entry(topic.to_owned()).or_insert(fresh);
        if now.saturating_duration_since(closed.refused_at) >= FORGOTTEN_AFTER {
            (closed.tries, closed.refusals, closed.again_at) = (0, 0, now);
        }
        closed.refused_at = now;
        reason.clone_into(&mut closed.reason);
        closed
    }

    /// Whether one of these topics is not to be tried before its time. Then the partition waits for that: nothing
    /// of it is sent, which everybody might wait for.
    pub(super) fn turns_away<'a>(
        &mut self,
        partition: &TopicPartition,
        mut topics: impl Iterator<Item = &'a str>,
        now: Instant,
    ) -> bool {
        let is_awaited = |topic: &str| {
            self.topics.get(topic).is_some_and(|closed| now < closed.again_at && !closed.is_at_fault())
        };
        let Some(topic) = topics.find(|topic| is_awaited(topic)) else { return false };
        let reason = self.topics.get(topic).map(|closed| format!("{topic}: {}", closed.reason));
        self.wait_for(topic, partition, reason.unwrap_or_default());
        true
    }

    /// Whether that is the fault of the events that write to it.
    pub(super) fn is_at_fault(&self, topic: &str) -> bool {
        self.topics.get(topic).is_some_and(Closed::is_at_fault)
    }

    /// The partition has a record for this topic: it waits until that is tried again.
    pub(super) fn wait_for(&mut self, topic: &str, partition: &TopicPartition, reason: String) {
        let Some(Closed { tries, again_at, .. }) = self.topics.get(topic) else { return };
        let wait = Wait { tries: *tries, until: *again_at, reason };
        self.waits.insert(partition.clone(), wait);
    }

    /// The partition has a record that nobody can be asked about any more, or its part was refused though it went alone:
    /// it waits, each time longer.
    pub(super) fn wait_on(&mut self, partition: &TopicPartition, reason: String, now: Instant) {
        let tries = self.waits.get(partition).map_or(0, |wait| wait.tries);
        let wait = Wait { tries: tries.saturating_add(1), until: now + pause_after(tries), reason };
        self.waits.insert(partition.clone(), wait);
    }

    /// Whether nothing is cut of this partition for now.
    pub(super) fn keeps(&self, partition: &TopicPartition, now: Instant) -> bool {
        self.waits.get(partition).is_some_and(|wait| now < wait.until)
    }

    /// The partition does not wait any more: it was cut, or what it waited with is gone.
    pub(super) fn end_wait(&mut self, partition: &TopicPartition) {
        self.waits.remove(partition);
    }

    /// These topics have taken something.
    pub(super) fn took<'a>(&mut self, topics: impl Iterator<Item = &'a str>) {
        if self.topics.is_empty() {
            return;
        }
        for topic in topics.collect::<BTreeSet<&str>>() {
            if self.topics.remove(topic).is_some() {
                tracing::info!(topic, "the topic takes records again");
            }
        }
    }

    /// What is waited for, if that is no short matter.
    pub(super) fn trouble(&self) -> Option<String> {
        let (partition, wait) = self.waits.iter().find(|(_, wait)| wait.tries >= FAILURES_ORDINARY)?;
        Some(format!("{partition} waits: {}", wait.reason))
    }
}

#[cfg(test)]
mod tests;
