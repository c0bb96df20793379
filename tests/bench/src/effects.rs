//! What exactly once costs: an accounting-like handler (a read, two inserts, an update, a record that leaves) on
//! SQLite and on PostgreSQL, beside a consumer that is written by hand with one transaction for each record.
//!
//! Both read the same topic, both write the same rows and publish the same records. A measurement begins with
//! the first effect that can be read in the database, so the start of a process does not count, and ends when
//! all records are handled and have left, or when its time is over; then only what has left counts.

mod cpu;
mod engine;
mod figures;
mod idle;
mod input;
mod kafka_only;
mod plan;
mod produced;
mod stage;
mod store;
mod summary;
mod throughput;
mod watch;

pub(crate) use plan::EffectsPlan;
pub(crate) use stage::run;
