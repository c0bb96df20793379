//! What is deployed: a handler's manifest, read in two steps (the file as it is written, then the checked
//! [`Manifest`]), and the reading of configuration files in general: unknown keys are refused with the
//! nearest known one, and every error names the file, the line and the key.

mod bounds;
mod check;
mod document;
mod error;
mod explain;
mod hosts;
mod manifest;
mod names;
mod quantity;
mod raw;
mod start;

pub use bounds::{Bounds, Quantity};
pub use document::Document;
pub use error::{DeploymentError, Place};
pub use hosts::HttpHost;
pub use manifest::{
    Access, Caps, ConfigGrant, DeadLetters, Delivery, Flood, Grants, Guarantee, HeaderProfile, HttpGrant,
    Isolation, KeyValueGrant, Limits, LoggingGrant, Lost, MailGrant, Manifest, NullKeys, Order,
    ProducerGrant, SqlGrant, Start, Subscribe, Then, Untyped,
};
pub use names::{NAME_CHARACTERS_MAX, config_value_problem, name_problem, topic_problem};
pub use quantity::{Count, Size, Time};
pub use start::moment_ms;
