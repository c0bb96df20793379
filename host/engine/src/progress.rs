//! Progress: what a commit says of a partition, as one value.

use std::sync::Arc;

use keylane_lanes::GapSet;

use crate::assignment::{Token, TopicId};
use crate::payload;

/// How far a partition is: exactly what is committed to the group. The parts belong together and are made
/// together, here and nowhere else; a payload beside another offset than its own would tell of events
/// that never ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Every event below this offset has ended.
    pub offset: i64,
    /// What has ended above it, for the commit's metadata.
    pub payload: Arc<str>,
    /// The assignment that it was made under.
    pub token: Token,
    /// Whether the payload tells less than there is, because not all of it fits.
    pub truncated: bool,
}

/// Makes the progress of one assignment.
pub(crate) struct ProgressMaker {
    token: Token,
    topic_id: TopicId,
    /// The payload that tells of no gap, which is nearly every payload.
    empty: Arc<str>,
}

impl ProgressMaker {
    pub(crate) fn new(token: Token, topic_id: TopicId) -> Self {
        Self { token, topic_id, empty: payload::without_gap(topic_id).into() }
    }

    /// The progress of a partition where nothing above the watermark has ended.
    pub(crate) fn without_gap(&self, watermark: i64) -> Progress {
        Progress { offset: watermark, payload: self.empty.clone(), token: self.token, truncated: false }
    }

    /// The one place where offset and payload come together: both are of the same gap set.
    pub(crate) fn of(&self, gap: &GapSet) -> Progress {
        let (payload, truncated) = payload::payload_of(gap, self.topic_id);
        Progress { offset: gap.base, payload, token: self.token, truncated }
    }
}
