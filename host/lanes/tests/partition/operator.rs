//! Lanes and partitions that wait for an operator, and what the operator may ask.

use keylane_lanes::{Action, Ending, FailureClass, Halt, Input, Policy, Then, Verdict, Waiting};

use crate::stage::{RETRY, Stage, end, failed, quick};

const REJECT: Verdict = failed(FailureClass::Reject);

fn pausing() -> Policy {
    Policy { then: Then::PauseLane, attempts_max: 2, ..quick() }
}

fn stopping() -> Policy {
    Policy { then: Then::Stop, attempts_max: 2, run_events_max: 1, ..quick() }
}

fn resume(offset: i64) -> Input {
    Input::Resume { offset: Some(offset) }
}

const RESUME_ALL: Input = Input::Resume { offset: None };

/// Two lanes, of which the first is paused at 0 with 1 and 3 behind it.
fn paused() -> Stage {
    let mut stage = Stage::with(pausing(), &[(0, 7), (1, 7), (2, 8), (3, 7)]);
    let (_, actions) = stage.runs(&[REJECT, Verdict::NotStarted, Verdict::NotStarted]);
    assert_eq!(actions, [Action::Pause { offset: 0 }]);
    stage
}

#[test]
fn a_paused_lane_waits_and_the_others_go_on() {
    let mut stage = paused();
    let view = stage.partition.lane_views(10)[0];
    assert_eq!((view.offset, view.state, view.failures, view.queued), (0, Waiting::Paused, 1, 3));
    assert_eq!(stage.partition.next_deadline_ms(), None, "no time ends it");
    assert_eq!(stage.runs(&[Verdict::Done]), (vec![(2, 1)], vec![end(2, Ending::Done)]));
    stage.arrives(4, 7);
    assert_eq!(stage.slot(1), None, "what comes later stands behind the paused head");
    assert_eq!((stage.partition.blocking(), stage.partition.halted()), (Some(0), None));
    assert!(stage.partition.is_quiet() && stage.partition.admits());
}

#[test]
fn a_resumed_lane_has_all_its_attempts_again() {
    let mut stage = Stage::with(pausing(), &[(0, 7)]);
    for _ in 0..3 {
        let (attempts, actions) = stage.fails_until_the_last_step(RETRY);
        assert_eq!((attempts, actions), (2, vec![Action::Pause { offset: 0 }]));
        assert_eq!(stage.step(resume(0)), []);
    }
    assert_eq!(stage.runs(&[Verdict::Done]), (vec![(0, 1)], vec![end(0, Ending::Done)]));
}

#[test]
fn a_resumed_event_is_young_again() {
    let policy = Policy { age_max_ms: Some(1_000), attempts_max: 5, ..pausing() };
    let mut stage = Stage::with(policy, &[(0, 7)]);
    stage.runs(&[RETRY]);
    stage.now_ms = 1_000;
    stage.step(Input::Tick);
    assert_eq!(stage.runs(&[RETRY]).1, [Action::Pause { offset: 0 }]);
    stage.step(resume(0));
    assert_eq!(stage.runs(&[RETRY]).1, [], "its age is counted from this attempt");
}

#[test]
fn a_skipped_head_ends_and_its_lane_goes_on() {
    let mut stage = paused();
    assert_eq!(stage.skips(0), [end(0, Ending::Skipped)]);
    assert_eq!(stage.partition.watermark(), 1, "a skip is an ending");
    let (run, attempts) = stage.slot(1).unwrap();
    assert_eq!(attempts, [(1, 1), (3, 1), (2, 1)], "1 is charged nothing of what 0 was");
    stage.ends(run, &[Verdict::Done; 3]);
    assert_eq!(stage.partition.watermark(), 4);
}

/// Were it to run meanwhile, it could be handled and skipped.
#[test]
fn a_head_that_is_given_up_waits_until_that_is_noted() {
    let mut stage = paused();
    assert_eq!(stage.step(Input::SkipHead { offset: 0 }), [Action::Skip { offset: 0 }]);
    let view = stage.partition.lane_views(1)[0];
    assert_eq!((view.offset, view.state, view.queued), (0, Waiting::Skipping, 3));
    let counts = stage.partition.counts();
    assert_eq!((counts.skipping, counts.paused, counts.burying, counts.running), (1, 0, 0, 0));
    assert!(!stage.partition.is_quiet(), "a drain waits for the note");
    assert_eq!(stage.runs(&[Verdict::Done]).0, [(2, 1)], "the others go on");
    for wish in [resume(0), Input::SkipHead { offset: 0 }] {
        assert_eq!(stage.step(wish), [Action::Refused { offset: 0 }], "it can't be called back");
    }
    assert_eq!(stage.step(RESUME_ALL), []);
    assert_eq!((stage.slot(1), stage.partition.watermark()), (None, 0));
    assert_eq!(stage.step(Input::HeadSkipped { offset: 0 }), [end(0, Ending::Skipped)]);
    assert!(stage.partition.is_quiet());
}

#[test]
fn a_skip_ends_a_halt_only_when_it_is_noted() {
    let mut stage = Stage::with(stopping(), &[(0, 7), (1, 8)]);
    stage.runs(&[REJECT]);
    stage.step(Input::SkipHead { offset: 0 });
    assert_eq!(stage.partition.halted(), Some(Halt::Exhausted { offset: 0 }));
    assert_eq!(stage.slot(1), None);
    stage.step(Input::HeadSkipped { offset: 0 });
    assert_eq!(stage.partition.halted(), None);
}

#[test]
fn a_skipped_head_without_followers_ends_its_lane() {
    let mut stage = Stage::with(pausing(), &[(0, 7)]);
    stage.runs(&[REJECT]);
    stage.skips(0);
    assert_eq!(stage.partition.counts(), keylane_lanes::LaneCounts::default());
    stage.arrives(1, 7);
    assert_eq!(stage.slot(1).unwrap().1, [(1, 1)]);
}

#[test]
fn a_parked_head_may_be_skipped_and_its_deadline_goes_with_it() {
    let mut stage = Stage::with(quick(), &[(0, 7), (1, 7)]);
    stage.runs(&[RETRY, Verdict::NotStarted]);
    let deadline_ms = stage.partition.next_deadline_ms().unwrap();
    assert_eq!(stage.skips(0), [end(0, Ending::Skipped)]);
    assert_eq!(stage.partition.next_deadline_ms(), None);
    let (run, attempts) = stage.slot(1).unwrap();
    assert_eq!(attempts, [(1, 1)]);
    stage.now_ms = deadline_ms;
    assert_eq!(stage.step(Input::Tick), [], "the old deadline does not free the running lane");
    assert_eq!(stage.slot(1), None);
    stage.ends(run, &[Verdict::Done]);
}

#[test]
fn a_parked_head_may_be_resumed_before_its_time() {
    let mut stage = Stage::with(quick(), &[(0, 7)]);
    stage.runs(&[RETRY]);
    assert_eq!(stage.step(resume(0)), []);
    assert_eq!(stage.partition.next_deadline_ms(), None);
    assert_eq!(stage.slot(1).unwrap().1, [(0, 1)], "as if for the first time");
}

#[test]
fn only_waiting_heads_can_be_named() {
    let refused = |stage: &mut Stage, offset: i64| {
        assert_eq!(stage.step(resume(offset)), [Action::Refused { offset }]);
        assert_eq!(stage.step(Input::SkipHead { offset }), [Action::Refused { offset }]);
    };
    let mut stage = Stage::with(Policy { attempts_max: 1, ..quick() }, &[(0, 7), (1, 7)]);
    refused(&mut stage, 0);
    let (run, _) = stage.slot(1).unwrap();
    refused(&mut stage, 0);
    stage.ends(run, &[RETRY, Verdict::NotStarted]);
    refused(&mut stage, 0);
    refused(&mut stage, 1);
    refused(&mut stage, 2);
    stage.step(Input::Condemned { offset: 2 });
    refused(&mut stage, 2);
    stage.step(Input::Buried { offset: 0 });
    assert_eq!(stage.slot(1).unwrap().1, [(1, 1)], "nothing of that had an effect");
}

#[test]
fn resuming_all_leaves_parked_lanes_alone() {
    let mut stage = Stage::with(pausing(), &[(0, 7), (1, 8), (2, 9)]);
    stage.runs(&[RETRY, REJECT, REJECT]);
    assert_eq!(stage.step(RESUME_ALL), []);
    assert_eq!((stage.partition.counts().parked, stage.partition.counts().paused), (1, 0));
    assert_eq!(stage.slot(1).unwrap().1, [(1, 1), (2, 1)]);
    assert_eq!(stage.step(RESUME_ALL), [], "with nothing to resume it is no mistake");
}

#[test]
fn stop_halts_the_partition() {
    let mut stage = Stage::with(stopping(), &[(0, 7), (1, 8)]);
    let halt = Halt::Exhausted { offset: 0 };
    let (_, actions) = stage.runs(&[REJECT]);
    assert_eq!(actions, [Action::Pause { offset: 0 }, Action::Halt(halt)]);
    assert_eq!(stage.partition.halted(), Some(halt));
    assert_eq!((stage.slot(1), stage.partition.wants_slot(), stage.partition.admits()), (None, false, false));
}

#[test]
fn a_halted_partition_goes_on_when_its_culprit_is_resumed_or_skipped() {
    for wish in [Some(resume(0)), None, Some(RESUME_ALL)] {
        let mut stage = Stage::with(stopping(), &[(0, 7), (1, 8)]);
        stage.runs(&[REJECT]);
        let first = if wish.is_none() { 1 } else { 0 };
        match wish {
            Some(wish) => stage.step(wish),
            None => stage.skips(0),
        };
        assert_eq!(stage.partition.halted(), None);
        assert_eq!(stage.slot(1).unwrap().1, [(first, 1)]);
    }
}

#[test]
fn runs_that_are_out_when_it_halts_may_end() {
    let mut stage = Stage::with(stopping(), &[(0, 7), (1, 8), (2, 9)]);
    let [first, second, third] = [(); 3].map(|()| stage.slot(1).unwrap().0);
    stage.ends(first, &[REJECT]);
    assert_eq!(stage.ends(second, &[Verdict::Done]), [end(1, Ending::Done)]);
    assert_eq!(stage.ends(third, &[RETRY]), [], "it parks, and stays parked");
    assert_eq!(stage.partition.next_deadline_ms(), None);
    stage.now_ms = 10_000;
    stage.step(Input::Tick);
    assert_eq!(stage.partition.counts().parked, 1);
    stage.skips(0);
    assert_eq!(stage.slot(1).unwrap().1, [(2, 2)], "what was due meanwhile goes on at once");
}

#[test]
fn the_next_exhausted_event_holds_the_partition_when_the_first_is_dealt_with() {
    let mut stage = Stage::with(stopping(), &[(0, 7), (1, 8), (2, 9), (3, 10)]);
    let [first, second, third] = [(); 3].map(|()| stage.slot(1).unwrap().0);
    assert_eq!(stage.ends(third, &[REJECT]).len(), 2);
    assert_eq!(stage.ends(first, &[REJECT]), [Action::Pause { offset: 0 }], "it is halted already");
    assert_eq!(stage.ends(second, &[REJECT]), [Action::Pause { offset: 1 }]);
    assert_eq!(stage.partition.halted(), Some(Halt::Exhausted { offset: 2 }));
    assert_eq!(stage.skips(1), [end(1, Ending::Skipped)], "not the culprit");
    assert_eq!(stage.step(resume(2)), [Action::Halt(Halt::Exhausted { offset: 0 })]);
    assert_eq!(stage.slot(1), None, "2 goes on when the partition does");
    assert_eq!(stage.skips(0), [end(0, Ending::Skipped)]);
    assert_eq!(stage.slot(1).unwrap().1, [(2, 1)]);
}

#[test]
fn a_head_parked_in_a_halted_partition_may_be_skipped() {
    let mut stage = Stage::with(stopping(), &[(0, 7), (1, 8)]);
    stage.runs(&[RETRY]);
    stage.runs(&[REJECT]);
    assert_eq!(stage.partition.halted(), Some(Halt::Exhausted { offset: 1 }));
    assert_eq!(stage.skips(0), [end(0, Ending::Skipped)]);
    assert_eq!(stage.partition.halted(), Some(Halt::Exhausted { offset: 1 }));
    assert_eq!(stage.partition.watermark(), 1, "progress moves in a halted partition too");
}

#[test]
fn views_are_bounded_and_oldest_first() {
    let mut stage = Stage::with(pausing(), &[(0, 9), (1, 8), (2, 7)]);
    stage.runs(&[REJECT, RETRY, REJECT]);
    let offsets =
        |limit| stage.partition.lane_views(limit).iter().map(|view| view.offset).collect::<Vec<_>>();
    assert_eq!((offsets(2), offsets(0), offsets(9)), (vec![0, 1], vec![], vec![0, 1, 2]));
}
