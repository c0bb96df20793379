//! How fast a redrive goes, and how often it speaks.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use super::BATCH_LETTERS;

/// What a rate is a ceiling over.
const SECOND: Duration = Duration::from_secs(1);
/// Time between two lines on how far a redrive is.
const SPEAK_EVERY: Duration = Duration::from_secs(1);

/// Holds a redrive to a rate by waiting before transactions, never within one: an open one keeps others
/// from being read.
///
/// The rate is a ceiling over any second, however long a broker kept the redrive waiting before it: what
/// was not sent in time is not made up for. So all that counts is what was sent within the last second.
pub(super) struct Pace {
    rate_per_s: Option<NonZeroU32>,
    sent: u64,
    /// When how many letters were sent, of the last second, oldest first: at most as many entries as letters
    /// of a second. Empty without a rate.
    recent: VecDeque<(Instant, usize)>,
    next_word: Instant,
}

impl Pace {
    pub(super) fn new(rate_per_s: Option<NonZeroU32>) -> Self {
        Self { rate_per_s, sent: 0, recent: VecDeque::new(), next_word: Instant::now() }
    }

    /// The most letters of one transaction: not more than those of a second, and of a rate above
    /// [`BATCH_LETTERS`] an equal part, so that whole transactions fill a second.
    pub(super) fn batch_letters(&self) -> usize {
        self.rate().map_or(BATCH_LETTERS, |rate| rate / rate.div_ceil(BATCH_LETTERS))
    }

    /// How long so many letters have to wait, at this moment.
    pub(super) fn wait(&mut self, letters: usize, now: Instant) -> Duration {
        let Some(rate) = self.rate() else { return Duration::ZERO };
        while self.recent.front().is_some_and(|(at, _)| now.saturating_duration_since(*at) >= SECOND) {
            self.recent.pop_front();
        }
        let sent: usize = self.recent.iter().map(|(_, letters)| letters).sum();
        let mut over = sent.saturating_add(letters).saturating_sub(rate);
        let mut wait = Duration::ZERO;
        for (at, letters) in &self.recent {
            if over == 0 {
                break;
            }
            over = over.saturating_sub(*letters);
            wait = (*at + SECOND).saturating_duration_since(now);
        }
        wait
    }

    /// So many more were sent by this moment. Answers how many that makes.
    pub(super) fn note(&mut self, letters: usize, now: Instant) -> u64 {
        if self.rate_per_s.is_some() {
            self.recent.push_back((now, letters));
        }
        self.sent = self.sent.saturating_add(u64::try_from(letters).unwrap_or(u64::MAX));
        self.sent
    }

    /// Whether it is time for another line.
    pub(super) fn may_speak(&mut self, now: Instant) -> bool {
        let may = now >= self.next_word;
        if may {
            self.next_word = now + SPEAK_EVERY;
        }
        may
    }

    fn rate(&self) -> Option<usize> {
        self.rate_per_s.map(|rate| usize::try_from(rate.get()).unwrap_or(usize::MAX))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_transaction_has_at_most_the_letters_of_a_second() {
        let of = |rate| Pace::new(NonZeroU32::new(rate)).batch_letters();
        assert_eq!((of(1), of(50), of(500), of(700), of(1_000)), (1, 50, 500, 350, 500));
        assert_eq!(of(0), BATCH_LETTERS, "no rate");
        assert!(of(u32::MAX) <= BATCH_LETTERS);
    }

    #[test]
    fn letters_are_due_at_their_rate() {
        let mut pace = Pace::new(NonZeroU32::new(50));
        let start = Instant::now();
        assert_eq!(pace.wait(50, start), Duration::ZERO);
        assert_eq!(pace.note(50, start), 50);
        assert_eq!(pace.wait(25, start), SECOND);
        assert_eq!(pace.wait(25, start + 400 * MS), 600 * MS);
        assert_eq!(pace.note(25, start + SECOND), 75);
        assert_eq!(pace.wait(25, start + SECOND), Duration::ZERO);
        assert_eq!(pace.wait(26, start + 1_100 * MS), 900 * MS);
        let mut free = Pace::new(None);
        free.note(1_000_000, start);
        assert_eq!(free.wait(BATCH_LETTERS, start), Duration::ZERO);
    }

    #[test]
    fn a_pause_saves_nothing_up() {
        let mut pace = Pace::new(NonZeroU32::new(50));
        let start = Instant::now();
        pace.note(50, start);
        // The broker was slow for a minute: what was not sent meanwhile is not sent at once now.
        let after = start + Duration::from_secs(60);
        assert_eq!(pace.wait(50, after), Duration::ZERO);
        pace.note(50, after);
        assert_eq!(pace.wait(50, after), SECOND);
    }

    #[test]
    fn it_speaks_at_once_and_then_seldom() {
        let mut pace = Pace::new(None);
        let now = Instant::now();
        assert!(pace.may_speak(now));
        assert!(!pace.may_speak(now + SPEAK_EVERY - MS));
        assert!(pace.may_speak(now + SPEAK_EVERY));
    }

    proptest! {
        #[test]
        fn no_second_sees_more_than_the_rate(
            rate in 1_u32..2_000,
            // How much of a full transaction, and how long the brokers took beside it.
            steps in proptest::collection::vec((1_usize..=100, 0_u64..3_000), 1..60),
        ) {
            let mut pace = Pace::new(NonZeroU32::new(rate));
            let (mut now, mut sent) = (Instant::now(), Vec::new());
            for (percent, took_ms) in steps {
                let letters = (pace.batch_letters() * percent).div_ceil(100);
                now += pace.wait(letters, now);
                prop_assert_eq!(pace.wait(letters, now), Duration::ZERO, "one wait is enough");
                pace.note(letters, now);
                sent.push((now, letters));
                let within = |at: &Instant| now.duration_since(*at) < SECOND;
                let second: usize = sent.iter().filter(|(at, _)| within(at)).map(|(_, count)| count).sum();
                prop_assert!(second <= usize::try_from(rate).unwrap(), "{second} letters in a second");
                now += MS * u32::try_from(took_ms).unwrap();
            }
        }
    }
}
