//! The ordering engine: one [`Partition`] is one assignment of one Kafka partition, as a pure state
//! machine. Inputs go in, actions come out, in the order they must be carried out.
//!
//! There is no I/O here, no clock, no randomness, no lock, no thread and no async: time comes in as a
//! number with each input, and whoever drives a partition carries out its actions. So a schedule can be
//! replayed exactly, and what holds here can be checked over millions of schedules.
//!
//! What it keeps:
//! - Two events of one lane are never in two runs at once and never run out of offset order.
//! - The watermark never passes an event that has not ended.
//! - Every event that arrived is ended exactly once.
//! - A failed event holds back its own lane and nothing else.
//!
//! Assertions stay on in release builds: a broken promise must stop the partition, not go on quietly.

mod backoff;
mod lane;
mod ledger;
mod partition;
mod policy;
mod run;
mod step;

pub use lane::LaneId;
pub use partition::Partition;
pub use policy::Policy;
pub use step::{Action, Ending, Input, RunAttempt, RunId, Verdict};
