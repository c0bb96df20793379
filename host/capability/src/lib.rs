//! Capabilities: what the host offers to components, and what becomes of what they do with it.
//!
//! A component reaches nothing but the language's own runtime (clocks, random numbers, standard
//! output, which goes to the log) and the interfaces that its manifest grants. Each of those is one
//! module with one implementation of [`Capability`]; `all.rs` is the one place that lists them.
//!
//! The steps, from rare to frequent: [`Capabilities::check`] compares a component's imports with its
//! manifest, [`Capabilities::link`] puts the granted interfaces into a linker, [`Capabilities::prepare`]
//! makes ready what a revision needs (its tables), [`Prepared::state`] makes the data of one instance.
//!
//! What an event does is held back until its end. A handler that writes to a database does all of it in its
//! run's transaction: [`GuestState::begin`] is told the transaction's place ([`RunSlot`]), and
//! [`GuestState::outbox`] answers the event's records and mails as rows to be committed with it. For any
//! other handler [`GuestState::commit`] hands the event's records over; it is done when they are acknowledged.

pub mod bindings;

mod all;
mod at_work;
mod capability;
mod clock;
mod config;
mod error;
mod http;
pub mod keyvalue;
mod limits;
mod logging;
mod mail;
mod memory;
mod output;
mod prepared;
mod producer;
mod scope;
mod sql;
mod state;
mod trace;
mod transaction;
mod wasi;

pub use at_work::AtWork;
pub use capability::{Capability, Part, Pending, Preparation, Session};
pub use clock::HostClock;
pub use error::{CapabilityError, EffectsError};
pub use limits::CapabilityLimits;
pub use mail::{Mailer, SmtpConfig, SmtpSecurity};
pub use prepared::{Capabilities, HostResources, OpenDatabase, Prepared};
pub use scope::LogScope;
pub use sql::elsewhere_most;
pub use state::{Delivery, GuestState};
pub use transaction::{RunFault, RunSlot};
