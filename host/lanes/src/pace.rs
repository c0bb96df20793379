//! How long an event takes, measured, to size runs by.

/// After each run the memory of all earlier ones weighs one eighth less: old enough to be calm, young
/// enough to follow a handler that becomes slow.
const DECAY_SHIFT: u32 = 3;

/// Parts of an event that are counted, so that decay does not lose whole events.
const EVENT_PARTS: u64 = 1 << 10;

/// An exponentially weighted mean of the time per attempted event. Weighted by events: one slow event
/// alone in a run counts as one, not as much as a run of a hundred.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    spent_us: u64,
    event_parts: u64,
}

impl Pace {
    /// Notes a run of `attempted` events that took `spent_us`.
    pub(crate) fn note(&mut self, attempted: usize, spent_us: u64) {
        if attempted == 0 {
            return;
        }
        let parts = (attempted as u64).saturating_mul(EVENT_PARTS);
        self.spent_us = (self.spent_us - (self.spent_us >> DECAY_SHIFT)).saturating_add(spent_us);
        self.event_parts = (self.event_parts - (self.event_parts >> DECAY_SHIFT)).saturating_add(parts);
    }

    /// How many events fit into a slice, at least 1; none while nothing is measured.
    pub(crate) fn events_in(&self, slice_ms: u64) -> Option<usize> {
        if self.event_parts == 0 {
            return None;
        }
        let slice_us = u128::from(slice_ms.saturating_mul(1_000));
        let parts = slice_us * u128::from(self.event_parts) / u128::from(self.spent_us.max(1));
        Some(usize::try_from(parts / u128::from(EVENT_PARTS)).unwrap_or(usize::MAX).max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_measured_bounds_nothing() {
        let mut pace = Pace::default();
        assert_eq!(pace.events_in(50), None);
        pace.note(0, 1_000_000);
        assert_eq!(pace.events_in(50), None, "a run that began nothing measures nothing");
    }

    #[test]
    fn the_slice_holds_what_the_mean_says_and_at_least_one() {
        let mut pace = Pace::default();
        pace.note(10, 10_000);
        assert_eq!(pace.events_in(50), Some(50));
        assert_eq!(pace.events_in(0), Some(1));
        let mut slow = Pace::default();
        slow.note(1, 3_000_000);
        assert_eq!(slow.events_in(50), Some(1));
    }

    #[test]
    fn it_follows_a_handler_that_becomes_slow_and_one_that_recovers() {
        let mut pace = Pace::default();
        (0..100).for_each(|_| pace.note(100, 1_000));
        assert!(pace.events_in(50) >= Some(4_000));
        (0..60).for_each(|_| pace.note(1, 100_000));
        assert_eq!(pace.events_in(50), Some(1));
        (0..60).for_each(|_| pace.note(1, 10));
        assert!(pace.events_in(50) >= Some(1_000), "{:?}", pace.events_in(50));
    }

    #[test]
    fn one_slow_event_weighs_as_one() {
        let mut pace = Pace::default();
        (0..100).for_each(|_| pace.note(100, 100_000));
        pace.note(1, 1_000_000);
        assert!(pace.events_in(50) >= Some(15), "{:?}", pace.events_in(50));
    }

    #[test]
    fn no_figure_overflows() {
        let mut pace = Pace::default();
        (0..100).for_each(|_| pace.note(usize::MAX, u64::MAX));
        assert!(pace.events_in(u64::MAX) >= Some(1));
    }
}
