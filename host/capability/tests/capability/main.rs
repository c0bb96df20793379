//! The capabilities as a guest meets them, without a guest: the tests call the host's side of each
//! interface directly, on real SQLite files, a real folder of mails and a small SMTP server.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail loudly"
)]

mod config;
mod http;
mod keyvalue;
mod logging;
mod mail;
mod meters;
mod order;
mod preparing;
mod producer;
mod refusals;
mod smtp;
mod smtp_server;
mod sql;
mod sql_hostile;
mod support;
