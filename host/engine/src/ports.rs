//! The ports: what the engine needs from the rooms around it, as small traits.
//!
//! `Runner` is implemented by `host/guest` (and by doubles in tests), `DeadLetters` and `Publisher`
//! by `host/kafka`. The engine knows neither.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
pub use keylane_lanes::FailureClass;

use crate::event::{Event, Header};
use crate::run_control::RunControl;

/// One try at one event.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// The event to handle.
    pub event: Arc<Event>,
    /// 1 the first time, one more after each failure.
    pub number: u32,
    /// The event's lane. Events of one lane in one run stand in offset order; one may start only when
    /// the effects of those before it are acknowledged.
    pub lane: u64,
}

/// What became of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The handler answered ok and its effects are committed and acknowledged.
    Done,
    /// The attempt failed; its effects were rolled back.
    Failed {
        /// What kind of failure.
        class: FailureClass,
        /// For people, already capped in length by whoever made it.
        reason: String,
        /// The handler's own wish for the next attempt: not before this many milliseconds.
        after_ms: Option<u64>,
    },
    /// The attempt was not begun (an earlier event of its lane failed in this run, or the run may not go
    /// on): nobody is charged.
    NotStarted,
}

/// How the partition stands after a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunStand {
    /// What the outcomes say holds.
    Kept,
    /// Another host has taken the partition in the handler's database: nothing of the run is written.
    Overtaken,
    /// Whether the run is written is not known, or its database is gone: the partition is to be taken anew.
    /// The reason is for people.
    InDoubt(String),
}

/// What a run answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunReport {
    /// One for each attempt, in the same order. They count only where the stand is kept.
    pub outcomes: Vec<Outcome>,
    /// How the partition stands.
    pub stand: RunStand,
    /// How often the run's transaction was undone because another one was in its way.
    pub conflicts: u32,
    /// What the run counts for in the length of further ones ([`RunControl::spent`]); none is all of its time.
    pub spent: Option<Duration>,
    /// For a handler in cuts: what each attempt gave out, in the order of the attempts; nothing of those that
    /// are not done. Empty where nothing is held back.
    pub outputs: Vec<Vec<OutgoingRecord>>,
}

impl From<Vec<Outcome>> for RunReport {
    fn from(outcomes: Vec<Outcome>) -> Self {
        Self { outcomes, stand: RunStand::Kept, conflicts: 0, spent: None, outputs: Vec::new() }
    }
}

/// Executes runs. One call is one run: attempts of one partition, each lane's in offset order.
pub trait Runner: Send + Sync + 'static {
    /// Runs the attempts one after another and answers one outcome for each, in the same order. Asks
    /// `control` before each but the first, and begins no more once it says no.
    /// Must not panic: a panic stops the partition.
    fn run(&self, attempts: Vec<Attempt>, control: RunControl) -> impl Future<Output = RunReport> + Send;
}

/// An event whose story ended badly, on its way to the dead letters.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// The event, byte for byte as it was read.
    pub event: Arc<Event>,
    /// How many attempts were made.
    pub attempts: u32,
    /// The class of the last failure.
    pub class: FailureClass,
    /// The reason of the last failure.
    pub reason: String,
    /// When the first attempt failed, in milliseconds since the Unix epoch.
    pub first_failure_ms: i64,
}

/// Takes dead letters of handlers that have neither a write database nor cuts; those of the others go to
/// [`crate::Claims::bury`], or are committed with the next cut.
pub trait DeadLetters: Send + Sync + 'static {
    /// Answers when the letter is acknowledged by the broker. On an error the engine tries again,
    /// with backoff, for as long as it owns the partition: a dead letter is never given up.
    fn bury(&self, letter: DeadLetter) -> impl Future<Output = Result<(), PublishError>> + Send;
}

/// A record that a handler made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutgoingRecord {
    /// The topic it goes to.
    pub topic: String,
    /// Decides the partition, by Kafka's own partitioner.
    pub key: Option<Bytes>,
    /// None is a tombstone.
    pub value: Option<Bytes>,
    /// In order; names may repeat.
    pub headers: Vec<Header>,
}

impl OutgoingRecord {
    /// What this record weighs while it is held, in bytes: its contents and a flat charge for bookkeeping. Headers
    /// count: they may be most of it.
    #[must_use]
    pub fn weight_bytes(&self) -> usize {
        const BOOKKEEPING_BYTES: usize = 100;
        let length = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        let headers: usize = self.headers.iter().map(Header::weight_bytes).sum();
        BOOKKEEPING_BYTES + self.topic.len() + length(&self.key) + length(&self.value) + headers
    }
}

/// A record could not be delivered.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the record for topic {topic:?} was not delivered: {reason}")]
pub struct PublishError {
    /// The topic it was for.
    pub topic: String,
    /// What the client or the broker said.
    pub reason: String,
    /// Whether the same record may be accepted later.
    pub can_retry: bool,
}

/// The answer to a published record: ready when every replica asked for has it, or with the reason why not.
pub type Acknowledgement = std::pin::Pin<Box<dyn Future<Output = Result<(), PublishError>> + Send + 'static>>;

/// Sends records to Kafka. Records handed in one after another for one partition arrive in that order.
pub trait Publisher: Send + Sync + 'static {
    /// Hands the record to the client at once, or waits for room in its bounded queue;
    /// the acknowledgement is awaited separately, so that many can be under way.
    fn publish(
        &self,
        record: OutgoingRecord,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<Acknowledgement, PublishError>> + Send + '_>>;
}
