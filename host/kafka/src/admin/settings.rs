//! Settings of topics, as the brokers tell them.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, ConfigResource, OwnedResourceSpecifier, ResourceSpecifier};
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode as Code};

use crate::context::Listener;

/// The largest batch of a topic, and so the largest record: Kafka's name for it.
pub(crate) const RECORD_BYTES: &str = "max.message.bytes";
/// What happens to old records: Kafka's name for it.
pub(crate) const CLEANUP: &str = "cleanup.policy";

/// What keylane needs to know of a topic's settings. Each is missing where the broker does not tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Settings {
    /// The largest batch it takes, in bytes.
    pub(crate) record_bytes: Option<usize>,
    /// Whether a newer record of a key replaces older ones.
    pub(crate) is_compacted: bool,
    /// Whether records go when they are old, or when there are too many.
    pub(crate) is_deleted: bool,
}

/// Asks once for the settings of topics. Those that the brokers do not tell, because they are not there or
/// we may not see them, are left out. The client lives for this call only: it is asked once per topic.
pub(crate) async fn topic_settings(
    config: &ClientConfig,
    names: &[String],
    limit: Duration,
) -> Result<BTreeMap<String, Settings>, ClientError> {
    if names.is_empty() {
        return Ok(BTreeMap::new());
    }
    let admin: AdminClient<Listener> = config.create_with_context(Listener::default())?;
    let topics: Vec<ResourceSpecifier<'_>> =
        names.iter().map(|name| ResourceSpecifier::Topic(name.as_str())).collect();
    let options = AdminOptions::new().request_timeout(Some(limit));
    let told = admin.describe_configs(&topics, &options).await;
    // Its end joins a thread, which is not for a task to wait for.
    tokio::task::spawn_blocking(move || drop(admin));
    let told = match told {
        // A broker that knows no such question.
        Err(ClientError::AdminOp(Code::UnsupportedFeature)) => Vec::new(),
        told => told?,
    };
    Ok(told.into_iter().filter_map(Result::ok).filter_map(read).collect())
}

fn read(resource: ConfigResource) -> Option<(String, Settings)> {
    let value = |name: &str| resource.get(name)?.value.as_deref();
    let cleans_up =
        |by: &str| value(CLEANUP).is_some_and(|policy| policy.split(',').any(|one| one.trim() == by));
    let settings = Settings {
        record_bytes: value(RECORD_BYTES).and_then(|bytes| bytes.parse().ok()),
        is_compacted: cleans_up("compact"),
        is_deleted: cleans_up("delete"),
    };
    match resource.specifier {
        OwnedResourceSpecifier::Topic(name) => Some((name, settings)),
        _ => None,
    }
}
