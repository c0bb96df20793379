//! What a runner asks between the events of a run: whether it may begin the next one.
//!
//! A run has a slice of time. What it waits for its database is left out of that, up to [`WAITED_MAX`]: where a
//! transaction is dear, short runs make it dearer. The other bounds count from outside, whatever a run waits
//! for: the lease and the wish to drain are asked before each event, an event has its own limits, and the
//! database's time-outs are for one wait or one idle session, not for a run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::assignment::TopicId;
use crate::claims::Fence;
use crate::lease::Lease;

/// How much of a run's waiting for its database is left out of its slice. So long, and a slice, it may keep its
/// locks and its connection before it begins no further event.
const WAITED_MAX: Duration = Duration::from_millis(500);

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

    /// The same for a run whose slice begins anew: its transaction has begun, or it is undone and done once more.
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
        self.may_begin_next_after(Duration::ZERO)
    }

    /// The same for a run that has waited so long for its database since its slice began.
    #[must_use]
    pub fn may_begin_next_after(&self, waited: Duration) -> bool {
        self.bounds.as_ref().is_none_or(|bounds| {
            !bounds.stop.load(Ordering::Acquire)
                && self.begun.elapsed() < bounds.slice.saturating_add(waited.min(WAITED_MAX))
                && bounds.lease.holds()
        })
    }

    /// What the time since the slice began counts for in the length of further runs, for
    /// [`crate::RunReport::spent`]: as many events fit into a slice by this as [`Self::may_begin_next_after`]
    /// would let begin.
    #[must_use]
    pub fn spent(&self, waited: Duration) -> Duration {
        let whole = self.begun.elapsed();
        let own = whole.saturating_sub(waited);
        let Some(Bounds { slice, .. }) = &self.bounds else { return own };
        let share = slice.as_secs_f64() / slice.saturating_add(WAITED_MAX).as_secs_f64();
        own.max(whole.mul_f64(share))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::BootClock;

    struct Stopped;

    impl BootClock for Stopped {
        fn now(&self) -> Duration {
            Duration::from_secs(1)
        }
    }

    const SLICE: Duration = Duration::from_millis(50);

    fn control() -> RunControl {
        let lease = Lease::new(Duration::from_secs(1), Arc::new(Stopped));
        lease.renew(lease.now());
        RunControl::new(SLICE, Arc::default(), Arc::new(lease))
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_waited_for_the_database_is_no_part_of_the_slice() {
        let control = control();
        tokio::time::advance(Duration::from_millis(300)).await;
        assert!(!control.may_begin_next());
        assert!(!control.may_begin_next_after(Duration::from_millis(250)), "50 ms are its own");
        assert!(control.may_begin_next_after(Duration::from_millis(251)));
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_is_bounded_too() {
        let control = control();
        tokio::time::advance(WAITED_MAX + SLICE).await;
        assert!(!control.may_begin_next_after(WAITED_MAX + SLICE));
        assert!(control.again().may_begin_next_after(Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn as_many_events_are_planned_as_may_begin() {
        let control = control();
        let (events, each) = (10, Duration::from_millis(20));
        tokio::time::advance(each * events).await;
        let planned = |waited| SLICE.as_secs_f64() / (control.spent(waited) / events).as_secs_f64();
        let whole = each * events;
        assert!((planned(whole) - 27.5).abs() < 0.1, "550 ms hold so many of 20 ms: {}", planned(whole));
        assert!((planned(whole / 2) - 5.0).abs() < 0.1, "10 ms of each are its own");
        assert!((planned(Duration::ZERO) - 2.5).abs() < 0.1);
        assert_eq!(RunControl::unlimited().again().spent(Duration::ZERO), Duration::ZERO);
    }
}
