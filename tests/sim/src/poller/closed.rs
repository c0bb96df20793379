//! Topics that take nothing, and the partitions that wait for them, as `host/kafka` keeps them: its rules with
//! shorter times.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::cuts::pause_after;
use crate::cuts::topic_of;
use crate::database::Row;

/// How often brokers say that a topic is not there before that is the fault of its events.
const TRIES_MAX: u32 = 4;
/// A topic that nothing was refused by for so long is tried anew.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(4);

/// Owned by the poller.
#[derive(Default)]
pub struct ClosedTopics {
    topics: BTreeMap<u32, Closed>,
    waits: BTreeMap<i32, Wait>,
}

struct Closed {
    tries: u32,
    /// Those since brokers last said nothing at all.
    refusals: u32,
    again: Instant,
    refused: Instant,
}

struct Wait {
    tries: u32,
    until: Instant,
}

impl ClosedTopics {
    /// This topic has taken nothing: brokers say that it is not there, or a partition is silent.
    pub fn note(&mut self, topic: u32, is_silent: bool) {
        let now = Instant::now();
        let fresh = Closed { tries: 0, refusals: 0, again: now, refused: now };
        let closed = self.topics.entry(topic).or_insert(fresh);
        if now.saturating_duration_since(closed.refused) >= FORGOTTEN_AFTER {
            (closed.tries, closed.refusals, closed.again) = (0, 0, now);
        }
        closed.refused = now;
        if is_silent {
            closed.refusals = 0;
        }
        if now >= closed.again {
            closed.refusals += u32::from(!is_silent);
            closed.again = now + pause_after(closed.tries);
            closed.tries += 1;
        }
    }

    /// Whether that is the fault of the events that write to it.
    pub fn is_at_fault(&self, topic: u32) -> bool {
        self.topics.get(&topic).is_some_and(|closed| closed.refusals > TRIES_MAX)
    }

    /// Whether a topic of these is not to be tried before its time. Then the partition waits for that.
    pub fn turns_away(&mut self, partition: i32, rows: &[Row]) -> bool {
        let now = Instant::now();
        let is_awaited = |topic: &u32| {
            let awaits = self.topics.get(topic).is_some_and(|closed| now < closed.again);
            awaits && !self.is_at_fault(*topic)
        };
        let awaited = rows.iter().map(topic_of).find(is_awaited);
        if let Some(topic) = awaited {
            self.wait_for(topic, partition);
        }
        awaited.is_some()
    }

    /// The partition has a record for this topic: it waits until that is tried again.
    pub fn wait_for(&mut self, topic: u32, partition: i32) {
        let Some(Closed { tries, again, .. }) = self.topics.get(&topic) else { return };
        self.waits.insert(partition, Wait { tries: *tries, until: *again });
    }

    /// The partition has a record that nobody can be asked about any more: it waits, each time longer.
    pub fn wait_on(&mut self, partition: i32) {
        let tries = self.waits.get(&partition).map_or(0, |wait| wait.tries);
        self.waits.insert(partition, Wait { tries: tries + 1, until: Instant::now() + pause_after(tries) });
    }

    /// Whether nothing is cut of this partition for now.
    pub fn keeps(&self, partition: i32) -> bool {
        self.waits.get(&partition).is_some_and(|wait| Instant::now() < wait.until)
    }

    pub fn end_wait(&mut self, partition: i32) {
        self.waits.remove(&partition);
    }

    /// The topics of these rows have taken something.
    pub fn took(&mut self, rows: &[Row]) {
        for topic in rows.iter().map(topic_of) {
            self.topics.remove(&topic);
        }
    }
}
