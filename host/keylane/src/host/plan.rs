//! The plan: what a host file and its manifests mean for each room, as the rooms' own options.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use keylane_capability::{
    CapabilityError, CapabilityLimits, HostResources, Mailer, OpenDatabase, SmtpConfig, SmtpSecurity,
};
use keylane_deployment::{self as manifest, Caps, DeploymentError, Manifest, NullKeys, Order};
use keylane_effects::{DatabaseConfig, Isolation, Synchronous};
use keylane_engine::{
    ClassCaps, Filter, Flood, HandlerOptions, HostBudget, InboxLimits, LaneRule, Policy, Publisher, Then,
    Untyped,
};
use keylane_kafka::{ConsumerConfig, DeadLetterOptions, HeaderProfile, KafkaConfig, Lost, Start};

use crate::config::{
    Address, Database, GroupProtocol, Handler, HostConfig, HostLimits, Mail, Membership, Secret, Smtp, Tls,
    Value,
};

/// The longest that the database waits for a lock that another process holds.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(5);
/// The shortest. PostgreSQL takes nothing at all for without end.
const LOCK_WAIT_LEAST: Duration = Duration::from_millis(1);
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
        cut_interval: manifest.delivery.transaction_interval,
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
pub(crate) fn engine(handler: &Handler, limits: HostLimits, budget: Arc<HostBudget>) -> HandlerOptions {
    let manifest = &handler.manifest;
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
        slots: slots(handler),
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

/// Runs at once. Each run holds one connection of the database that it writes to, of which SQLite has one:
/// a further run would only wait for another's end, so with fewer slots the runs are longer instead.
fn slots(handler: &Handler) -> usize {
    let written = handler.manifest.grants.write_database().and_then(|grant| handler.databases.get(grant));
    let concurrency = handler.manifest.limits.concurrency;
    written.map_or(concurrency, |database| database.runs_max().min(concurrency))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What the host has to hand out to components.
///
/// # Errors
/// When a value of the configuration cannot be read.
pub(crate) fn resources(
    config: &HostConfig,
    databases: BTreeMap<String, BTreeMap<String, OpenDatabase>>,
    publisher: Arc<dyn Publisher>,
    mailer: Option<Arc<Mailer>>,
) -> anyhow::Result<HostResources> {
    Ok(HostResources {
        databases,
        publisher,
        mailer,
        config: config.handlers.iter().map(values).collect::<Result<_, _>>()?,
        limits: CapabilityLimits::default(),
    })
}

/// What this host says of a handler's configuration.
fn values(handler: &Handler) -> Result<(String, BTreeMap<String, String>), DeploymentError> {
    let read = |(name, value): (&String, &Value)| Ok((name.clone(), value.read()?));
    let values: Result<_, DeploymentError> = handler.values.iter().map(read).collect();
    Ok((handler.manifest.name.clone(), values?))
}

/// A database of a handler as its driver opens it. Reads the password, if it has one.
///
/// # Errors
/// When the password cannot be read.
pub(crate) fn database(handler: &Handler, database: &Database) -> anyhow::Result<DatabaseConfig> {
    let password = database.password.as_ref().map(Secret::read).transpose()?;
    let url = |address: &Address| match address {
        Address::Sqlite(file) => sqlite_url(file),
        Address::Postgres(url) => with_password(url, password.as_deref()),
    };
    let write = database.address().map(url).unwrap_or_default();
    Ok(DatabaseConfig {
        read: database.read.as_ref().map(url),
        isolation: match database.isolation {
            manifest::Isolation::Serializable => Isolation::Serializable,
            manifest::Isolation::ReadCommitted => Isolation::ReadCommitted,
        },
        synchronous: if database.every_commit_to_disk { Synchronous::Full } else { Synchronous::Normal },
        write_connections: database.write_connections,
        read_connections: database.read_connections,
        idle_in_transaction: database.idle_in_transaction,
        lock_wait: lock_wait(handler),
        ..DatabaseConfig::new(write)
    })
}

/// The URL of a file, in which its name means itself.
fn sqlite_url(file: &Path) -> String {
    format!("sqlite://{}", file.display().to_string().replace('%', "%25").replace('?', "%3F"))
}

/// How long the database waits for a lock. Well within one host call: a statement that came too late would be
/// the event's fault, a lock that was not to be had is nobody's.
fn lock_wait(handler: &Handler) -> Duration {
    LOCK_WAIT_MAX.min(handler.manifest.limits.host_call / 2).max(LOCK_WAIT_LEAST)
}

/// The URL with the password behind its user, each byte of it written so that it means itself.
fn with_password(url: &str, password: Option<&str>) -> String {
    let split = url.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.split_once('@')?)));
    let (Some((scheme, (user, host))), Some(password)) = (split, password) else { return url.to_owned() };
    let mut escaped = String::new();
    for byte in password.bytes() {
        match byte.is_ascii_alphanumeric() {
            true => escaped.push(char::from(byte)),
            false => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    format!("{scheme}://{user}:{escaped}@{host}")
}

/// What sends the mails of all handlers, if the host can send any.
///
/// # Errors
/// When mail cannot be set up.
pub(crate) fn mail(config: &HostConfig) -> anyhow::Result<Option<Arc<Mailer>>> {
    Ok(config.mail.as_ref().map(mailer).transpose()?.map(Arc::new))
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
