//! The simulation: the real ordering engine and the real owner tasks, inboxes, leases and commit payloads,
//! under a model of everything around them, with virtual time. A seed decides everything.
//!
//! What is real: `host/lanes` and `host/engine`, whole. What is a model: the polling thread of `host/kafka`
//! ([`poller`], the same steps in the same order), the client's membership ([`member`]), the network
//! ([`network`]), the group's coordinator ([`coordinator`]), the topic ([`log`]), the component
//! ([`runner`]), the dead letters ([`letters`]), the write databases ([`database`]), the transactions of
//! handlers in cuts ([`transactions`]) and the operator ([`operator`]).
//!
//! Each host has a single-threaded runtime with a paused clock ([`host`]), so that it can be stopped, put to
//! sleep and killed as a whole, owner tasks and timers included. [`world`] gives the hosts turns and lets
//! the faults of the [`plan`] come. Everything goes into one [`trace`]; afterwards the [`checks`], one small
//! checker per promise, walk through it. [`mutation`] builds known mistakes into the models.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test: what it did not expect ends it"
)]

mod checks;
mod clock;
mod coordinator;
mod cuts;
mod database;
mod draw;
mod faults;
mod host;
mod letters;
mod log;
mod member;
mod mutation;
mod network;
mod operator;
mod plan;
mod poller;
mod process;
mod report;
mod runner;
mod story;
mod sweep;
mod trace;
mod transactions;
mod wire;
mod world;

pub use clock::HostClock;
pub use draw::Draw;
pub use mutation::Mutation;
pub use report::{Report, live};
pub use sweep::{Summary, on_all_cores, sweep};
