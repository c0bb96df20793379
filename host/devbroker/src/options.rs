//! What can be asked of the broker, and every bound it keeps.

use std::path::PathBuf;

/// How a [`Broker`](crate::Broker) is to run. The address is always 127.0.0.1.
#[derive(Debug, Clone)]
pub struct BrokerOptions {
    /// TCP port on loopback; 0 takes any free one.
    pub port: u16,
    /// Folder for topics and offsets; `None` keeps everything in memory.
    pub data: Option<PathBuf>,
    /// Partitions of a topic that is created without a number, as Kafka's `num.partitions`.
    pub default_partitions: i32,
    /// Whether a metadata request may create a topic (the client must allow it as well).
    pub auto_create_topics: bool,
    /// How long an empty group waits for more members before its first assignment, in milliseconds.
    pub first_rebalance_delay_ms: u64,
    /// The shortest session timeout a member may ask for, in milliseconds (Kafka: 6,000).
    pub min_session_timeout_ms: u64,
    /// The bounds.
    pub limits: Limits,
}

impl Default for BrokerOptions {
    fn default() -> Self {
        Self {
            port: 0,
            data: None,
            default_partitions: 1,
            auto_create_topics: true,
            first_rebalance_delay_ms: 100,
            min_session_timeout_ms: 6_000,
            limits: Limits::default(),
        }
    }
}

/// Every bound of the broker. What would pass one is refused with an error and a log line.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of batches in one partition.
    pub partition_bytes: u64,
    /// Bytes of batches in the whole broker. They are held in memory, with a data folder too.
    pub total_bytes: u64,
    /// Connections at the same time; one more is closed at once.
    pub connections: usize,
    /// Topics.
    pub topics: usize,
    /// Partitions of all topics together.
    pub partitions: usize,
    /// Consumer groups.
    pub groups: usize,
    /// Members of one group, those that have not joined yet included.
    pub group_members: usize,
    /// Bytes of one produce request.
    pub frame_bytes: usize,
    /// Bytes of any other request.
    pub control_frame_bytes: usize,
    /// Array elements in one request: the codec allocates by them.
    pub request_elements: usize,
    /// Bytes of one batch where the topic does not set `max.message.bytes` (Kafka: 1,048,588).
    pub message_bytes: usize,
    /// Bytes of batches in one fetch response (the first batch is always given whole).
    pub fetch_bytes: usize,
    /// Idempotent producers remembered per partition; the one that wrote longest ago is forgotten.
    pub partition_producers: usize,
    /// Transactional ids that are known; of those without an open transaction the idlest is forgotten.
    pub transactional_producers: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            partition_bytes: 256 << 20,
            total_bytes: 1 << 30,
            connections: 256,
            topics: 512,
            partitions: 4_096,
            groups: 256,
            group_members: 64,
            frame_bytes: 16 << 20,
            control_frame_bytes: 1 << 20,
            request_elements: 100_000,
            message_bytes: 1_048_588,
            fetch_bytes: 55 << 20,
            partition_producers: 1_000,
            transactional_producers: 1_000,
        }
    }
}
