//! How a run is formed from ready lanes, and what is remembered of it while it is out.

use crate::lane::LaneId;
use crate::step::RunAttempt;

/// A run that is out.
#[derive(Debug)]
pub(crate) struct RunOut {
    /// Those of one lane stand together, in offset order.
    pub(crate) attempts: Vec<RunAttempt>,
    pub(crate) begun_ms: u64,
}

/// How many events the next run should have.
///
/// `ready events / free slots`, so that an idle system gets runs of one (lowest latency) and a backlog
/// long ones (lowest cost per event), with nothing to tune.
pub(crate) fn length(ready_events: usize, free_slots: usize, run_events_max: usize) -> usize {
    assert!(free_slots >= 1, "a run needs a free slot");
    assert!(run_events_max >= 1, "a run has at least one event");
    ready_events.div_ceil(free_slots).clamp(1, run_events_max)
}

/// How many of a run's events one lane may give, so that the run is shared by the lanes that are ready:
/// a hot lane does not push the others out of the run.
pub(crate) fn share(length: usize, ready_lanes: usize) -> usize {
    length.div_ceil(ready_lanes.max(1)).max(1)
}

/// The attempts of a run that is out, cut where the lane changes.
pub(crate) fn by_lane(attempts: &[RunAttempt]) -> impl Iterator<Item = (LaneId, &[RunAttempt])> {
    attempts
        .chunk_by(|one, next| one.lane == next.lane)
        .filter_map(|of_lane| of_lane.first().map(|first| (first.lane, of_lane)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_gives_runs_of_one_and_a_backlog_long_ones() {
        assert_eq!(length(1, 64, 100), 1);
        assert_eq!(length(64, 64, 100), 1);
        assert_eq!(length(640, 64, 100), 10);
        assert_eq!(length(1_000_000, 64, 100), 100);
        assert_eq!(length(7, 1, 100), 7);
    }

    #[test]
    fn a_run_is_shared_by_the_ready_lanes() {
        assert_eq!(share(10, 1), 10);
        assert_eq!(share(10, 4), 3);
        assert_eq!(share(10, 500), 1);
    }
}
