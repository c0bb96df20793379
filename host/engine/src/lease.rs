//! The lease: for how long this host may believe that it still owns what it was assigned.
//!
//! The group's coordinator gives a member's partitions away when it has heard nothing for the session
//! time-out. A host that was stopped meanwhile (a paused machine, a debugger, a long swap) learns of that
//! only some time after it goes on. So before each run it asks its lease: the last acknowledged commit,
//! counted from its *sending*, must be younger than the session time-out, by a clock that goes on while
//! the machine sleeps. This does not exclude an overlap with a new owner; it bounds it to the length of
//! one event that had begun before.
//!
//! Who owns: one lease per membership, shared by the intake, which renews it, and by the owners, which ask
//! it. Who waits: nobody. What bounds: two atomics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Time since the machine was started, the time it slept included. Never goes back.
pub trait BootClock: Send + Sync {
    /// The time now.
    fn now(&self) -> Duration;
}

/// Not proven yet.
const NEVER: u64 = 0;

/// The proof of life of one membership in a consumer group.
pub struct Lease {
    term: Duration,
    clock: Arc<dyn BootClock>,
    /// Nanoseconds of the boot clock at which the newest acknowledged commit was sent, and one, so that
    /// zero can stand for never.
    proven_at: AtomicU64,
}

impl Lease {
    /// A lease that nothing has proven yet, so it does not hold. `term` is the session time-out.
    #[must_use]
    pub fn new(term: Duration, clock: Arc<dyn BootClock>) -> Self {
        Self { term, clock, proven_at: AtomicU64::new(NEVER) }
    }

    /// The time to remember when a commit is sent, for [`Lease::renew`].
    #[must_use]
    pub fn now(&self) -> Duration {
        self.clock.now()
    }

    /// Notes that a commit which was sent at `sent_at` is acknowledged. An older one changes nothing.
    pub fn renew(&self, sent_at: Duration) {
        self.proven_at.fetch_max(nanos(sent_at).saturating_add(1), Ordering::AcqRel);
    }

    /// Whether the last proof is younger than the term.
    #[must_use]
    pub fn holds(&self) -> bool {
        !self.left().is_zero()
    }

    /// How long it holds from now; zero when it is out.
    #[must_use]
    pub fn left(&self) -> Duration {
        let proven_at = self.proven_at.load(Ordering::Acquire);
        if proven_at == NEVER {
            return Duration::ZERO;
        }
        let age = self.clock.now().saturating_sub(Duration::from_nanos(proven_at - 1));
        self.term.saturating_sub(age)
    }

    /// The session time-out.
    #[must_use]
    pub fn term(&self) -> Duration {
        self.term
    }
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Lease({:?} of {:?} left)", self.left(), self.term)
    }
}

/// 584 years of a machine's life fit.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A clock in milliseconds that a test turns.
    #[derive(Default)]
    struct Turned(AtomicU64);

    impl BootClock for Turned {
        fn now(&self) -> Duration {
            Duration::from_millis(self.0.load(Ordering::SeqCst))
        }
    }

    #[test]
    fn a_lease_is_counted_from_the_sending_of_the_commit() {
        let clock = Arc::new(Turned::default());
        let lease = Lease::new(Duration::from_millis(100), clock.clone());
        assert!(!lease.holds(), "nothing has proven it yet");
        lease.renew(lease.now());
        assert!(lease.holds(), "a proof at the clock's zero counts too");
        let sent_at = Duration::from_millis(50);
        clock.0.store(90, Ordering::SeqCst);
        lease.renew(sent_at);
        assert_eq!(lease.left(), Duration::from_millis(60), "90 is 40 after the sending");
        lease.renew(Duration::from_millis(10));
        assert_eq!(lease.left(), Duration::from_millis(60), "a late answer does not shorten it");
        clock.0.store(149, Ordering::SeqCst);
        assert!(lease.holds());
        clock.0.store(150, Ordering::SeqCst);
        assert!(!lease.holds(), "as old as the term is too old");
    }
}
