//! Cases of the partition's state machine, one behaviour each: inputs in, actions out.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail loudly")]

mod endings;
mod failing;
mod flood;
mod operator;
mod order;
mod restored;
mod runs;
mod stage;
