//! The guest library of keylane: an author writes one function over typed events, this crate does
//! the rest.
//!
//! # A whole handler
//!
//! A handler is a crate of type `cdylib` (and `rlib`, so that its logic can be tested natively) and a
//! manifest, `handler.toml`, beside it. It declares the event types it wants, each with the type of
//! its body, and one function. The host calls that function once for each event; events of one key
//! come one at a time and in offset order.
//!
//! ```no_run
//! use keylane_sdk::{Failure, Record, params, producer, sql};
//!
//! /// The body of `task.assigned`. Unknown fields are ignored, missing ones are refused.
//! #[derive(serde::Deserialize)]
//! pub struct TaskAssigned {
//!     pub task: String,
//!     pub worker: String,
//! }
//!
//! /// What this handler publishes.
//! #[derive(serde::Serialize)]
//! struct WorkerBusy<'a> {
//!     worker: &'a str,
//! }
//!
//! keylane_sdk::events! {
//!     /// What the manifest subscribes to.
//!     pub enum Event {
//!         "task.assigned" => Assigned(TaskAssigned),
//!     }
//! }
//!
//! keylane_sdk::handler!(handle);
//!
//! fn handle(event: Event, record: &Record) -> Result<(), Failure> {
//!     let Event::Assigned(task) = event;
//!     if task.worker.is_empty() {
//!         return Err(Failure::reject("a task must be assigned to somebody"));
//!     }
//!     let database = sql::Database::open("tasks")?;
//!     database.execute(
//!         "INSERT INTO assignments (task, worker, seen_as) VALUES ($1, $2, $3)",
//!         params![&task.task, &task.worker, record.identity()],
//!     )?;
//!     producer::Message::to("workers")
//!         .key(task.worker.as_str())
//!         .event("worker.busy", "tasks", &task.task)
//!         .json(&WorkerBusy { worker: &task.worker })?
//!         .send()?;
//!     Ok(())
//! }
//! # fn main() {}
//! ```
//!
//! with the manifest
//!
//! ```toml
//! name = "tasks"
//! component = "tasks.wasm"
//!
//! [subscribe]
//! topics = ["task-lifecycle"]
//! events = ["task.assigned"]
//!
//! [grants.sql.tasks]
//! access = "write"
//! migrations = "migrations"
//!
//! [grants.producer]
//! topics = ["workers"]
//! ```
//!
//! # What happens around the function
//!
//! - **The type** of an event stands in its header `ce_type`, its body is JSON. An event without a
//!   type, of a type that was not declared, or with a body that does not fit, is rejected with the
//!   reason before the function is called, and goes to the dead letters.
//! - **With a database that it writes to, an event happens once.** Its statements, its produced records
//!   and its mails are committed together with the fact that it is done, when the function has answered
//!   `Ok`; on any failure all of them are undone. The function may be called again for an event that was
//!   undone (another transaction was in the way, the host died), so it keeps nothing elsewhere; it needs no
//!   code of its own against repeats.
//! - **A failed statement dooms its event**, whatever the function makes of the error: later statements
//!   answer [`Error::Aborted`], and an `Ok` becomes a retry.
//! - **A request to another service** ([`http`]) is not undone: it leaves at once, and is made again when its
//!   event is handled again.
//! - **`?` does the right thing.** An [`Error`] of a capability turns into a [`Failure`]: into a retry
//!   where a later attempt can help, into a rejection where none can.
//! - **Without such a database delivery is at least once.** The same event may come again, after a crash
//!   even one that was answered with `Ok`. [`Record::identity`] names an event.
//! - **An instance may serve many events** and is dropped after a failure: keep nothing in statics
//!   that a lost instance would make wrong.
//!
//! The crate compiles natively as well, so that a handler's logic can be unit-tested with
//! `cargo test`; only the calls into the host work nowhere but in a component.

#[doc(hidden)]
pub mod bindings;
pub mod config;
mod error;
mod events;
mod failure;
pub mod http;
pub mod keyvalue;
pub mod logging;
pub mod mail;
pub mod producer;
mod record;
pub mod sql;

pub use error::Error;
pub use events::Events;
pub use failure::Failure;
pub use record::{Header, Record, Timestamp, TimestampKind};

#[doc(hidden)]
pub use events::{answer, decode};
#[doc(hidden)]
pub use serde_json;
