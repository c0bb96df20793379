//! Kafka, and the only room that knows a Kafka client: intake, commits, producing, dead letters and
//! topic administration.
//!
//! - [`Intake`] is one handler's consumer: one thread that polls, hands batches to the partitions'
//!   owners, and commits how far they are.
//! - [`KafkaPublisher`] is the idempotent producer behind the engine's `Publisher` port.
//! - [`KafkaDeadLetters`] writes dead letters, byte for byte, beside the topic they came from.
//! - [`Admin`] finds, checks and creates topics, and waits for brokers that do not answer.
//! - [`KafkaConfig`] and [`ConsumerConfig`] say how.
//!
//! Arrows: this room implements ports that `keylane-engine` declares, and knows nothing of handlers,
//! manifests or components.

mod admin;
mod config;
mod context;
mod dead_letters;
mod error;
mod health;
mod intake;
mod native;
mod publisher;

pub use admin::{Admin, NewTopic, Topic};
pub use config::{ConsumerConfig, KafkaConfig, Start, refused_property};
pub use dead_letters::{KafkaDeadLetters, dead_letter_topic};
pub use error::KafkaError;
pub use health::{Health, PartitionFault};
pub use intake::{Farewell, Intake};
pub use publisher::KafkaPublisher;
