//! What an owner tells of its partition, in a form that travels through the admin port. It shows keys and
//! error messages, never values.

use serde::{Deserialize, Serialize};

/// The most waiting lanes that one status lists.
pub const WAITING_TOLD_MAX: usize = 50;

/// One partition of one handler at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionStatus {
    /// `running`, `draining`, `drained` or `halted`.
    pub phase: String,
    /// Why the partition begins nothing more, if it is halted.
    pub halted: Option<String>,
    /// Every event below this offset has ended.
    pub watermark: i64,
    /// The offset after the last one that the owner has taken in.
    pub next: i64,
    /// Records between the watermark and the newest arrival.
    pub gap_records: usize,
    /// The length of the commit's payload, of [`crate::PAYLOAD_UNITS_MAX`].
    pub gap_units: usize,
    /// How the handler's database stands, where it has a write database.
    #[serde(default)]
    pub claims: Option<ClaimsStatus>,
    /// Whether more records are taken in.
    pub admits: bool,
    /// Why not; and that the commit tells less than has ended, where it was cut.
    pub why_not: Option<String>,
    /// The event that holds the watermark.
    pub blocking: Option<Blocking>,
    /// Records delivered and not ended.
    pub buffered_records: usize,
    /// Their weight in bytes.
    pub buffered_bytes: usize,
    /// How many lanes are in each state.
    pub lanes: Lanes,
    /// How long the oldest run has been out, in milliseconds.
    pub oldest_run_ms: Option<u64>,
    /// Lanes whose head waits, by offset; at most [`WAITING_TOLD_MAX`].
    pub waiting: Vec<LaneStatus>,
    /// How many more there are.
    pub waiting_more: usize,
}

/// What the handler's database keeps of a partition's progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimsStatus {
    /// The watermark as the database knows it.
    pub floor: i64,
    /// Claims above it, as far as this owner knows.
    pub above_floor: usize,
}

/// The event that holds the watermark.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blocking {
    /// Its offset.
    pub offset: i64,
    /// Its key, printable; none where the record has none.
    pub key: Option<String>,
}

/// How many lanes are in each state, and how many runs are out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Lanes {
    /// They wait for a slot.
    pub ready: usize,
    /// Events of theirs are in a run.
    pub running: usize,
    /// Their head waits for its next attempt.
    pub parked: usize,
    /// Their head waits for an operator.
    pub paused: usize,
    /// Their head is on its way to the dead letters.
    pub burying: usize,
    /// An operator gave their head up, and that is being written down.
    #[serde(default)]
    pub skipping: usize,
    /// Runs that are out.
    pub runs: usize,
}

/// A lane whose head waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneStatus {
    /// The head's offset: the name by which an operator resumes or skips it.
    pub offset: i64,
    /// The key, printable; none where the record has none.
    pub key: Option<String>,
    /// `parked`, `paused`, `burying` or `skipping`.
    pub state: String,
    /// Attempts that failed.
    pub attempts: u32,
    /// When the next attempt may begin, in milliseconds from now, if it is parked.
    pub next_try_in_ms: Option<u64>,
    /// The class of its last failure.
    pub class: Option<String>,
    /// The message of its last failure, capped by whoever made it.
    pub error: Option<String>,
    /// Events in the lane, the head counted.
    pub queued: usize,
}
