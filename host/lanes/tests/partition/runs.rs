//! The length of runs: by what is ready and by measured time, and what a run gives back.

use keylane_lanes::{LaneCounts, Policy, Verdict};

use crate::stage::{RETRY, Stage, quick};

/// So many events, each in a lane of its own.
fn backlog(policy: Policy, events: i64) -> Stage {
    let lanes: Vec<(i64, u64)> = (0..events).map(|offset| (offset, offset as u64)).collect();
    Stage::with(policy, &lanes)
}

#[test]
fn the_first_runs_are_sized_by_what_is_ready() {
    let mut stage = backlog(quick(), 40);
    assert_eq!(stage.slot(4).unwrap().1.len(), 10);
    assert_eq!(stage.slot(1).unwrap().1.len(), 30, "nothing is measured yet");
}

#[test]
fn a_run_holds_no_more_than_fits_into_its_slice() {
    let mut stage = backlog(Policy { slice_ms: 50, ..quick() }, 100);
    let (first, attempts) = stage.slot(50).unwrap();
    assert_eq!(attempts.len(), 2);
    stage.takes(first, &[Verdict::Done, Verdict::Done], 20_000);
    assert_eq!(stage.slot(1).unwrap().1.len(), 5, "10 ms each");
}

#[test]
fn an_event_slower_than_the_slice_still_runs() {
    let mut stage = backlog(Policy { slice_ms: 50, ..quick() }, 10);
    let (run, _) = stage.slot(10).unwrap();
    stage.takes(run, &[Verdict::Done], 3_000_000);
    assert_eq!(stage.slot(1).unwrap().1.len(), 1);
}

#[test]
fn only_attempted_events_are_measured() {
    let mut stage = backlog(Policy { slice_ms: 50, ..quick() }, 100);
    let (run, attempts) = stage.slot(20).unwrap();
    assert_eq!(attempts.len(), 5);
    let mut verdicts = [Verdict::NotStarted; 5];
    (verdicts[0], verdicts[1]) = (Verdict::Done, RETRY);
    stage.takes(run, &verdicts, 10_000);
    assert_eq!(stage.slot(1).unwrap().1.len(), 10, "5 ms each: a failed attempt took its time too");
}

#[test]
fn a_run_that_began_nothing_measures_nothing() {
    let mut stage = backlog(Policy { slice_ms: 50, ..quick() }, 100);
    let (run, _) = stage.slot(20).unwrap();
    stage.takes(run, &[Verdict::NotStarted; 5], 10_000_000);
    assert_eq!(stage.slot(1).unwrap().1.len(), 100);
}

#[test]
fn what_was_not_started_costs_nothing_and_keeps_its_place() {
    let mut stage = Stage::with(Policy { attempts_max: 1, ..quick() }, &[(0, 7), (1, 7), (2, 8)]);
    for _ in 0..5 {
        let (attempts, actions) = stage.runs(&[Verdict::NotStarted; 3]);
        assert_eq!((attempts, actions), (vec![(0, 1), (1, 1), (2, 1)], vec![]));
        assert_eq!(stage.partition.next_deadline_ms(), None, "it does not wait either");
    }
    stage.runs(&[Verdict::Done, Verdict::NotStarted, Verdict::Done]);
    assert_eq!(stage.slot(1).unwrap().1, [(1, 1)]);
}

#[test]
fn a_run_is_shared_by_the_ready_lanes() {
    let hot: Vec<(i64, u64)> =
        (0..20).map(|offset| (offset, if offset < 18 { 1 } else { offset as u64 })).collect();
    let mut stage = Stage::with(Policy { run_events_max: 6, ..quick() }, &hot);
    assert_eq!(
        stage.slot(1).unwrap().1,
        [(0, 1), (1, 1), (18, 1), (19, 1)],
        "two of the hot lane's eighteen"
    );
}

#[test]
fn conflicts_halve_runs_and_clean_runs_double_them() {
    let mut stage = backlog(quick(), 100);
    let mut next = |conflicts: bool| {
        let (run, attempts) = stage.slot(1).unwrap();
        if conflicts {
            stage.conflicts(run, attempts.len());
        } else {
            stage.ends(run, &vec![Verdict::Done; attempts.len()]);
        }
        attempts.len()
    };
    let lengths: Vec<usize> = (0..8).map(|_| next(true)).collect();
    assert_eq!(lengths, [100, 50, 25, 12, 6, 3, 1, 1]);
    let lengths: Vec<usize> = (0..17).map(|_| next(false)).collect();
    assert_eq!((lengths[7], lengths[8], lengths[15], lengths[16]), (1, 2, 2, 4));
}

#[test]
fn a_conflict_costs_no_event_anything() {
    let mut stage = Stage::with(Policy { attempts_max: 1, ..quick() }, &[(0, 7), (1, 8)]);
    for _ in 0..3 {
        let (run, attempts) = stage.slot(1).unwrap();
        assert_eq!(attempts[0], (0, 1), "its first attempt, and at once");
        assert_eq!(stage.conflicts(run, attempts.len()), []);
    }
}

#[test]
fn a_run_that_began_nothing_is_no_clean_run() {
    let mut stage = backlog(quick(), 8);
    let (run, _) = stage.slot(1).unwrap();
    stage.conflicts(run, 8);
    for _ in 0..50 {
        stage.runs(&[Verdict::NotStarted; 4]);
    }
}

#[test]
fn lanes_are_counted_by_what_they_do() {
    let mut stage = Stage::with(Policy { attempts_max: 1, ..quick() }, &[(0, 7), (1, 8), (2, 9)]);
    assert_eq!(stage.partition.counts(), LaneCounts { ready: 3, ..LaneCounts::default() });
    let (run, _) = stage.slot(3).unwrap();
    stage.slot(2).unwrap();
    assert_eq!(
        stage.partition.counts(),
        LaneCounts { ready: 1, running: 2, runs: 2, ..LaneCounts::default() }
    );
    stage.ends(run, &[RETRY]);
    assert_eq!(
        stage.partition.counts(),
        LaneCounts { ready: 1, running: 1, burying: 1, runs: 1, ..LaneCounts::default() }
    );
}
