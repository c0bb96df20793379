//! The ordering engine: one [`Partition`] is one assignment of one Kafka partition, as a pure state
//! machine. Inputs go in, actions come out, in the order they must be carried out.
//!
//! There is no I/O here, no clock, no randomness, no lock, no thread and no async: time comes in as a
//! number with each input, and whoever drives a partition carries out its actions. So a schedule can be
//! replayed exactly, and what holds here can be checked over millions of schedules.
//!
//! What it keeps:
//! - Two events of one lane are never in two runs at once and never run out of offset order.
//! - The watermark never passes an event that has not ended, and the gap set never holds one.
//! - Every event that arrived is ended exactly once.
//! - A failed event holds back its own lane and nothing else, unless the policy says stop.
//! - Only the event that failed is charged.
//! - A halted partition begins nothing.
//!
//! Attempts are counted in memory. A hand-over or a restart keeps what has ended (the [`GapSet`]) and
//! counts the attempts of the rest anew.
//!
//! Assertions stay on in release builds: a broken promise must stop the partition, not go on quietly.

mod backoff;
mod charges;
mod failure;
mod flood;
mod gap;
mod lane;
mod ledger;
mod pace;
mod partition;
mod policy;
mod run;
mod squeeze;
mod step;
mod waiting;

pub use failure::FailureClass;
pub use gap::GapSet;
pub use lane::LaneId;
pub use partition::{LaneCounts, LaneView, Partition};
pub use policy::{ClassCaps, Flood, Policy, Then};
pub use step::{Action, Ending, Halt, Input, RunAttempt, RunId, Verdict};
pub use waiting::Waiting;
