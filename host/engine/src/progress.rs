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
    /// What has ended above it, for the commit's metadata; or, where the commit is a report, which database
    /// knows.
    pub payload: Arc<str>,
    /// The assignment that it was made under.
    pub token: Token,
    /// Whether the payload tells less than there is, because not all of it fits.
    pub truncated: bool,
}

/// Makes the progress of one assignment.
pub(crate) struct ProgressMaker {
    token: Token,
    /// The payload that tells of no gap, which is nearly every payload.
    empty: Arc<str>,
    truth: Truth,
}

/// Where progress is read from when the partition is taken again.
enum Truth {
    /// From the group's commit, which tells of gaps.
    Group(TopicId),
    /// From the handler's database. The commit is a report of the watermark, for lag and tools.
    Database,
}

impl ProgressMaker {
    /// Where the group's commit is the truth.
    pub(crate) fn of_group(token: Token, topic_id: TopicId) -> Self {
        Self { token, empty: payload::without_gap(topic_id).into(), truth: Truth::Group(topic_id) }
    }

    /// Where the database with this id has the truth.
    pub(crate) fn beside(database: &str, token: Token) -> Self {
        Self { token, empty: payload::payload_beside(database), truth: Truth::Database }
    }

    /// Whether a gap is part of the progress.
    pub(crate) fn tells_gaps(&self) -> bool {
        matches!(self.truth, Truth::Group(_))
    }

    /// The progress of a partition where nothing above the watermark has ended, or nothing is told of it.
    pub(crate) fn without_gap(&self, watermark: i64) -> Progress {
        Progress { offset: watermark, payload: self.empty.clone(), token: self.token, truncated: false }
    }

    /// The one place where offset and payload come together: both are of the same gap set.
    pub(crate) fn of(&self, gap: &GapSet) -> Progress {
        let Truth::Group(topic_id) = self.truth else { return self.without_gap(gap.base) };
        let (payload, truncated) = payload::payload_of(gap, topic_id);
        Progress { offset: gap.base, payload, token: self.token, truncated }
    }

    /// The same of a gap set that does not fit, where what was `told` before is not to be left out, and what it
    /// tells of. None where that does not fit either.
    pub(crate) fn keeping(&self, gap: &GapSet, told: &GapSet) -> Option<(Progress, GapSet)> {
        let Truth::Group(topic_id) = self.truth else { return None };
        let (payload, told) = payload::payload_keeping(gap, told, topic_id)?;
        Some((Progress { offset: gap.base, payload, token: self.token, truncated: true }, told))
    }
}
