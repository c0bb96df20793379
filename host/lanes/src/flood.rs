//! The flood breaker's memory: how the latest events ended.

use std::collections::VecDeque;

use crate::policy::Flood;

/// How the latest events ended, as many as the breaker's window holds.
#[derive(Debug, Default)]
pub(crate) struct RecentEndings {
    /// Oldest first; true is a bad one. Bounded by the window.
    endings: VecDeque<bool>,
    bad: usize,
}

impl RecentEndings {
    /// Notes an ending; the oldest one leaves a full window.
    pub(crate) fn note(&mut self, flood: &Flood, bad: bool) {
        if self.endings.len() >= flood.window_events && self.endings.pop_front() == Some(true) {
            self.bad -= 1;
        }
        self.endings.push_back(bad);
        self.bad += usize::from(bad);
    }

    /// How many were bad, of how many, if that is too many: more than the share of a full window, even if
    /// everything that is still to fill it were good.
    pub(crate) fn flooded(&self, flood: &Flood) -> Option<(usize, usize)> {
        let share_percent = usize::from(flood.share_percent);
        let too_many = self.bad.saturating_mul(100) > flood.window_events.saturating_mul(share_percent);
        too_many.then_some((self.bad, self.endings.len()))
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(flood: &Flood, endings: &[bool]) -> Option<(usize, usize)> {
        let mut recent = RecentEndings::default();
        endings.iter().for_each(|bad| recent.note(flood, *bad));
        recent.flooded(flood)
    }

    #[test]
    fn only_more_than_the_share_is_a_flood() {
        let flood = Flood { window_events: 4, share_percent: 50 };
        assert_eq!(after(&flood, &[true, true, false, false]), None, "exactly half");
        assert_eq!(after(&flood, &[true, false, true, true]), Some((3, 4)));
        assert_eq!(after(&flood, &[true, true, true]), Some((3, 3)), "the fourth could not help");
        assert_eq!(after(&flood, &[true, true]), None, "two more could be good");
    }

    #[test]
    fn what_has_left_the_window_is_forgotten() {
        let flood = Flood { window_events: 3, share_percent: 34 };
        assert_eq!(after(&flood, &[true, false, false, true]), None);
        assert_eq!(after(&flood, &[false, true, false, true]), Some((2, 3)));
        assert_eq!(after(&flood, &[true, true, false, false, true]), None);
    }

    #[test]
    fn a_share_of_a_hundred_never_is() {
        let flood = Flood { window_events: 2, share_percent: 100 };
        assert_eq!(after(&flood, &[true; 50]), None);
        assert_eq!(after(&Flood { share_percent: 0, ..flood }, &[false, true]), Some((1, 2)));
    }
}
