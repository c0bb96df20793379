//! An assignment: one ownership of one partition, from Kafka's yes to its revocation or loss.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use keylane_lanes::GapSet;

use crate::claims::Fence;
use crate::event::TopicPartition;
use crate::inbox::Wake;
use crate::lease::Lease;

/// One assignment of one partition in this process. A partition that is taken away and comes back gets
/// another token, so that nothing of the former assignment passes for the new one's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token(u64);

impl Token {
    /// A token that this process has not used before.
    #[must_use]
    pub fn fresh() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// The token of this number, for a simulation that counts its assignments itself so that a seed
    /// replays with the same tokens. Not to be mixed with [`Token::fresh`] in one process.
    #[must_use]
    pub fn numbered(number: u64) -> Self {
        Self(number)
    }
}

impl std::fmt::Display for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Kafka's own identity of a topic (KIP-516): a topic deleted and made again under its name has another.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicId([u8; 16]);

impl TopicId {
    /// Where a broker tells none.
    pub const UNKNOWN: Self = Self([0; 16]);

    /// The id with these bytes, in Kafka's order (most significant first).
    #[must_use]
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes, most significant first.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Whether the broker told one.
    #[must_use]
    pub fn is_known(&self) -> bool {
        *self != Self::UNKNOWN
    }

    /// Whether both are known and differ: what was noted under one says nothing of the other.
    #[must_use]
    pub fn contradicts(&self, other: &Self) -> bool {
        self.is_known() && other.is_known() && self != other
    }
}

/// As Kafka's own tools print it: URL-safe base64 without padding.
impl std::fmt::Display for TopicId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&crate::payload::text::encode(&self.0))
    }
}

impl std::fmt::Debug for TopicId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TopicId({self})")
    }
}

/// What an owner is started with.
pub struct Assignment {
    /// The partition.
    pub partition: TopicPartition,
    /// Which assignment of it this is.
    pub token: Token,
    /// What had ended before, from the group's commit ([`crate::restore`]) or from the handler's database.
    /// Reading starts at its base.
    pub restored: GapSet,
    /// The ownership in the handler's write database, where it has one.
    pub fence: Option<Fence>,
    /// For a handler in cuts, and for no other: events whose records the broker refused for good, by offset, with the
    /// reason. They have failed.
    pub refused: Option<BTreeMap<i64, String>>,
    /// The topic's id; part of every commit.
    pub topic_id: TopicId,
    /// The membership's proof of life; checked before each run.
    pub lease: Arc<Lease>,
    /// Called when a full inbox has room again. Must not block.
    pub wake: Wake,
}
