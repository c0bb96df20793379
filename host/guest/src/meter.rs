//! The meter of a guest's own time.
//!
//! Wall time of the call, less the time of host calls, less the time the guest stood aside for other tasks.
//! Only one task touches a meter at a time (it belongs to one instance); it is shared between that
//! instance and the epoch callback of its store, hence the atomics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Measures one call after another.
#[derive(Debug)]
pub(crate) struct Meter {
    made: Instant,
    /// When the current call began, counted from `made`.
    begun_ns: AtomicU64,
    /// Time since then that was not the guest's.
    others_ns: AtomicU64,
}

impl Meter {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { made: Instant::now(), begun_ns: AtomicU64::new(0), others_ns: AtomicU64::new(0) })
    }

    /// A new call begins.
    pub(crate) fn begin(&self) {
        self.begun_ns.store(nanoseconds(self.made.elapsed()), Ordering::Relaxed);
        self.others_ns.store(0, Ordering::Relaxed);
    }

    /// This much of the call was not the guest's time.
    pub(crate) fn exclude(&self, time: Duration) {
        self.others_ns.fetch_add(nanoseconds(time), Ordering::Relaxed);
    }

    /// The guest's own time since the call began.
    pub(crate) fn own_time(&self) -> Duration {
        let not_own_ns =
            self.begun_ns.load(Ordering::Relaxed).saturating_add(self.others_ns.load(Ordering::Relaxed));
        self.made.elapsed().saturating_sub(Duration::from_nanos(not_own_ns))
    }

    /// Lets the other tasks of this thread run, and does not charge the guest for it. The runtime's own
    /// yield also looks at timers and sockets, which a plain wake-up would starve.
    pub(crate) async fn stand_aside(self: Arc<Self>) {
        let since = Instant::now();
        tokio::task::yield_now().await;
        self.exclude(since.elapsed());
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excluded_time_is_not_the_guests() {
        let meter = Meter::new();
        meter.begin();
        std::thread::sleep(Duration::from_millis(20));
        assert!(meter.own_time() >= Duration::from_millis(20));
        meter.exclude(Duration::from_secs(3600));
        assert_eq!(meter.own_time(), Duration::ZERO);
        meter.begin();
        std::thread::sleep(Duration::from_millis(1));
        assert!(
            meter.own_time() >= Duration::from_millis(1),
            "what was excluded from one call helps no other"
        );
    }
}
