//! The flood breaker: a partition stops instead of emptying its topic into the dead letters.

use keylane_lanes::{Action, Ending, FailureClass, Flood, Halt, Input, Policy, Then, Verdict, Waiting};

use crate::stage::{Stage, end, failed, quick};

const REJECT: Verdict = failed(FailureClass::Reject);

/// More than half of the last four endings are a flood; each event is in a lane of its own.
fn stage(events: i64) -> Stage {
    let policy = Policy { flood: Some(Flood { window_events: 4, share_percent: 50 }), ..quick() };
    let lanes: Vec<(i64, u64)> = (0..events).map(|offset| (offset, offset as u64)).collect();
    Stage::with(Policy { run_events_max: 1, ..policy }, &lanes)
}

fn bury(offset: i64) -> Action {
    Action::Bury { offset, attempts: 1 }
}

#[test]
fn more_bad_endings_than_the_share_halt_the_partition() {
    let mut stage = stage(5);
    assert_eq!(stage.runs(&[REJECT]).1, [bury(0)]);
    assert_eq!(stage.runs(&[REJECT]).1, [bury(1)]);
    let halt = Halt::Flood { bad: 3, of: 3 };
    assert_eq!(stage.runs(&[REJECT]).1, [Action::Pause { offset: 2 }, Action::Halt(halt)]);
    assert_eq!(stage.partition.halted(), Some(halt));
    assert!(!stage.partition.wants_slot() && !stage.partition.admits());
    assert_eq!(stage.slot(1), None, "nothing begins");
    assert_eq!(stage.partition.lane_views(3)[2].state, Waiting::Paused, "not buried");
}

#[test]
fn good_endings_keep_it_going() {
    let mut stage = stage(12);
    for offset in 0..12 {
        let actions = stage.runs(&[if offset % 2 == 0 { REJECT } else { Verdict::Done }]).1;
        assert_eq!(actions, [if offset % 2 == 0 { bury(offset) } else { end(offset, Ending::Done) }]);
    }
}

#[test]
fn only_the_window_counts() {
    let mut stage = stage(20);
    for _ in 0..3 {
        assert_eq!(stage.runs(&[REJECT]).1.len(), 1);
        assert_eq!(stage.runs(&[REJECT]).1.len(), 1);
        assert_eq!(stage.runs(&[Verdict::Done]).1.len(), 1);
        assert_eq!(stage.runs(&[Verdict::Done]).1.len(), 1);
    }
    assert_eq!(stage.partition.halted(), None, "six bad ones in all, never three of four");
}

#[test]
fn a_retry_is_no_ending_and_neither_is_what_was_never_handled() {
    let mut stage = stage(3);
    for offset in [3, 5, 7] {
        stage.step(Input::Condemned { offset });
        stage.step(Input::Skipped { offset: offset + 1 });
    }
    (0..3).for_each(|_| drop(stage.runs(&[failed(FailureClass::Retry)])));
    assert_eq!(stage.partition.halted(), None);
    stage.now_ms = 1_000;
    stage.step(Input::Tick);
    stage.runs(&[REJECT]);
    stage.runs(&[REJECT]);
    let (_, actions) = stage.runs(&[REJECT]);
    assert_eq!(actions[1], Action::Halt(Halt::Flood { bad: 3, of: 3 }), "only the handled ones count");
}

#[test]
fn what_is_out_when_it_halts_ends_and_what_fails_then_waits() {
    let mut stage = stage(7);
    assert_eq!(stage.runs(&[REJECT]).1, [bury(0)]);
    assert_eq!(stage.runs(&[REJECT]).1, [bury(1)]);
    let (third, _) = stage.slot(1).unwrap();
    let (fourth, _) = stage.slot(1).unwrap();
    let (fifth, _) = stage.slot(1).unwrap();
    let (sixth, _) = stage.slot(1).unwrap();
    stage.ends(third, &[REJECT]);
    assert!(stage.partition.halted().is_some());
    assert_eq!(stage.ends(fourth, &[Verdict::Done]), [end(3, Ending::Done)], "it is not lost");
    assert_eq!(stage.ends(fifth, &[Verdict::Done]), [end(4, Ending::Done)]);
    assert_eq!(stage.ends(sixth, &[REJECT]), [Action::Pause { offset: 5 }], "two of four, but not one more");
    assert_eq!(stage.step(Input::Buried { offset: 0 }), [end(0, Ending::DeadLettered)]);
    assert_eq!(stage.step(Input::Buried { offset: 1 }), [end(1, Ending::DeadLettered)]);
    assert!(stage.partition.is_quiet());
    assert_eq!((stage.partition.watermark(), stage.partition.blocking()), (2, Some(2)));
    assert_eq!(stage.slot(1), None, "6 is ready and does not begin");
}

#[test]
fn condemned_records_are_buried_even_then() {
    let mut stage = stage(3);
    (0..3).for_each(|_| drop(stage.runs(&[REJECT])));
    assert!(stage.partition.halted().is_some());
    assert_eq!(stage.step(Input::Condemned { offset: 3 }), [Action::Bury { offset: 3, attempts: 0 }]);
    assert_eq!(stage.step(Input::Buried { offset: 3 }), [end(3, Ending::DeadLettered)]);
    assert_eq!(stage.step(Input::Skipped { offset: 4 }), [end(4, Ending::Skipped)]);
}

#[test]
fn an_operator_resumes_all_and_the_window_begins_empty() {
    let mut stage = stage(9);
    (0..3).for_each(|_| drop(stage.runs(&[REJECT])));
    assert_eq!(stage.step(Input::Resume { offset: None }), []);
    assert_eq!(stage.partition.halted(), None);
    assert_eq!(stage.runs(&[REJECT]), (vec![(2, 1)], vec![bury(2)]), "as the first of a new window");
    assert_eq!(stage.runs(&[REJECT]).1, [bury(3)]);
    assert_eq!(stage.runs(&[REJECT]).1.last(), Some(&Action::Halt(Halt::Flood { bad: 3, of: 3 })));
}

#[test]
fn no_single_event_ends_a_flood() {
    let mut stage = stage(5);
    (0..3).for_each(|_| drop(stage.runs(&[REJECT])));
    assert_eq!(stage.skips(2), [end(2, Ending::Skipped)]);
    assert!(stage.partition.halted().is_some(), "the flood is not over for it");
    assert_eq!(stage.slot(1), None);
    stage.step(Input::Resume { offset: None });
    assert_eq!(stage.slot(1).unwrap().1, [(3, 1)]);
}

#[test]
fn the_other_last_steps_need_no_breaker() {
    let policy = Policy {
        then: Then::PauseLane,
        flood: Some(Flood { window_events: 1, share_percent: 0 }),
        ..quick()
    };
    let mut stage = Stage::with(policy, &[(0, 7)]);
    assert_eq!(stage.runs(&[REJECT]).1, [Action::Pause { offset: 0 }]);
    assert_eq!(stage.partition.halted(), None);
}
