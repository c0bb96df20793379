//! Time that an event spends inside host calls. It is the host's, never the guest's own.
//!
//! The instance's task writes, whoever watches its limits reads; nobody waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Adds up the time of host calls, the one under way included.
#[derive(Debug)]
pub struct HostClock {
    origin: Instant,
    spent_ns: AtomicU64,
    /// When the call under way began, in nanoseconds since `origin`; 0 when none is.
    entered_ns: AtomicU64,
}

impl HostClock {
    /// A clock at zero.
    pub(crate) fn new() -> Arc<Self> {
        let clock =
            Self { origin: Instant::now(), spent_ns: AtomicU64::new(0), entered_ns: AtomicU64::new(0) };
        Arc::new(clock)
    }

    /// Time spent in host calls since the last [`Self::take`], the one under way included.
    #[must_use]
    pub fn spent(&self) -> Duration {
        let entered_ns = self.entered_ns.load(Ordering::Acquire);
        let under_way_ns = if entered_ns == 0 { 0 } else { self.now_ns().saturating_sub(entered_ns) };
        Duration::from_nanos(self.spent_ns.load(Ordering::Acquire).saturating_add(under_way_ns))
    }

    /// Time spent in ended host calls since this was last asked.
    pub(crate) fn take(&self) -> Duration {
        Duration::from_nanos(self.spent_ns.swap(0, Ordering::AcqRel))
    }

    /// A host call begins; it ends when the answer is dropped, also when the call is cancelled.
    pub(crate) fn enter(self: &Arc<Self>) -> HostCall {
        self.entered_ns.store(self.now_ns().max(1), Ordering::Release);
        HostCall { clock: self.clone() }
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// One host call under way.
pub(crate) struct HostCall {
    clock: Arc<HostClock>,
}

impl Drop for HostCall {
    fn drop(&mut self) {
        let entered_ns = self.clock.entered_ns.swap(0, Ordering::AcqRel);
        let spent_ns = self.clock.now_ns().saturating_sub(entered_ns);
        self.clock.spent_ns.fetch_add(spent_ns, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_a_call_under_way_and_an_ended_one_once() {
        let clock = HostClock::new();
        let call = clock.enter();
        while clock.spent() < Duration::from_millis(2) {
            std::hint::spin_loop();
        }
        drop(call);
        let spent = clock.spent();
        assert!(spent >= Duration::from_millis(2));
        assert_eq!(clock.take(), spent);
        assert_eq!(clock.spent(), Duration::ZERO);
    }
}
