//! `[delivery]`: how a handler's events are delivered, and what happens to those that fail.

use std::time::Duration;

use serde::Deserialize;

/// What must run one after another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// The records of one key in one partition.
    Key,
    /// The records of one partition.
    Partition,
    /// Nothing.
    None,
}

/// How records without a key are ordered, where order is by key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NullKeys {
    /// Each on its own.
    Unordered,
    /// As if they all had one key.
    Ordered,
}

/// How often an event's effects may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Guarantee {
    /// Once, whatever crashes.
    ExactlyOnce,
    /// Once, and again after a crash.
    AtLeastOnce,
}

/// How events are delivered.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// How often an event's effects may happen. With a database that the handler writes to always exactly once;
    /// without one at least once by default, and exactly once if that is asked for and all it does is to
    /// produce records.
    pub guarantee: Guarantee,
    /// The time between two of Kafka's transactions. Only where they are what makes the handler exactly once, and
    /// 50 ms by default.
    pub transaction_interval: Option<Duration>,
    /// What must run one after another; the records of a key by default.
    pub order: Order,
    /// How records without a key are ordered; not at all by default.
    pub null_keys: NullKeys,
    /// Failed attempts before the last step, from 1; 8 by default.
    pub attempts: u32,
    /// Failures of one class before the last step.
    pub caps: Caps,
    /// The wait after the first failed attempt; it doubles with each further one; 500 ms by default.
    pub backoff: Duration,
    /// The longest wait between two attempts; one minute by default.
    pub backoff_max: Duration,
    /// How long after the beginning of its first attempt an event may still be tried; without end by default.
    pub max_age: Option<Duration>,
    /// The last step; the dead letters by default.
    pub then: Then,
    /// When so many events end badly that the partition stops instead. Only where the last step is the
    /// dead letters, and by default when more than half of the last 200 do.
    pub flood: Option<Flood>,
}

/// How many failures of one class an event may have before the last step. None of them but `effects` is
/// above `attempts`, which counts all classes together, `effects` left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps {
    /// The handler asked for another attempt; as many as `attempts` by default.
    pub retry: u32,
    /// The component trapped; 3 by default.
    pub trap: u32,
    /// The component took longer than it may; 3 by default.
    pub timeout: u32,
    /// The component asked for more memory than it may have; 3 by default.
    pub memory: u32,
    /// A broker, a database or a mail server was away, which is nobody's fault; 1,000 by default.
    pub effects: u32,
}

/// What happens to an event that was tried often enough, or rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Then {
    /// It goes to the dead letters, and its lane goes on.
    DeadLetter,
    /// Its lane waits for an operator; others go on.
    PauseLane,
    /// Its partition stops until an operator has decided.
    Stop,
}

/// When a partition stops instead of emptying its topic into the dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flood {
    /// More than this share of the events ends badly, in percent; 50 by default.
    pub share_percent: u8,
    /// How many of the latest endings are looked at; 200 by default.
    pub events: usize,
}
