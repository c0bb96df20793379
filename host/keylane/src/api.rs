//! What the admin port of a host and `keylane status` say to each other, as JSON.

use keylane_engine::PartitionStatus;
use serde::{Deserialize, Serialize};

/// The paths of the admin port that ask for the token.
pub(crate) mod path {
    /// GET: [`super::HostStatus`].
    pub(crate) const STATUS: &str = "/status";
    /// POST of a [`super::LaneCommand`]: a waiting lane goes on.
    pub(crate) const RESUME: &str = "/lanes/resume";
    /// POST of a [`super::LaneCommand`]: a waiting event is skipped.
    pub(crate) const SKIP: &str = "/lanes/skip";
}

/// A host at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HostStatus {
    /// The fleet it belongs to.
    pub(crate) fleet: String,
    /// Where it stands: starting, assigned, running, draining, stopped.
    pub(crate) phase: String,
    /// Its handlers, in the order of the host file.
    pub(crate) handlers: Vec<HandlerStatus>,
}

/// One handler of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HandlerStatus {
    /// Its name.
    pub(crate) name: String,
    /// How its consumer is doing, in a sentence.
    pub(crate) health: String,
    /// What the relay of its outbox does, in a sentence; none without a database that it writes to.
    #[serde(default)]
    pub(crate) relay: Option<String>,
    /// Its partitions in this host, by topic and number.
    pub(crate) partitions: Vec<PartitionReport>,
    /// Why they are not told, if they are not.
    pub(crate) silent: Option<String>,
}

/// One partition of a handler.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PartitionReport {
    /// Its topic.
    pub(crate) topic: String,
    /// Its number.
    pub(crate) partition: i32,
    /// Where the consumer stands with it: waiting, reading, faulted and the like.
    pub(crate) phase: String,
    /// Why it is not read any more.
    pub(crate) fault: Option<String>,
    /// The offset that the group has as committed.
    pub(crate) committed: Option<i64>,
    /// The offset after the last record there is.
    pub(crate) end: Option<i64>,
    /// Records that have not ended.
    pub(crate) lag: Option<u64>,
    /// What its owner says.
    pub(crate) owner: Option<PartitionStatus>,
    /// Why its owner says nothing, if there is one.
    pub(crate) silent: Option<String>,
}

/// What an operator wants of a lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LaneCommand {
    /// The handler.
    pub(crate) handler: String,
    /// The topic.
    pub(crate) topic: String,
    /// The partition's number.
    pub(crate) partition: i32,
    /// The event at the lane's head. To resume without one means every paused lane of the partition, and the
    /// partition itself if it is halted; to skip needs one.
    pub(crate) offset: Option<i64>,
}

/// The body of every answer that is not a yes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Refusal {
    /// What is wrong.
    pub(crate) error: String,
    /// What to do about it.
    pub(crate) hint: Option<String>,
}
