//! Kafka, and the only room that knows a Kafka client: intake, commits, producing, dead letters and
//! topic administration.
//!
//! - [`Intake`] is one handler's consumer: one thread that polls, hands batches to the partitions'
//!   owners, and commits how far they are.
//! - [`KafkaPublisher`] is the idempotent producer behind the engine's `Publisher` port.
//! - [`KafkaDeadLetters`] writes dead letters, byte for byte, beside the topic they came from.
//! - [`Dlq`] counts and shows them, and redrives them through the handler's retry topics.
//! - [`KafkaRelay`] is the way to Kafka of a database's outbox.
//! - [`Admin`] finds, checks and creates topics, and waits for brokers that do not answer.
//! - [`KafkaConfig`] and [`ConsumerConfig`] say how.
//!
//! Arrows: this room implements ports that `keylane-engine` declares, and knows nothing of handlers,
//! manifests or components.

mod admin;
mod boot_clock;
mod config;
mod context;
mod cuts;
mod dead_letters;
mod dlq;
mod error;
mod health;
mod intake;
#[cfg(test)]
#[path = "../tests/support/meters.rs"]
mod meters;
mod native;
mod open_topics;
mod publisher;
mod redrive;
mod relay;
mod transaction;

pub use admin::{Admin, NewTopic, Topic};
pub use boot_clock::BootTime;
pub use config::{ConsumerConfig, GroupProtocol, KafkaConfig, Lost, Start, refused_property};
pub use dead_letters::{
    DeadLetterOptions, HeaderProfile, KafkaDeadLetters, Origin, Story, dead_letter_topic, letter_record,
    retry_topic,
};
pub use dlq::{Dlq, Letter, LetterFilter, LetterPlace, PartitionLetters};
pub use error::KafkaError;
pub use health::{Health, PartitionFault};
pub use intake::{Farewell, Intake, Looker, PartitionLook, Pulse};
pub use publisher::KafkaPublisher;
pub use redrive::{PartitionRedrive, REDRIVES_MAX, RedriveOptions, RedriveReport};
pub use relay::KafkaRelay;
