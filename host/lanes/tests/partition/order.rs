//! Order: one run per lane at a time, the oldest head first, and what a run may not answer.

use keylane_lanes::{Ending, Input, Policy, Verdict};

use crate::stage::{RETRY, Stage, end, quick};

#[test]
fn a_lane_is_in_one_run_at_a_time() {
    let mut stage = Stage::with(quick(), &[(0, 7), (1, 8)]);
    let (first, _) = stage.slot(2).unwrap();
    stage.arrives(2, 7);
    let (_, second) = stage.slot(2).unwrap();
    assert_eq!(second, [(1, 1)], "lane 7 is out, so only lane 8 gives");
    assert_eq!(stage.slot(1), None);
    stage.ends(first, &[Verdict::Done]);
    assert_eq!(stage.slot(1).unwrap().1, [(2, 1)]);
}

#[test]
fn a_failed_event_parks_its_lane_and_nothing_else() {
    let policy = Policy { backoff_ms: 100, ..quick() };
    let mut stage = Stage::with(policy, &[(0, 7), (1, 7), (2, 8)]);
    let (run, attempts) = stage.slot(1).unwrap();
    assert_eq!(attempts, [(0, 1), (1, 1), (2, 1)]);
    stage.now_ms = 10;
    let actions = stage.ends(run, &[RETRY, Verdict::NotStarted, Verdict::Done]);
    assert_eq!(actions, [end(2, Ending::Done)]);
    assert_eq!((stage.partition.watermark(), stage.partition.blocking()), (0, Some(0)));
    assert!(!stage.partition.wants_slot(), "the failed lane waits");
    let deadline_ms = stage.partition.next_deadline_ms().unwrap();
    assert!((85..=110).contains(&deadline_ms), "{deadline_ms}");
    stage.now_ms = deadline_ms - 1;
    stage.step(Input::Tick);
    assert!(!stage.partition.wants_slot(), "its time has not come");
    stage.waits();
    assert_eq!(stage.slot(1).unwrap().1, [(0, 2)], "a head that failed runs without its followers");
}

#[test]
fn the_oldest_ready_head_is_served_first() {
    let policy = Policy { run_events_max: 1, ..quick() };
    let mut stage = Stage::with(policy, &[(0, 7), (1, 8), (2, 7), (3, 9)]);
    assert_eq!(stage.runs(&[RETRY]).0, [(0, 1)]);
    assert_eq!(stage.runs(&[Verdict::Done]).0, [(1, 1)], "lane 7 is parked");
    stage.waits();
    assert_eq!(stage.slot(1).unwrap().1, [(0, 2)], "the retried head does not wait behind 3");
    assert_eq!(stage.slot(1).unwrap().1, [(3, 1)]);
}

#[test]
fn a_wide_gap_stops_admission_until_the_watermark_moves() {
    let policy = Policy { gap_max: 3, ..quick() };
    let mut stage = Stage::with(policy, &[(0, 7), (1, 8)]);
    assert!(stage.partition.admits());
    stage.arrives(2, 9);
    assert!(!stage.partition.admits());
    stage.runs(&[RETRY, Verdict::Done, Verdict::Done]);
    assert!(!stage.partition.admits(), "offset 0 still holds the watermark");
    stage.waits();
    stage.runs(&[Verdict::Done]);
    assert!(stage.partition.admits());
}

#[test]
fn a_slow_lane_does_not_hold_the_others_back() {
    let mut stage = Stage::with(quick(), &[(0, 7), (1, 8), (2, 7)]);
    let (first, attempts) = stage.slot(3).unwrap();
    assert_eq!(attempts, [(0, 1)]);
    let (second, _) = stage.slot(2).unwrap();
    assert_eq!(stage.ends(second, &[Verdict::Done]), [end(1, Ending::Done)], "while lane 7 runs");
    assert_eq!(stage.partition.watermark(), 0);
    stage.ends(first, &[Verdict::Done]);
    assert_eq!(stage.partition.watermark(), 2);
}

#[test]
#[should_panic(expected = "went on after a failure")]
fn a_run_that_went_on_after_a_failure_is_refused() {
    let mut stage = Stage::with(quick(), &[(0, 7), (1, 7)]);
    stage.runs(&[RETRY, Verdict::Done]);
}

#[test]
#[should_panic(expected = "ended twice or was never begun")]
fn a_run_ends_once() {
    let mut stage = Stage::with(quick(), &[(0, 7)]);
    let (run, _) = stage.slot(1).unwrap();
    stage.ends(run, &[Verdict::Done]);
    stage.ends(run, &[Verdict::Done]);
}

#[test]
#[should_panic(expected = "one verdict for each attempt")]
fn a_run_answers_for_each_of_its_attempts() {
    let mut stage = Stage::with(quick(), &[(0, 7), (1, 8)]);
    stage.runs(&[Verdict::Done]);
}
