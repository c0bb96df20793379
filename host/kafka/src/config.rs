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

/// One handler's consumer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerConfig {
    /// The consumer group, `<fleet>.<handler>`.
    pub group: String,
    /// What it reads.
    pub topics: Vec<String>,
    /// Where it starts the first time.
    pub start: Start,
    /// Time between two commits. A crash repeats what ended since the last one.
    pub commit_interval: Duration,
    /// How long a revoked partition may take to finish what runs, before it is given up.
    pub drain_limit: Duration,
    /// Prefetched records of one partition, in KiB. Counted per partition: 100 partitions may hold
    /// 100 times as much.
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
            start: Start::Earliest,
            commit_interval: Duration::from_millis(500),
            drain_limit: Duration::from_secs(3),
            prefetch_kib: 4 * 1024,
            prefetch_records: 10_000,
            assignment_notice: Duration::from_secs(10),
        }
    }
}

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
const LOADS_CODE: &str = "it would load code into the host";

/// What keylane sets itself, with the reason told when somebody else tries to.
const REFUSED: &[(&str, &str)] = &[
    ("bootstrap.servers", BROKERS),
    ("metadata.broker.list", BROKERS),
    ("client.id", "it is made from the fleet's name"),
    ("group.id", "it is made from the fleet and the handler's name"),
    ("group.protocol", SAFETY),
    ("group.instance.id", "all handlers share these properties, and a group allows each name once"),
    ("partition.assignment.strategy", SAFETY),
    ("enable.auto.commit", SAFETY),
    ("auto.commit.enable", SAFETY),
    ("auto.commit.interval.ms", SAFETY),
    ("enable.auto.offset.store", SAFETY),
    ("auto.offset.reset", "use the handler's `start`; a lost position must stop a partition loudly"),
    ("isolation.level", SAFETY),
    ("enable.partition.eof", SAFETY),
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

    pub(crate) fn consumer(&self, consumer: &ConsumerConfig) -> ClientConfig {
        let mut config = self.base(&[]);
        config.set("group.id", &consumer.group);
        config.set("partition.assignment.strategy", "cooperative-sticky");
        config.set("enable.auto.commit", "false");
        config.set("enable.auto.offset.store", "false");
        config.set("auto.offset.reset", "error");
        config.set("isolation.level", "read_committed");
        config.set("check.crcs", "true");
        config.set("allow.auto.create.topics", "false");
        config.set("fetch.queue.backoff.ms", "10");
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

#[cfg(test)]
mod tests {
    use super::*;

    fn with(key: &str, value: &str) -> KafkaConfig {
        let mut config = KafkaConfig::new("localhost:9092");
        config.properties.insert(key.to_owned(), value.to_owned());
        config
    }

    #[test]
    fn what_keylane_sets_itself_is_refused_by_name() {
        for (key, _) in REFUSED {
            let told = with(key, "1").check().unwrap_err().to_string();
            assert!(told.contains(&format!("{key:?} cannot be set")), "{told}");
        }
    }

    #[test]
    fn every_property_keylane_sets_is_refused() {
        let config = KafkaConfig::new("localhost:9092");
        let may_change = [
            "topic.metadata.refresh.interval.ms",
            "socket.keepalive.enable",
            "compression.type",
            "linger.ms",
        ];
        let consumer = config.consumer(&ConsumerConfig::new("g", vec!["t".to_owned()]));
        for key in consumer.config_map().keys().chain(config.producer().config_map().keys()) {
            assert!(may_change.contains(key) || REFUSED.iter().any(|(refused, _)| refused == key), "{key}");
        }
    }

    #[test]
    fn an_unknown_property_is_named_without_its_value() {
        let told = with("sasl.pasword", "s3cret").check().unwrap_err().to_string();
        assert!(told.contains("sasl.pasword") && !told.contains("s3cret"), "{told}");
    }

    #[test]
    fn security_properties_pass() {
        let mut config = with("security.protocol", "sasl_ssl");
        config.properties.insert("sasl.mechanism".to_owned(), "SCRAM-SHA-512".to_owned());
        config.properties.insert("sasl.username".to_owned(), "app".to_owned());
        config.properties.insert("sasl.password".to_owned(), "s3cret".to_owned());
        config.check().unwrap();
        assert!(!format!("{config:?}").contains("s3cret"));
    }

    #[test]
    fn an_operators_property_wins_over_a_default() {
        assert_eq!(with("linger.ms", "7").producer().get("linger.ms"), Some("7"));
    }
}
