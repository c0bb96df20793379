//! Components through the real host: the guests of `tests/guests/`, most of them hostile, one test each
//! of the same name, and what runs, deliveries and warm instances promise.
//!
//! They need the built components: `make guests`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test may fail loudly, also in its supporting functions"
)]

mod answers;
mod away;
mod charged;
mod contained;
mod cost;
mod deliveries;
mod fake_publisher;
mod faulty;
mod held;
mod meters;
mod pairing;
mod poison;
mod postgres;
mod redone;
mod refused;
mod service;
mod services;
mod slices;
mod stage;
mod tls_service;
mod transactions;
mod warm;
