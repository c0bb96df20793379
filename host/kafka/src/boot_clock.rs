//! The clock that leases are counted by: it goes on while the machine sleeps, and nobody sets it.

use std::time::Duration;

use keylane_engine::BootClock;
use rustix::time::{ClockId, clock_gettime};

/// The time since the machine was started, suspends included (`CLOCK_BOOTTIME`). The clock that other
/// time-outs use stops in a suspend: a host that wakes an hour later would believe its lease.
#[derive(Debug, Clone, Copy, Default)]
pub struct BootTime;

impl BootClock for BootTime {
    fn now(&self) -> Duration {
        let now = clock_gettime(ClockId::Boottime);
        let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
        Duration::new(seconds, u32::try_from(now.tv_nsec).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_was_started_before_now() {
        let first = BootTime.now();
        assert!(first > Duration::ZERO);
        assert!(BootTime.now() >= first);
    }
}
