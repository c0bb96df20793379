//! What the books must hold, worked out again from the records as they lie in the topic. Written after
//! `handlers/events/README.md`, not after the handlers' code.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};

use crate::broker::{Record, Stored};

/// A fee or a reward.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Movement {
    /// Who is charged or credited.
    pub worker: String,
    /// The day it counts for.
    pub day: String,
    /// What the worker's account gains.
    pub amount: i64,
    /// The task's title, as this event told it.
    pub title: String,
}

/// What must be in the books, by task.
#[derive(Debug, Default)]
pub struct Expected {
    /// The first assignment of each task.
    pub fees: BTreeMap<String, Movement>,
    /// The first completion of each task.
    pub rewards: BTreeMap<String, Movement>,
}

impl Expected {
    /// From the records of the tasks' topic; the broken ones are left out.
    ///
    /// # Errors
    /// When a record that is not known to be broken cannot be read.
    pub fn of(tasks: &[Stored], broken: &[Record]) -> Result<Self> {
        let mut in_order: Vec<&Stored> = tasks.iter().collect();
        in_order.sort_by_key(|stored| (stored.partition, stored.offset));
        let mut expected = Self::default();
        for stored in in_order.into_iter().filter(|stored| !broken.contains(&stored.record)) {
            expected.add(&stored.record).with_context(|| format!("{stored:?}"))?;
        }
        Ok(expected)
    }

    fn add(&mut self, record: &Record) -> Result<()> {
        let event_type = record.header("ce_type").context("no type")?;
        let (movements, purpose, least, choices, sign) = match event_type {
            "task.assigned" => (&mut self.fees, "fee", 10, 11, -1),
            "task.completed" => (&mut self.rewards, "reward", 20, 21, 1),
            _ => return Ok(()),
        };
        let body: serde_json::Value = serde_json::from_str(record.value.as_deref().context("no value")?)?;
        let field = |name: &str| {
            Ok::<_, anyhow::Error>(body.get(name).and_then(|it| it.as_str()).context("field")?.to_owned())
        };
        let task = field("task")?;
        let amount = sign * drawn(purpose, &task, least, choices);
        let movement =
            Movement { worker: field("worker")?, day: field("day")?, title: field("title")?, amount };
        movements.entry(task).or_insert(movement);
        Ok(())
    }

    /// Fees and rewards by the key of their entry: kind, task, and what moves.
    #[must_use]
    pub fn entries(&self) -> BTreeMap<String, (&str, &str, &Movement)> {
        let fees = self.fees.iter().map(|(task, movement)| ("fee", task, movement));
        let rewards = self.rewards.iter().map(|(task, movement)| ("reward", task, movement));
        let entry =
            |(kind, task, movement)| (format!("{kind}/{task}"), (kind, String::as_str(task), movement));
        fees.chain(rewards).map(entry).collect()
    }

    /// What each worker's account gains by fees and rewards.
    #[must_use]
    pub fn earned(&self) -> BTreeMap<&str, i64> {
        let mut earned = BTreeMap::new();
        for movement in self.fees.values().chain(self.rewards.values()) {
            *earned.entry(movement.worker.as_str()).or_insert(0) += movement.amount;
        }
        earned
    }

    /// Everybody with an account.
    #[must_use]
    pub fn workers(&self) -> BTreeSet<&str> {
        self.earned().into_keys().collect()
    }
}

/// The documented draw: FNV-1a (64 bits) over purpose, a zero byte and the task's id; then one step of
/// splitmix64 from that; then the upper half of it, modulo the number of choices, above the least.
fn drawn(purpose: &str, task: &str, least: i64, choices: u64) -> i64 {
    let mut hash: u64 = 14_695_981_039_346_656_037;
    for byte in [purpose.as_bytes(), b"\0", task.as_bytes()].concat() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(1_099_511_628_211);
    }
    let mut splitmix = crate::story::Numbers(hash);
    least + ((splitmix.draw() >> 32) % choices) as i64
}

/// Kafka's murmur2, by which its own clients place a key.
#[must_use]
pub fn partition_of(key: &str, partitions: i32) -> i32 {
    const M: u32 = 0x5bd1_e995;
    let mix = |k: u32| {
        let k = k.wrapping_mul(M);
        (k ^ (k >> 24)).wrapping_mul(M)
    };
    let bytes = key.as_bytes();
    let mut h = 0x9747_b28c_u32 ^ bytes.len() as u32;
    let mut words = bytes.chunks_exact(4);
    for word in words.by_ref() {
        let word = word.iter().rev().fold(0_u32, |word, byte| (word << 8) | u32::from(*byte));
        h = h.wrapping_mul(M) ^ mix(word);
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        let rest = rest.iter().rev().fold(0_u32, |rest, byte| (rest << 8) | u32::from(*byte));
        h = (h ^ rest).wrapping_mul(M);
    }
    h = (h ^ (h >> 13)).wrapping_mul(M);
    h ^= h >> 15;
    ((h & 0x7fff_ffff) % partitions as u32) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_as_documented() {
        assert_eq!(
            [("t-1", 10), ("t-2", 13), ("4711", 12)].map(|(task, _)| drawn("fee", task, 10, 11)),
            [10, 13, 12]
        );
        assert_eq!(["t-1", "t-2", "4711"].map(|task| drawn("reward", task, 20, 21)), [20, 31, 27]);
    }

    #[test]
    fn keys_are_placed_as_kafka_places_them() {
        // Known results of Kafka's own tests of this hash, made positive.
        assert_eq!(partition_of("21", i32::MAX), -973_932_308_i32 & 0x7fff_ffff);
        assert_eq!(partition_of("foobar", i32::MAX), -790_332_482_i32 & 0x7fff_ffff);
        assert_eq!(partition_of("a-little-bit-long-string", i32::MAX), -985_981_536_i32 & 0x7fff_ffff);
    }
}
