//! The guest room: the only place that runs components.
//!
//! One [`GuestEngine`] per process compiles and bounds them. A [`Revision`] is one component, checked,
//! compiled and linked with what its manifest grants. A [`GuestRunner`] executes the engine's runs on
//! warm instances of a revision and turns whatever a component does (answer, trap, endless loop, memory
//! hoard) into one outcome per attempt. A failed attempt ends its instance, never the host.
//!
//! Three clocks bound a call:
//! - the guest's own time: the engine's epoch advances every [`EPOCH_TICK`]; at each tick a computing
//!   guest yields to the other tasks of its thread, and past `limits.time` it is interrupted;
//! - each host call has `limits.host_call`, kept by the capabilities, and is not the guest's time;
//! - a backstop around the whole call ends what neither of them sees, such as a sleeping guest.
//!
//! A run of a handler that writes to a database is one transaction there; `transaction/` says how it is
//! redone when an event of it fails or another transaction is in the way. What the events of a handler in cuts
//! give out is answered with the run, and has not left (`held`).

mod attempt;
mod census;
mod component_file;
mod convert;
mod engine;
mod error;
mod failure;
mod held;
mod instance;
mod meter;
mod pool;
mod progress;
mod revision;
mod runner;
mod transaction;

pub use census::InstanceCounts;
pub use component_file::COMPONENT_BYTES_MAX;
pub use engine::{EPOCH_TICK, GuestEngine, GuestOptions};
pub use error::GuestError;
pub use revision::{Fitted, Revision};
pub use runner::GuestRunner;
