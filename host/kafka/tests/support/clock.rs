//! Boot clocks for tests: one that can be turned on, and one that stands.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use keylane_engine::BootClock;
use keylane_kafka::BootTime;

/// The real clock, and what the test has added.
#[derive(Default)]
pub struct TurnedClock {
    added_ms: AtomicU64,
}

impl TurnedClock {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    pub fn turn_on(&self, by: Duration) {
        self.added_ms.fetch_add(u64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

impl BootClock for TurnedClock {
    fn now(&self) -> Duration {
        BootTime.now() + Duration::from_millis(self.added_ms.load(Ordering::SeqCst))
    }
}

/// A clock that stands: no proof of life is ever due, and none runs out.
pub struct StandingClock;

impl BootClock for StandingClock {
    fn now(&self) -> Duration {
        Duration::from_secs(1)
    }
}
