//! A host's clocks. The boot-time clock is the world's time; the runtime's clock stands still while the
//! machine sleeps.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use keylane_engine::BootClock;
use tokio::time::Instant;

/// The clocks of one process.
#[derive(Debug)]
pub struct HostClock {
    started_ms: u64,
    /// The runtime's time at the start; set by the first to look, inside the runtime.
    base: OnceLock<Instant>,
    slept_ms: AtomicU64,
}

impl HostClock {
    /// Of a process that starts at this time of the world, in milliseconds.
    pub fn new(started_ms: u64) -> Self {
        Self { started_ms, base: OnceLock::new(), slept_ms: AtomicU64::new(0) }
    }

    /// The time of the runtime's clock at the start. Inside the runtime only.
    fn base(&self) -> Instant {
        *self.base.get_or_init(Instant::now)
    }

    /// The world's time, in milliseconds. Inside the runtime only.
    pub fn now_ms(&self) -> u64 {
        let base = self.base();
        let ran_ms = (Instant::now() - base).as_millis() as u64;
        self.started_ms + ran_ms + self.slept_ms.load(Ordering::Relaxed)
    }

    /// The runtime's time at this time of the world.
    pub fn at(&self, world_ms: u64) -> Instant {
        let ran_ms = world_ms - self.started_ms - self.slept_ms.load(Ordering::Relaxed);
        self.base() + Duration::from_millis(ran_ms)
    }

    /// The machine has slept.
    pub fn sleep(&self, slept_ms: u64) {
        self.slept_ms.fetch_add(slept_ms, Ordering::Relaxed);
    }
}

impl BootClock for HostClock {
    fn now(&self) -> Duration {
        Duration::from_millis(self.now_ms())
    }
}
