//! The plan: what a host file and its manifests mean for each room, as the rooms' own options.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use keylane_capability::{
    CapabilityError, CapabilityLimits, DatabaseConfig, HostResources, Mailer, SmtpConfig, SmtpSecurity,
    Synchronous,
};
use keylane_deployment::{Manifest, NullKeys, Order, Start as ManifestStart, Untyped as ManifestUntyped};
use keylane_engine::{Filter, HandlerOptions, InboxLimits, LaneRule, Policy, Publisher, Untyped};
use keylane_kafka::{ConsumerConfig, KafkaConfig, Start};

use crate::config::{Database, Handler, HostConfig, HostLimits, Mail, Smtp, Tls};

/// The longest one mail may take.
const MAIL_LIMIT: Duration = Duration::from_secs(30);

/// How the host reaches Kafka.
pub(crate) fn kafka(config: &HostConfig) -> KafkaConfig {
    KafkaConfig {
        bootstrap: config.kafka.brokers.clone(),
        properties: config.kafka.properties.clone(),
        client_id: format!("keylane-{}", config.fleet),
    }
}

/// What a handler's group reads, and from where.
pub(crate) fn consumer(fleet: &str, manifest: &Manifest) -> ConsumerConfig {
    let start = match manifest.subscribe.start {
        ManifestStart::Earliest => Start::Earliest,
        ManifestStart::Latest => Start::Latest,
        ManifestStart::Timestamp(at_ms) => Start::TimestampMs(at_ms),
    };
    ConsumerConfig { start, ..ConsumerConfig::new(manifest.group(fleet), manifest.subscribe.topics.clone()) }
}

/// How a handler's events are delivered.
pub(crate) fn engine(manifest: &Manifest, limits: HostLimits) -> HandlerOptions {
    let (subscribe, delivery) = (&manifest.subscribe, &manifest.delivery);
    HandlerOptions {
        name: manifest.name.clone(),
        filter: Filter {
            types: subscribe.events.iter().cloned().collect(),
            type_header: subscribe.type_header.clone(),
            untyped: match subscribe.untyped {
                ManifestUntyped::Handle => Untyped::Handle,
                ManifestUntyped::Skip => Untyped::Skip,
                ManifestUntyped::DeadLetter => Untyped::DeadLetter,
            },
        },
        lanes: match (delivery.order, delivery.null_keys) {
            (Order::Key, NullKeys::Unordered) => LaneRule::Key,
            (Order::Key, NullKeys::Ordered) => LaneRule::KeyAndNull,
            (Order::Partition, _) => LaneRule::Partition,
            (Order::None, _) => LaneRule::None,
        },
        policy: Policy {
            attempts_max: delivery.attempts,
            backoff_ms: millis(delivery.backoff),
            backoff_max_ms: millis(delivery.backoff_max),
            run_events_max: manifest.limits.run_events,
            ..Policy::default()
        },
        slots: slots(manifest),
        inbox: InboxLimits { records: limits.partition_records, bytes: limits.partition_bytes },
    }
}

/// Runs at once. SQLite has one writer, so a second run of its handler would only wait for the first:
/// with one slot the runs are longer instead.
fn slots(manifest: &Manifest) -> usize {
    if manifest.grants.sql.is_empty() { manifest.limits.concurrency } else { 1 }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What the host has to hand out to components.
///
/// # Errors
/// When mail cannot be set up.
pub(crate) fn resources(config: &HostConfig, publisher: Arc<dyn Publisher>) -> anyhow::Result<HostResources> {
    let databases = config.handlers.iter().map(|handler| (handler.manifest.name.clone(), databases(handler)));
    Ok(HostResources {
        databases: databases.collect(),
        publisher,
        mailer: config.mail.as_ref().map(mailer).transpose()?.map(Arc::new),
        limits: CapabilityLimits::default(),
    })
}

fn databases(handler: &Handler) -> BTreeMap<String, DatabaseConfig> {
    handler.databases.iter().map(|(grant, database)| (grant.clone(), database_config(database))).collect()
}

/// A database as the capability opens it.
pub(crate) fn database_config(database: &Database) -> DatabaseConfig {
    let synchronous = if database.every_commit_to_disk { Synchronous::Full } else { Synchronous::Normal };
    DatabaseConfig { synchronous, ..DatabaseConfig::sqlite(&database.file) }
}

fn mailer(mail: &Mail) -> anyhow::Result<Mailer> {
    match mail {
        Mail::Folder(folder) => Ok(Mailer::folder(folder)?),
        Mail::Smtp(server) => smtp(server),
    }
}

fn smtp(server: &Smtp) -> anyhow::Result<Mailer> {
    let login = server.login.as_ref();
    let credentials = login.map(|login| Ok::<_, anyhow::Error>((login.user.clone(), login.password.read()?)));
    let config = SmtpConfig {
        host: server.host.clone(),
        port: server.port,
        security: match server.tls {
            Tls::Implicit => SmtpSecurity::Tls,
            Tls::Starttls => SmtpSecurity::StartTls,
            Tls::None => SmtpSecurity::None,
        },
        credentials: credentials.transpose()?,
        timeout: MAIL_LIMIT,
    };
    Mailer::smtp(&config).map_err(|error: CapabilityError| error.into())
}
