//! A small broker for development that speaks the Kafka protocol over loopback.
//!
//! It is **not Kafka**: one node, no replication, no retention and no compaction.
//! Records go only when a client deletes them (DeleteRecords, or their topic).
//! It exists so that a first run needs no JVM and no container, and so that tests are quick. One
//! conformance suite (`tests/conformance`) runs against it and against Apache Kafka; a difference
//! in what both can do fails that suite.
//!
//! [`Broker::start`] binds 127.0.0.1, and nothing else can be asked for. Everything it holds is
//! bounded by [`Limits`]; a produce request past a limit is refused, never dropped in silence.
//!
//! How it is laid out: `connection` reads frames, `shape` refuses malformed ones before the codec
//! sees them, `api` has one file per family of requests, `group` is the coordinator's state
//! machine, `transaction` that of transactional producers, `partition` and `batch` are the log, `store` is
//! what lies on disk.

mod api;
mod batch;
mod broker;
mod config;
mod connection;
mod error;
mod group;
mod options;
mod partition;
mod producers;
mod shape;
mod state;
mod store;
mod topic;
mod transaction;
mod unstable;

pub use broker::Broker;
pub use error::BrokerError;
pub use options::{BrokerOptions, Limits};
