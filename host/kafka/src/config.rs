//! How keylane talks to Kafka: what the operator may say, and what keylane keeps to itself.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::config::{ClientConfig, RDKafkaLogLevel};

use crate::error::KafkaError;

/// Where the brokers are and how to reach them. One for all clients of a host.
#[derive(Clone, PartialEq, Eq)]
pub struct KafkaConfig {
    /// Broker addresses, `host:port`, separated by commas.
    pub bootstrap: String,
    /// Properties handed to the client as they are: TLS, SASL, time-outs. See [`KafkaConfig::check`].
    pub properties: BTreeMap<String, String>,
    /// How the broker's own logs name this host.
    pub client_id: String,
}

/// Values may be secrets, so only the names of properties are shown.
impl std::fmt::Debug for KafkaConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaConfig")
            .field("bootstrap", &self.bootstrap)
            .field("client_id", &self.client_id)
            .field("properties", &self.properties.keys().collect::<Vec<_>>())
            .finish()
    }
}

/// Where a group starts that has never committed anything for a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At the oldest record.
    Earliest,
    /// After the newest record.
    Latest,
    /// At the first record of this time or later, in milliseconds since the Unix epoch.
    TimestampMs(i64),
}

/// How members of a group agree on who reads what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GroupProtocol {
    /// The members agree among themselves (cooperative-sticky, KIP-429). Every broker knows it.
    #[default]
    Classic,
    /// The coordinator decides (KIP-848): brokers from 4.0 on. The session time-out is the group's own.
    Consumer,
}

/// What happens when records were removed by retention before they were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lost {
    /// The partition stops until an operator decides.
    #[default]
    Stop,
    /// It is said and counted, and the partition goes on with the oldest record there is.
    GoOn,
}

/// One handler's consumer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerConfig {
    /// The consumer group, `<fleet>.<handler>`.
    pub group: String,
    /// What it reads.
    pub topics: Vec<String>,
    /// What it reads beside them: records that were sent once more, for this handler alone. Always from
    /// the oldest on, whatever `start` says.
    pub retry_topics: Vec<String>,
    /// Where it starts the first time.
    pub start: Start,
    /// What happens when records were lost to retention.
    pub lost: Lost,
    /// How the group's members agree.
    pub group_protocol: GroupProtocol,
    /// This host's name in the group, if it is a static member (KIP-345): it may restart within the
    /// session time-out and keeps its partitions.
    pub instance: Option<String>,
    /// The longest pause between two signs of life; never more than a third of the session time-out.
    pub heartbeat: Duration,
    /// How long a host that says nothing keeps its partitions. With [`GroupProtocol::Consumer`] the
    /// group's own time-out counts, and this one only where the coordinator does not tell it.
    pub session_timeout: Duration,
    /// Time between two commits. A crash repeats what ended since the last one.
    pub commit_interval: Duration,
    /// For a handler without a database whose records are committed together with its progress: the time
    /// between two of the transactions that do so. None for every other handler.
    pub cut_interval: Option<Duration>,
    /// How long a revoked partition may take to finish what runs, before it is given up.
    pub drain_limit: Duration,
    /// Prefetched records of one partition, in KiB. Counted per partition: 100 partitions may hold
    /// 100 times as much. How much it is the client tells in its statistics only, which nobody reads.
    pub prefetch_kib: u32,
    /// Prefetched records of one partition, in number: below it more is fetched.
    pub prefetch_records: u32,
    /// Time without any partition before it is said aloud.
    pub assignment_notice: Duration,
}

impl ConsumerConfig {
    /// The defaults for a group and its topics, from the oldest record on.
    #[must_use]
    pub fn new(group: impl Into<String>, topics: Vec<String>) -> Self {
        Self {
            group: group.into(),
            topics,
            retry_topics: Vec::new(),
            start: Start::Earliest,
            lost: Lost::default(),
            group_protocol: GroupProtocol::default(),
            instance: None,
            heartbeat: Duration::from_secs(3),
            session_timeout: Duration::from_secs(45),
            commit_interval: Duration::from_millis(500),
            cut_interval: None,
            drain_limit: Duration::from_secs(3),
            prefetch_kib: 4 * 1024,
            prefetch_records: 10_000,
            assignment_notice: Duration::from_secs(10),
        }
    }

    /// Everything it reads.
    pub(crate) fn all_topics(&self) -> impl Iterator<Item = &str> {
        self.topics.iter().chain(&self.retry_topics).map(String::as_str)
    }

    /// Where a topic starts the first time.
    pub(crate) fn start_of(&self, topic: &str) -> Start {
        if self.topics.iter().any(|source| source == topic) { self.start } else { Start::Earliest }
    }
}

/// The client leaves the group when its application has not polled for this long, in milliseconds; it
/// wants this to be no shorter than the session time-out.
const POLL_LIMIT_MS: u128 = 300_000;

/// The longest a record may wait for its acknowledgement, all client retries included.
pub(crate) const DELIVERY_LIMIT: Duration = Duration::from_secs(30);
/// The most that may be handed to the producer and not be acknowledged yet, in KiB.
pub(crate) const IN_FLIGHT_KIB: u32 = 32 * 1024;
/// The client's own queue: wider than [`IN_FLIGHT_KIB`], which is what stops a caller.
const PRODUCER_QUEUE_KIB: u32 = 2 * IN_FLIGHT_KIB;
/// Each record counts as 1 KiB at least, so no more than this can be in flight.
const PRODUCER_QUEUE_RECORDS: u32 = 2 * IN_FLIGHT_KIB;
/// The largest record the client lets through. The broker's own limit is the one that counts.
const RECORD_LIMIT_BYTES: u32 = 64 * 1024 * 1024;

const SAFETY: &str = "the delivery promise depends on it, so keylane sets it itself";
const BROKERS: &str = "write the brokers as `kafka.brokers`";
const PREFETCH: &str = "it counts per partition, so keylane bounds it itself";
const SESSION: &str = "keylane sets it by `kafka.session-timeout`";
const LOADS_CODE: &str = "it would load code into the host";

/// What keylane sets itself, with the reason told when somebody else tries to.
const REFUSED: &[(&str, &str)] = &[
    ("bootstrap.servers", BROKERS),
    ("metadata.broker.list", BROKERS),
    ("client.id", "it is made from the fleet's name"),
    ("group.id", "it is made from the fleet and the handler's name"),
    ("group.protocol", "write it as `kafka.group-protocol`"),
    ("group.instance.id", "write it as `kafka.instance`"),
    ("group.remote.assignor", SAFETY),
    ("session.timeout.ms", SESSION),
    ("heartbeat.interval.ms", SESSION),
    ("max.poll.interval.ms", SESSION),
    ("partition.assignment.strategy", SAFETY),
    ("enable.auto.commit", SAFETY),
    ("auto.commit.enable", SAFETY),
    ("auto.commit.interval.ms", SAFETY),
    ("enable.auto.offset.store", SAFETY),
    ("auto.offset.reset", "use the handler's `start`; a lost position must stop a partition loudly"),
    ("isolation.level", SAFETY),
    ("enable.partition.eof", SAFETY),
    ("topic.metadata.refresh.interval.ms", "keylane looks for changes of its topics every five seconds"),
    ("allow.auto.create.topics", "a mistyped topic must be an error, not a new topic"),
    ("fetch.queue.backoff.ms", "its default stalls catching up in steps of a second"),
    ("queued.max.messages.kbytes", PREFETCH),
    ("queued.min.messages", PREFETCH),
    ("enable.idempotence", SAFETY),
    ("enable.gapless.guarantee", SAFETY),
    ("transactional.id", SAFETY),
    ("acks", SAFETY),
    ("request.required.acks", SAFETY),
    ("max.in.flight", SAFETY),
    ("max.in.flight.requests.per.connection", SAFETY),
    ("partitioner", "one key must reach one partition beside producers of every language"),
    ("message.timeout.ms", SAFETY),
    ("delivery.timeout.ms", SAFETY),
    ("delivery.report.only.error", "an event is done when its records are acknowledged"),
    ("check.crcs", SAFETY),
    ("message.max.bytes", "the broker's own limit counts"),
    ("queue.buffering.max.messages", SAFETY),
    ("queue.buffering.max.kbytes", SAFETY),
    ("log.queue", SAFETY),
    ("plugin.library.paths", LOADS_CODE),
    ("ssl.engine.location", LOADS_CODE),
    ("sasl.kerberos.kinit.cmd", "it would run a command on the host"),
];

/// Why a property of the client cannot be set by an operator, if it cannot.
#[must_use]
pub fn refused_property(name: &str) -> Option<&'static str> {
    REFUSED.iter().find(|(refused, _)| *refused == name).map(|(_, reason)| *reason)
}

impl KafkaConfig {
    /// A configuration without further properties.
    #[must_use]
    pub fn new(bootstrap: impl Into<String>) -> Self {
        Self { bootstrap: bootstrap.into(), properties: BTreeMap::new(), client_id: "keylane".to_owned() }
    }

    /// Looks at every property, without connecting.
    ///
    /// # Errors
    /// The first property that keylane sets itself or that the client does not accept, by name.
    pub fn check(&self) -> Result<(), KafkaError> {
        for key in self.properties.keys() {
            if let Some(reason) = refused_property(key) {
                return Err(KafkaError::RefusedProperty { key: key.clone(), reason });
            }
        }
        self.base(&[])
            .create_native_config()
            .map(drop)
            .map_err(|error| KafkaError::from_creation(&self.bootstrap, error))
    }

    /// What every client has: addresses, a level for the log lines, and the operator's properties,
    /// which win over the defaults.
    fn base(&self, defaults: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("topic.metadata.refresh.interval.ms", "30000");
        config.set("socket.keepalive.enable", "true");
        config.extend(defaults.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        config.extend(self.properties.iter().map(|(key, value)| (key.clone(), value.clone())));
        config.set("bootstrap.servers", &self.bootstrap);
        config.set("client.id", &self.client_id);
        config.set_log_level(RDKafkaLogLevel::Info);
        config
    }

    /// A client that only looks: no group, and asking for a topic never creates it.
    pub(crate) fn onlooker(&self) -> ClientConfig {
        let mut config = self.base(&[]);
        config.set("allow.auto.create.topics", "false");
        config
    }

    /// A client that also reads, partition by partition, and commits nothing.
    pub(crate) fn reader(&self) -> ClientConfig {
        let mut config = self.onlooker();
        read_with_care(&mut config);
        config
    }

    pub(crate) fn consumer(&self, consumer: &ConsumerConfig) -> ClientConfig {
        let session_ms = consumer.session_timeout.as_millis();
        let mut config = self.base(&[]);
        config.set("group.id", &consumer.group);
        config.set("max.poll.interval.ms", session_ms.max(POLL_LIMIT_MS).to_string());
        match consumer.group_protocol {
            GroupProtocol::Classic => {
                let heartbeat_ms = consumer.heartbeat.as_millis().min(session_ms / 3);
                config.set("group.protocol", "classic");
                config.set("session.timeout.ms", session_ms.to_string());
                config.set("heartbeat.interval.ms", heartbeat_ms.to_string());
                config.set("partition.assignment.strategy", "cooperative-sticky");
                // See `intake::widths`: what the client finds out by itself it may find out too early.
                config.set("topic.metadata.refresh.interval.ms", "-1");
            }
            // Times and assignor are the coordinator's, and the client refuses others.
            GroupProtocol::Consumer => drop(config.set("group.protocol", "consumer")),
        }
        if let Some(instance) = &consumer.instance {
            config.set("group.instance.id", instance);
        }
        config.set("allow.auto.create.topics", "false");
        read_with_care(&mut config);
        config.set("queued.max.messages.kbytes", consumer.prefetch_kib.to_string());
        config.set("queued.min.messages", consumer.prefetch_records.to_string());
        config
    }

    pub(crate) fn producer(&self) -> ClientConfig {
        let mut config = self.base(&[("compression.type", "lz4"), ("linger.ms", "1")]);
        config.set("enable.idempotence", "true");
        config.set("acks", "all");
        config.set("partitioner", "murmur2_random");
        config.set("message.timeout.ms", DELIVERY_LIMIT.as_millis().to_string());
        config.set("message.max.bytes", RECORD_LIMIT_BYTES.to_string());
        config.set("queue.buffering.max.kbytes", PRODUCER_QUEUE_KIB.to_string());
        config.set("queue.buffering.max.messages", PRODUCER_QUEUE_RECORDS.to_string());
        config
    }
}

/// Whoever reads for keylane reads every committed record once and in order, is told where the log ends,
/// and is told of a position that is lost instead of being moved.
fn read_with_care(config: &mut ClientConfig) {
    config.set("enable.auto.commit", "false");
    config.set("enable.auto.offset.store", "false");
    config.set("auto.offset.reset", "error");
    config.set("enable.partition.eof", "true");
    config.set("isolation.level", "read_committed");
    config.set("check.crcs", "true");
    config.set("fetch.queue.backoff.ms", "10");
}

#[cfg(test)]
mod tests;
