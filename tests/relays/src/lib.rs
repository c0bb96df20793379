//! The relay under a model of everything around it, with virtual time. A seed decides everything.
//!
//! What is real: the relay of `host/effects`, whole. What is a model: the outbox in its database ([`table`],
//! behind the relay's own port in [`outbox`]), Kafka's transactions ([`broker`]), the mail server ([`mails`]),
//! and the runs that write rows ([`writers`]). Each host has a runtime of its own with a paused clock
//! ([`host`]), so that it can be stopped and killed at any moment at which it waits. [`world`] gives the hosts
//! turns and lets the faults of the [`plan`] come; afterwards the [`checks`] compare what was committed with
//! what readers of committed records have seen. [`mistake`] builds known mistakes into the models.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test: what it did not expect ends it"
)]

mod broker;
mod checks;
mod faults;
mod host;
mod mails;
mod mistake;
mod outbox;
mod plan;
mod shared;
mod sweep;
mod table;
mod world;
mod writers;

pub use mistake::Mistake;
pub use sweep::{Summary, sweep};
pub use world::{Report, live};
