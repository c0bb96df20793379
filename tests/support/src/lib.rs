//! What tests of several rooms share, above all a real Apache Kafka and a real PostgreSQL.
//!
//! - [`ApacheKafka`]: one broker per test binary, started by `tests/kafka/kafka.sh`, ended on drop.
//! - [`PostgreSql`]: one server per test binary, started by `tests/postgres/postgres.sh`, ended on drop.
//! - [`SmtpServer`]: a mail server that keeps what it takes.
//! - [`kafka_tool`]: Kafka's own command line tools, against any broker.
//! - [`RawClient`] and [`raw_batch`]: single protocol requests, for what ordinary clients do not show.
//! - [`signal`]: to a process that a test has started.
//! - [`waiting`]: until a condition holds.
//! - [`FullDocument`]: a configuration document that is changed line by line.
//! - [`Log`]: what the code under test logs.
//! - [`Checks`]: a test binary without libtest, so that its named checks can share one broker.

mod apache;
mod batch;
mod checks;
mod document;
mod log;
mod postgres;
mod raw;
mod signal;
mod smtp;
mod tools;
pub mod waiting;

pub use apache::{
    ApacheKafka, apache_kafka, apache_kafka_or_reason, apache_kafka_with, kafka_is_required,
    kafka_missing_reason,
};
pub use batch::{RawProducer, raw_batch, raw_transactional_batch};
pub use checks::Checks;
pub use document::FullDocument;
pub use log::Log;
pub use postgres::{PostgreSql, postgres, postgres_missing_reason};
pub use raw::RawClient;
pub use signal::signal;
pub use smtp::{SmtpServer, TakenMail};
pub use tools::{ToolOutput, kafka_tool};
