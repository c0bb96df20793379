//! End to end: the `keylane` binary as a child process, on a real broker, with the handlers that ship.
//! What it leaves behind is judged by arithmetic of its own; no code of the host or the handlers is used.
//!
//! - [`fleet`] is several hosts with one handler that copies what it gets, [`member`] is one running host
//!   with its [`metrics`] and its [`usage`] of the machine, [`topics`] changes topics under
//!   them, [`foreign`] is another program in their group.
//! - [`place`] finds the binary and the components, [`deployment`] lays out a host file, [`host`] runs it.
//! - [`broker`] is how the tests speak with a broker: through Apache Kafka's own tools ([`tools`]), or
//!   through a plain client where there is no JDK ([`plain`]); [`dev_broker`] is `keylane broker` as a
//!   child process. [`offsets`] sees how far groups are, [`effects`] when all work is done and has left;
//!   [`sqlite`] and [`postgres`] look into the handlers' databases.
//! - [`story`] writes the task exchange's events, [`scenario`] sends them through a host that is killed; [`payday`]
//!   is a day of many workers, and what has to be published when it closes.
//! - [`expected`] says what the books must hold, [`check`] compares.

pub mod broker;
pub mod check;
pub mod deployment;
pub mod dev_broker;
pub mod effects;
pub mod expected;
pub mod fleet;
pub mod foreign;
pub mod host;
pub mod member;
pub mod metrics;
pub mod offsets;
pub mod payday;
pub mod place;
pub mod plain;
pub mod postgres;
pub mod scenario;
pub mod sqlite;
pub mod story;
pub mod tools;
pub mod topics;
pub mod usage;
