//! What a runner asks between the events of a run: whether it may begin the next one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::assignment::TopicId;
use crate::claims::Fence;
use crate::lease::Lease;

/// The leave of one run to go on. The first event of a run always begins, so that a run gets somewhere;
/// before each further one the runner asks.
#[derive(Clone)]
pub struct RunControl {
    begun: Instant,
    bounds: Option<Bounds>,
    fence: Option<Fence>,
    topic_id: TopicId,
}

#[derive(Clone)]
struct Bounds {
    slice: Duration,
    stop: Arc<AtomicBool>,
    lease: Arc<Lease>,
}

impl RunControl {
    /// The control of a run that begins now and may use `slice`, unless `stop` is set or the lease runs out.
    #[must_use]
    pub fn new(slice: Duration, stop: Arc<AtomicBool>, lease: Arc<Lease>) -> Self {
        Self { bounds: Some(Bounds { slice, stop, lease }), ..Self::unlimited() }
    }

    /// A control that never says no, for those who test a runner.
    #[must_use]
    pub fn unlimited() -> Self {
        Self { begun: Instant::now(), bounds: None, fence: None, topic_id: TopicId::UNKNOWN }
    }

    /// The same for a run that writes under this fence.
    #[must_use]
    pub fn under(self, fence: Option<Fence>) -> Self {
        Self { fence, ..self }
    }

    /// The same for events of the topic with this id.
    #[must_use]
    pub fn of_topic(self, topic_id: TopicId) -> Self {
        Self { topic_id, ..self }
    }

    /// The same for a run that is undone and done once more: its slice begins anew.
    #[must_use]
    pub fn again(&self) -> Self {
        Self { begun: Instant::now(), ..self.clone() }
    }

    /// What the run's transaction must hold, for a handler with a write database.
    #[must_use]
    pub fn fence(&self) -> Option<Fence> {
        self.fence
    }

    /// The id of the topic that the run's events come from.
    #[must_use]
    pub fn topic_id(&self) -> TopicId {
        self.topic_id
    }

    /// Whether another event may begin: the slice is not used up, no drain was asked for, and the lease
    /// holds. What has not begun is answered with [`crate::Outcome::NotStarted`].
    #[must_use]
    pub fn may_begin_next(&self) -> bool {
        self.bounds.as_ref().is_none_or(|bounds| {
            !bounds.stop.load(Ordering::Acquire)
                && self.begun.elapsed() < bounds.slice
                && bounds.lease.holds()
        })
    }
}
