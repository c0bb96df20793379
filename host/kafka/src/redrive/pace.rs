//! How fast a redrive goes, and how often it speaks.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use super::BATCH_LETTERS;

/// Time between two lines on how far a redrive is.
const SPEAK_EVERY: Duration = Duration::from_secs(1);

/// Holds a redrive to a rate by waiting before transactions, never within one: an open one keeps others
/// from being read.
pub(super) struct Pace {
    rate_per_s: Option<NonZeroU32>,
    began: Instant,
    sent: u64,
    next_word: Instant,
}

impl Pace {
    pub(super) fn new(rate_per_s: Option<NonZeroU32>) -> Self {
        let now = Instant::now();
        Self { rate_per_s, began: now, sent: 0, next_word: now }
    }

    /// The most letters of one transaction: not more than those of a second.
    pub(super) fn batch_letters(&self) -> usize {
        let rate = self.rate_per_s.and_then(|rate| usize::try_from(rate.get()).ok());
        rate.map_or(BATCH_LETTERS, |rate| rate.min(BATCH_LETTERS))
    }

    /// Waits until the next letters are due.
    pub(super) fn wait(&self) {
        let left = self.due().saturating_sub(self.began.elapsed());
        if !left.is_zero() {
            std::thread::sleep(left);
        }
    }

    /// So many more were sent. Answers how many that makes.
    pub(super) fn note(&mut self, letters: usize) -> u64 {
        self.sent = self.sent.saturating_add(u64::try_from(letters).unwrap_or(u64::MAX));
        self.sent
    }

    /// Whether it is time for another line.
    pub(super) fn may_speak(&mut self) -> bool {
        let now = Instant::now();
        let may = now >= self.next_word;
        if may {
            self.next_word = now + SPEAK_EVERY;
        }
        may
    }

    /// How long what was sent should have taken.
    fn due(&self) -> Duration {
        self.rate_per_s.map_or(Duration::ZERO, |rate| {
            Duration::try_from_secs_f64(self.sent as f64 / f64::from(rate.get())).unwrap_or(Duration::MAX)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_due_at_their_rate() {
        let mut pace = Pace::new(NonZeroU32::new(50));
        assert_eq!((pace.batch_letters(), pace.due()), (50, Duration::ZERO));
        assert_eq!(pace.note(50), 50);
        assert_eq!(pace.note(25), 75);
        assert_eq!(pace.due(), Duration::from_millis(1_500));
        let mut free = Pace::new(None);
        free.note(1_000_000);
        assert_eq!((free.batch_letters(), free.due()), (BATCH_LETTERS, Duration::ZERO));
        assert_eq!(Pace::new(NonZeroU32::MAX.into()).batch_letters(), BATCH_LETTERS);
    }

    #[test]
    fn it_speaks_at_once_and_then_seldom() {
        let mut pace = Pace::new(None);
        assert!(pace.may_speak());
        assert!(!pace.may_speak());
    }
}
