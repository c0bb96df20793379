//! Endings: dead letters, condemned and unwanted records, and what moves the watermark.

use keylane_lanes::{Action, Ending, FailureClass, Input, Policy, Verdict, Waiting};

use crate::stage::{RETRY, Stage, end, failed, quick};

#[test]
fn exhausted_attempts_end_in_the_dead_letters_and_free_the_lane() {
    let mut stage = Stage::with(Policy { attempts_max: 2, ..quick() }, &[(0, 7), (1, 7)]);
    stage.runs(&[RETRY, Verdict::NotStarted]);
    stage.waits();
    assert_eq!(stage.runs(&[RETRY]).1, [Action::Bury { offset: 0, attempts: 2 }]);
    assert_eq!(stage.partition.watermark(), 0, "not ended before the letter is acknowledged");
    assert!(!stage.partition.wants_slot() && !stage.partition.is_quiet());
    assert_eq!(stage.partition.lane_views(1)[0].state, Waiting::Burying);
    assert_eq!(stage.step(Input::Buried { offset: 0 }), [end(0, Ending::DeadLettered)]);
    assert_eq!((stage.partition.watermark(), stage.partition.is_quiet()), (1, true));
    assert_eq!(stage.slot(1).unwrap().1, [(1, 1)]);
}

#[test]
fn a_rejected_event_is_not_tried_again() {
    for class in [FailureClass::Reject, FailureClass::Undeliverable] {
        let mut stage = Stage::with(quick(), &[(0, 7)]);
        assert_eq!(stage.runs(&[failed(class)]).1, [Action::Bury { offset: 0, attempts: 1 }]);
    }
}

#[test]
fn a_condemned_event_is_buried_without_an_attempt_and_blocks_no_lane() {
    let mut stage = Stage::with(quick(), &[(0, 7)]);
    assert_eq!(stage.step(Input::Condemned { offset: 1 }), [Action::Bury { offset: 1, attempts: 0 }]);
    assert!(!stage.partition.is_quiet());
    assert_eq!(stage.partition.lane_views(10), [], "it is in no lane");
    assert_eq!(stage.step(Input::Buried { offset: 1 }), [end(1, Ending::DeadLettered)]);
    assert!(stage.partition.is_quiet());
    assert_eq!(stage.slot(1).unwrap().1, [(0, 1)]);
}

#[test]
fn what_was_skipped_moves_the_watermark() {
    let mut stage = Stage::new(quick());
    assert_eq!(stage.step(Input::Skipped { offset: 4 }), [end(4, Ending::Skipped)]);
    assert_eq!(stage.partition.watermark(), 5);
}

#[test]
fn what_the_client_has_passed_moves_the_watermark_of_an_idle_partition() {
    let mut stage = Stage::with(quick(), &[(4, 7)]);
    assert_eq!(stage.step(Input::Reached { next: 9 }), []);
    assert_eq!(stage.partition.watermark(), 4, "4 has not ended");
    stage.runs(&[Verdict::Done]);
    assert_eq!(stage.partition.watermark(), 9);
    stage.step(Input::Reached { next: 6 });
    assert_eq!(stage.partition.watermark(), 9, "that was known already");
    stage.step(Input::Reached { next: 12 });
    assert_eq!((stage.partition.watermark(), stage.partition.gap()), (12, 0));
}

#[test]
fn events_end_in_the_order_in_which_their_lane_had_them() {
    let mut stage = Stage::with(Policy { attempts_max: 1, ..quick() }, &[(0, 7), (1, 7), (2, 7)]);
    let (_, actions) = stage.runs(&[Verdict::Done, Verdict::Done, RETRY]);
    let bury = Action::Bury { offset: 2, attempts: 1 };
    assert_eq!(actions, [end(0, Ending::Done), end(1, Ending::Done), bury]);
}

#[test]
#[should_panic(expected = "not on its way to the dead letters")]
fn nothing_is_buried_that_was_not_sent_there() {
    let mut stage = Stage::with(quick(), &[(0, 7)]);
    stage.runs(&[RETRY]);
    stage.step(Input::Buried { offset: 0 });
}

#[test]
#[should_panic(expected = "not on its way to the dead letters")]
fn nothing_is_buried_twice() {
    let mut stage = Stage::new(quick());
    stage.step(Input::Condemned { offset: 0 });
    stage.step(Input::Buried { offset: 0 });
    stage.step(Input::Buried { offset: 0 });
}
