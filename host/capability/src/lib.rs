//! Capabilities: what the host offers to components, and what becomes of what they do with it.
//!
//! A component reaches nothing but the language's own runtime (clocks, random numbers, standard
//! output, which goes to the log) and the interfaces that its manifest grants. Each of those is one
//! module with one implementation of [`Capability`]; `all.rs` is the one place that lists them.
//!
//! The steps, from rare to frequent: [`Capabilities::check`] compares a component's imports with its
//! manifest, [`Capabilities::link`] puts the granted interfaces into a linker, [`Capabilities::prepare`]
//! opens what a revision needs (databases, migrations), [`Prepared::state`] makes the data of one
//! instance, and [`GuestState::begin`] and [`GuestState::commit`] frame one event.
//!
//! What an event does is held back until its end. The order at the end is fixed: its SQL transaction
//! commits, then its records are handed over and acknowledged, then its mails are sent, then it is done.

pub mod bindings;

mod all;
mod capability;
mod clock;
mod error;
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
mod wasi;

pub use capability::{Capability, Part, Pending, Preparation, Session};
pub use clock::HostClock;
pub use error::{CapabilityError, EffectsError};
pub use limits::CapabilityLimits;
pub use mail::{Mailer, SmtpConfig, SmtpSecurity};
pub use prepared::{Capabilities, HostResources, Prepared};
pub use scope::LogScope;
pub use sql::{DatabaseConfig, ReportError, Synchronous, Value, read_rows};
pub use state::{Delivery, GuestState};
