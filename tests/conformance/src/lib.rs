//! One suite of checks for any broker that says it speaks Kafka.
//!
//! Each [`Check`] does something and writes down what it **observed**: values, error names,
//! offsets, assignments, in a form that does not depend on time or random ids. The test binary
//! runs every check against the development broker and against Apache Kafka; both must observe
//! what the check expects, word for word. So the expectation is Kafka's, and the development
//! broker is held to it.
//!
//! A check blocks its thread and has topics and groups of its own, so several run at once.

mod checks;
mod clients;
mod describe;
mod raw;

pub use checks::{Check, Needs, has_kcat, suite};

/// The broker that is looked at.
#[derive(Debug, Clone)]
pub struct Target {
    /// Its address, `127.0.0.1:PORT`.
    pub bootstrap: String,
}

/// What a check saw, in order.
pub type Observed = Vec<String>;
