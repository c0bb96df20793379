//! The plan: what a host file and its manifests mean for each room, as the rooms' own options.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use keylane_capability::{
    CapabilityError, CapabilityLimits, DatabaseConfig, HostResources, Mailer, SmtpConfig, SmtpSecurity,
    Synchronous,
};
use keylane_deployment::{self as manifest, Caps, Manifest, NullKeys, Order};
use keylane_engine::{
    ClassCaps, Filter, Flood, HandlerOptions, HostBudget, InboxLimits, LaneRule, Policy, Publisher, Then,
    Untyped,
};
use keylane_kafka::{ConsumerConfig, DeadLetterOptions, HeaderProfile, KafkaConfig, Lost, Start};

use crate::config::{Database, GroupProtocol, Handler, HostConfig, HostLimits, Mail, Membership, Smtp, Tls};

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

/// What a handler's group reads, from where, and as what kind of member.
pub(crate) fn consumer(
    config: &HostConfig,
    manifest: &Manifest,
    retry_topics: Vec<String>,
) -> ConsumerConfig {
    let Membership { protocol, instance, session_timeout } = &config.kafka.membership;
    let subscribe = &manifest.subscribe;
    ConsumerConfig {
        retry_topics,
        start: match subscribe.start {
            manifest::Start::Earliest => Start::Earliest,
            manifest::Start::Latest => Start::Latest,
            manifest::Start::Timestamp(at_ms) => Start::TimestampMs(at_ms),
        },
        lost: match subscribe.lost {
            manifest::Lost::Stop => Lost::Stop,
            manifest::Lost::GoOn => Lost::GoOn,
        },
        group_protocol: match protocol {
            GroupProtocol::Classic => keylane_kafka::GroupProtocol::Classic,
            GroupProtocol::Consumer => keylane_kafka::GroupProtocol::Consumer,
        },
        instance: instance.clone(),
        session_timeout: *session_timeout,
        drain_limit: config.limits.revoke_drain,
        ..ConsumerConfig::new(manifest.group(&config.fleet), subscribe.topics.clone())
    }
}

/// Where a handler's dead letters go, and how they are marked.
pub(crate) fn dead_letters(fleet: &str, manifest: &Manifest, revision: &str) -> DeadLetterOptions {
    DeadLetterOptions {
        topic: manifest.dead_letters.topic.clone(),
        profile: match manifest.dead_letters.headers {
            manifest::HeaderProfile::Keylane => HeaderProfile::Keylane,
            manifest::HeaderProfile::Spring => HeaderProfile::Spring,
            manifest::HeaderProfile::Connect => HeaderProfile::Connect,
        },
        ..DeadLetterOptions::new(&manifest.name, manifest.group(fleet), revision)
    }
}

/// How a handler's events are delivered.
pub(crate) fn engine(manifest: &Manifest, limits: HostLimits, budget: Arc<HostBudget>) -> HandlerOptions {
    let (subscribe, delivery) = (&manifest.subscribe, &manifest.delivery);
    HandlerOptions {
        name: manifest.name.clone(),
        filter: Filter {
            types: subscribe.events.iter().cloned().collect(),
            type_header: subscribe.type_header.clone(),
            untyped: match subscribe.untyped {
                manifest::Untyped::Handle => Untyped::Handle,
                manifest::Untyped::Skip => Untyped::Skip,
                manifest::Untyped::DeadLetter => Untyped::DeadLetter,
            },
        },
        lanes: match (delivery.order, delivery.null_keys) {
            (Order::Key, NullKeys::Unordered) => LaneRule::Key,
            (Order::Key, NullKeys::Ordered) => LaneRule::KeyAndNull,
            (Order::Partition, _) => LaneRule::Partition,
            (Order::None, _) => LaneRule::None,
        },
        policy: policy(manifest),
        slots: slots(manifest),
        inbox: InboxLimits { records: limits.partition_records, bytes: limits.partition_bytes },
        budget,
        stuck_after: manifest.limits.stuck_after,
    }
}

/// Attempts, waits and the last step.
fn policy(manifest: &Manifest) -> Policy {
    let delivery = &manifest.delivery;
    let Caps { retry, trap, timeout, memory, effects } = delivery.caps;
    Policy {
        attempts_max: delivery.attempts,
        caps: ClassCaps { retry, trap, timeout, memory, effects },
        age_max_ms: delivery.max_age.map(millis),
        backoff_ms: millis(delivery.backoff),
        backoff_max_ms: millis(delivery.backoff_max),
        then: match delivery.then {
            manifest::Then::DeadLetter => Then::DeadLetter,
            manifest::Then::PauseLane => Then::PauseLane,
            manifest::Then::Stop => Then::Stop,
        },
        flood: delivery
            .flood
            .map(|flood| Flood { window_events: flood.events, share_percent: flood.share_percent }),
        run_events_max: manifest.limits.run_events,
        slice_ms: millis(manifest.limits.slice),
        ..Policy::default()
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

#[cfg(test)]
mod tests;
