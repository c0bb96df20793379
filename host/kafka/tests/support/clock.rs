//! A boot clock that stands until a test turns it on: no slow machine makes a lease run out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use keylane_engine::BootClock;

/// Stands, but for what the test has added.
pub struct TurnedClock {
    now_ms: AtomicU64,
}

impl TurnedClock {
    pub fn new() -> Arc<Self> {
        Arc::new(Self { now_ms: AtomicU64::new(1_000) })
    }

    pub fn turn_on(&self, by: Duration) {
        self.now_ms.fetch_add(u64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

impl BootClock for TurnedClock {
    fn now(&self) -> Duration {
        Duration::from_millis(self.now_ms.load(Ordering::SeqCst))
    }
}
