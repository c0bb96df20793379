//! How short runs are kept while others are in their way.

/// After so many runs that nothing was in the way of, the bound doubles.
pub(crate) const CLEAN_RUNS: u32 = 8;

/// The most events of a run under conflicts: halved by each run that had one, down to a single event, and
/// doubled after each stretch of clean runs.
#[derive(Debug)]
pub(crate) struct Squeeze {
    most: usize,
    now: usize,
    clean: u32,
}

impl Squeeze {
    /// No bound but `most`.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, now: most, clean: 0 }
    }

    /// Notes a run of so many events. What is halved is the run's own length, so that the bound takes hold
    /// at once where runs are far shorter than it.
    pub(crate) fn note(&mut self, events: usize, conflicts: u32) {
        if conflicts > 0 {
            self.now = (self.now.min(events) / 2).max(1);
            self.clean = 0;
            return;
        }
        self.clean += 1;
        if self.clean >= CLEAN_RUNS {
            self.now = self.now.saturating_mul(2).min(self.most);
            self.clean = 0;
        }
    }

    /// The most events of the next run; at least 1.
    pub(crate) fn events_max(&self) -> usize {
        self.now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clean_stretch(squeeze: &mut Squeeze) {
        (0..CLEAN_RUNS).for_each(|_| squeeze.note(1, 0));
    }

    #[test]
    fn conflicts_shorten_runs_down_to_one_event_and_clean_stretches_lengthen_them() {
        let mut squeeze = Squeeze::new(100);
        squeeze.note(100, 1);
        assert_eq!(squeeze.events_max(), 50);
        squeeze.note(50, 7);
        assert_eq!(squeeze.events_max(), 25, "how often it was undone is no matter");
        (0..9).for_each(|_| squeeze.note(squeeze.events_max(), 1));
        assert_eq!(squeeze.events_max(), 1);
        (0..CLEAN_RUNS - 1).for_each(|_| squeeze.note(1, 0));
        assert_eq!(squeeze.events_max(), 1, "not yet");
        squeeze.note(1, 0);
        assert_eq!(squeeze.events_max(), 2);
        (0..9).for_each(|_| clean_stretch(&mut squeeze));
        assert_eq!(squeeze.events_max(), 100, "and no further");
    }

    #[test]
    fn a_short_run_that_had_a_conflict_is_halved_itself() {
        let mut squeeze = Squeeze::new(100);
        squeeze.note(4, 1);
        assert_eq!(squeeze.events_max(), 2);
    }

    #[test]
    fn a_conflict_begins_the_stretch_anew() {
        let mut squeeze = Squeeze::new(8);
        squeeze.note(8, 1);
        (0..CLEAN_RUNS - 1).for_each(|_| squeeze.note(1, 0));
        squeeze.note(4, 1);
        squeeze.note(1, 0);
        assert_eq!(squeeze.events_max(), 2);
    }
}
