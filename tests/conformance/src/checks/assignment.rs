//! Consumers of one group share partitions, cooperatively.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};

use super::{Check, check};
use crate::clients::{consumer, new_topic, producer, send_numbers, until};
use crate::{Observed, Target};

pub(super) const CHECKS: &[Check] = &[
    check(
        "two_consumers_share_and_hand_over",
        share,
        &[
            "alone: 12 partitions",
            "together: 6 and 6, 12 different",
            "120 records, 0 of them twice",
            "after one left: 12 partitions",
            "120 more, 0 of them twice",
        ],
    ),
    check("a_second_assignor", range, &["together: 6 and 6, 12 different"]),
];

/// Two consumers on one thread, and what they have read by partition and offset.
struct Pair<'a> {
    topic: &'a str,
    consumers: Vec<BaseConsumer>,
    read: BTreeMap<(i32, i64), usize>,
}

impl<'a> Pair<'a> {
    fn new(target: &Target, topic: &'a str, assignor: &str) -> anyhow::Result<Self> {
        new_topic(target, topic, 12)?;
        let settings = [("partition.assignment.strategy", assignor)];
        let consumers = vec![consumer(target, topic, &settings)?, consumer(target, topic, &settings)?];
        Ok(Self { topic, consumers, read: BTreeMap::new() })
    }

    fn subscribe(&self, index: usize) -> anyhow::Result<()> {
        Ok(self.consumers.get(index).context("no such consumer")?.subscribe(&[self.topic])?)
    }

    /// Polls both until `met`; everything read is counted and committed.
    fn poll_until(&mut self, what: &str, met: impl Fn(&Self) -> anyhow::Result<bool>) -> anyhow::Result<()> {
        until(what, || {
            for consumer in &self.consumers {
                while let Some(message) = consumer.poll(Duration::from_millis(10)) {
                    let message = message?;
                    *self.read.entry((message.partition(), message.offset())).or_default() += 1;
                    consumer.commit_message(&message, CommitMode::Sync)?;
                }
            }
            met(self)
        })
    }

    fn counts(&self) -> anyhow::Result<Vec<usize>> {
        self.consumers.iter().map(|c| Ok(c.assignment()?.count())).collect()
    }

    fn together(&self) -> anyhow::Result<String> {
        let mut different = std::collections::BTreeSet::new();
        for consumer in &self.consumers {
            different.extend(consumer.assignment()?.elements().iter().map(|e| e.partition()));
        }
        let counts = self.counts()?.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ");
        Ok(format!("together: {counts}, {} different", different.len()))
    }

    /// Lets both leave and waits until nothing is assigned. Dropping a consumer while a rebalance
    /// event waits in its queue can block for ever: the client answers the event after its group
    /// thread has ended.
    fn leave(mut self) -> anyhow::Result<()> {
        for index in 0..self.consumers.len() {
            self.consumers.get(index).context("no such consumer")?.unsubscribe();
            self.poll_until("it has left", |p| Ok(p.counts()?.get(index) == Some(&0)))?;
        }
        Ok(())
    }

    fn twice(&self) -> usize {
        self.read.values().filter(|times| **times > 1).count()
    }
}

fn share(target: &Target) -> anyhow::Result<Observed> {
    let mut pair = Pair::new(target, "share", "cooperative-sticky")?;
    let producer = producer(target, &[])?;
    pair.subscribe(0)?;
    pair.poll_until("12 partitions", |p| Ok(p.counts()? == [12, 0]))?;
    let mut seen = vec![format!("alone: {} partitions", pair.counts()?.iter().sum::<usize>())];
    // Every partition gets a committed offset before it changes hands. Else the client asks for the
    // first offset, and should that answer come after a rebalance, it starts again from there.
    send_numbers(&producer, "share", 12, 12)?;
    pair.poll_until("a record of each", |p| Ok(p.read.len() == 12))?;
    pair.read.clear();
    pair.subscribe(1)?;
    pair.poll_until("6 and 6", |p| Ok(p.counts()? == [6, 6]))?;
    seen.push(pair.together()?);
    send_numbers(&producer, "share", 12, 120)?;
    pair.poll_until("120 records", |p| Ok(p.read.len() == 120))?;
    seen.push(format!("{} records, {} of them twice", pair.read.len(), pair.twice()));
    pair.consumers.get(1).context("no second consumer")?.unsubscribe();
    pair.poll_until("all 12 again", |p| Ok(p.counts()? == [12, 0]))?;
    seen.push(format!("after one left: {} partitions", pair.counts()?.iter().sum::<usize>()));
    pair.read.clear();
    send_numbers(&producer, "share", 12, 120)?;
    pair.poll_until("120 more", |p| Ok(p.read.len() >= 120))?;
    seen.push(format!("{} more, {} of them twice", pair.read.len(), pair.twice()));
    pair.leave()?;
    Ok(seen)
}

fn range(target: &Target) -> anyhow::Result<Observed> {
    let mut pair = Pair::new(target, "share-range", "range")?;
    pair.subscribe(0)?;
    pair.subscribe(1)?;
    pair.poll_until("6 and 6", |p| Ok(p.counts()? == [6, 6]))?;
    let seen = vec![pair.together()?];
    pair.leave()?;
    Ok(seen)
}
