//! What can be read off a running host, and what follows from it: how fast it is, whether it is still.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use keylane_engine::Totals;

/// What can be read off a running host.
pub(super) trait Gauges {
    /// What became of each handler's records, by the handler's name.
    fn tallies(&self) -> Vec<(String, Totals)>;
    /// Records that have not ended yet; none while that is not known.
    fn lag(&self) -> Option<u64>;
    /// Records and mails that wait in outboxes.
    ///
    /// # Errors
    /// When a database does not answer.
    async fn unsent(&self) -> anyhow::Result<u64>;
}

/// Records of all handlers whose story has ended.
pub(super) fn ended(tallies: &[(String, Totals)]) -> u64 {
    tallies.iter().map(|(_, totals)| totals.ended()).sum()
}

/// How many events end each second, over the latest moments.
#[derive(Debug, Default)]
pub(super) struct Speed {
    readings: VecDeque<(Instant, u64)>,
}

impl Speed {
    const WINDOW: Duration = Duration::from_secs(2);
    /// Readings in the window; more often than this nobody reads.
    const READINGS_MAX: usize = 100;

    /// Takes a reading and answers the speed.
    pub(super) fn read(&mut self, now: Instant, ended: u64) -> u64 {
        self.readings.push_back((now, ended));
        while self.readings.len() > 2
            && self.readings.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= Self::WINDOW)
            || self.readings.len() > Self::READINGS_MAX
        {
            self.readings.pop_front();
        }
        let Some((since, before)) = self.readings.front() else { return 0 };
        let elapsed_ms = now.duration_since(*since).as_millis();
        u64::try_from(u128::from(ended.saturating_sub(*before)) * 1_000 / elapsed_ms.max(1)).unwrap_or(0)
    }
}

/// Notices that a host has nothing left to do.
#[derive(Debug)]
pub(super) struct Stillness {
    since: Instant,
    ended: u64,
}

impl Stillness {
    /// So long must nothing happen. Longer than any pause of a healthy host: a rebalance, a first retry.
    const LIMIT: Duration = Duration::from_secs(10);

    pub(super) fn new(now: Instant) -> Self {
        Self { since: now, ended: 0 }
    }

    /// Takes a reading and answers whether the host has been without work for long enough that nothing
    /// more will come.
    pub(super) fn read(&mut self, now: Instant, ended: u64, lag: Option<u64>) -> bool {
        if ended != self.ended || lag != Some(0) {
            *self = Self { since: now, ended };
        }
        now.duration_since(self.since) >= Self::LIMIT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speed_is_that_of_the_latest_moments() {
        let (start, mut speed) = (Instant::now(), Speed::default());
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(speed.read(at(0), 0), 0);
        assert_eq!(speed.read(at(500), 500), 1_000);
        for tenth in 1..=100 {
            speed.read(at(500 + tenth * 100), 500 + tenth * 20);
        }
        assert_eq!(speed.read(at(10_600), 500 + 101 * 20), 200);
    }

    #[test]
    fn a_host_is_still_when_nothing_waits_and_nothing_ends_for_long_enough() {
        let (start, s) = (Instant::now(), Duration::from_secs);
        let mut stillness = Stillness::new(start);
        assert!(!stillness.read(start + s(5), 7, Some(0)));
        assert!(!stillness.read(start + s(14), 7, Some(0)));
        assert!(stillness.read(start + s(15), 7, Some(0)));
        assert!(!stillness.read(start + s(16), 8, Some(0)), "something ended");
        assert!(!stillness.read(start + s(40), 8, Some(1)), "something waits");
        assert!(!stillness.read(start + s(80), 8, None), "nobody knows");
        assert!(!stillness.read(start + s(81), 8, Some(0)));
    }
}
