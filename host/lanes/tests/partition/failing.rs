//! Failures: what is charged to whom, caps and age, and how long a head waits.

use keylane_lanes::{Action, ClassCaps, Ending, FailureClass, LaneId, LaneView, Policy, Verdict, Waiting};

use crate::stage::{RETRY, Stage, end, failed, quick};

fn buried(offset: i64, attempts: u32) -> Vec<Action> {
    vec![Action::Bury { offset, attempts }]
}

/// How many failures of a class lead to the last step.
fn attempts_of(policy: Policy, class: FailureClass) -> u32 {
    let (attempts, actions) = Stage::with(policy, &[(0, 7)]).fails_until_the_last_step(failed(class));
    assert_eq!(actions, buried(0, attempts), "all attempts are counted in the dead letter");
    attempts
}

#[test]
fn each_class_has_its_own_cap() {
    let caps = ClassCaps { retry: 7, trap: 2, timeout: 3, memory: 4, effects: 20 };
    let policy = Policy { attempts_max: 10, caps, ..quick() };
    assert_eq!(attempts_of(policy, FailureClass::Retry), 7);
    assert_eq!(attempts_of(policy, FailureClass::Trap), 2);
    assert_eq!(attempts_of(policy, FailureClass::Timeout), 3);
    assert_eq!(attempts_of(policy, FailureClass::Memory), 4);
    assert_eq!(attempts_of(policy, FailureClass::Effects), 20, "more than attempts_max: nobody's fault");
    assert_eq!(attempts_of(policy, FailureClass::Reject), 1);
    assert_eq!(attempts_of(policy, FailureClass::Undeliverable), 1);
}

#[test]
fn failures_of_all_classes_but_effects_use_up_the_attempts_together() {
    let mut stage = Stage::with(Policy { attempts_max: 4, ..quick() }, &[(0, 7)]);
    let classes = [
        FailureClass::Trap,
        FailureClass::Effects,
        FailureClass::Timeout,
        FailureClass::Effects,
        FailureClass::Memory,
        FailureClass::Effects,
    ];
    for class in classes {
        assert_eq!(stage.runs(&[failed(class)]).1, []);
        stage.waits();
    }
    assert_eq!(stage.runs(&[RETRY]), (vec![(0, 7)], buried(0, 7)), "four of the seven are charged");
}

#[test]
fn effects_back_off_by_their_own_count() {
    let policy = Policy { backoff_ms: 1_000, backoff_max_ms: 1_000_000, ..quick() };
    let mut stage = Stage::with(policy, &[(0, 7)]);
    let mut wait_ms = |class| {
        stage.runs(&[failed(class)]);
        let before_ms = stage.now_ms;
        stage.waits();
        stage.now_ms - before_ms
    };
    let within = |full_ms: u64| full_ms - full_ms / 4..=full_ms;
    for full_ms in [1_000, 2_000, 4_000] {
        assert!(within(full_ms).contains(&wait_ms(FailureClass::Effects)));
    }
    assert!(within(1_000).contains(&wait_ms(FailureClass::Trap)), "its first own failure");
    assert!(within(8_000).contains(&wait_ms(FailureClass::Effects)));
    assert!(within(2_000).contains(&wait_ms(FailureClass::Timeout)), "its second own failure");
}

#[test]
fn only_the_event_that_failed_is_charged() {
    let policy = Policy { attempts_max: 2, run_events_max: 3, ..quick() };
    let mut stage = Stage::with(policy, &[(0, 7), (1, 7), (2, 8)]);
    stage.runs(&[RETRY, Verdict::NotStarted, Verdict::Done]);
    stage.waits();
    assert_eq!(stage.runs(&[Verdict::Done]), (vec![(0, 2)], vec![end(0, Ending::Done)]));
    assert_eq!(stage.runs(&[RETRY]), (vec![(1, 1)], vec![]), "what 0 was charged went with it");
    stage.waits();
    assert_eq!(stage.runs(&[RETRY]).1, buried(1, 2));
    stage.arrives(3, 7);
    stage.step(keylane_lanes::Input::Buried { offset: 1 });
    assert_eq!(stage.slot(1).unwrap().1, [(3, 1)]);
}

#[test]
fn a_failure_behind_done_events_of_its_lane_is_its_own() {
    let mut stage = Stage::with(quick(), &[(0, 7), (1, 7), (2, 7)]);
    let (_, actions) = stage.runs(&[Verdict::Done, RETRY, Verdict::NotStarted]);
    assert_eq!(actions, [end(0, Ending::Done)]);
    let until_ms = stage.partition.next_deadline_ms().unwrap();
    assert_eq!(
        stage.partition.lane_views(10),
        [LaneView {
            offset: 1,
            lane: LaneId(7),
            failures: 1,
            state: Waiting::Parked { until_ms },
            queued: 2
        }]
    );
    stage.waits();
    assert_eq!(stage.slot(1).unwrap().1, [(1, 2)]);
}

#[test]
fn the_handlers_own_wish_lengthens_the_wait() {
    let mut stage = Stage::with(quick(), &[(0, 7)]);
    stage.runs(&[Verdict::Failed { class: FailureClass::Retry, after_ms: Some(5_000) }]);
    assert_eq!(stage.partition.next_deadline_ms(), Some(5_000));
}

#[test]
fn no_wish_parks_a_lane_longer_than_the_longest_wait() {
    let mut stage = Stage::with(Policy { backoff_max_ms: 1_000, ..quick() }, &[(0, 7)]);
    stage.now_ms = 5;
    stage.runs(&[Verdict::Failed { class: FailureClass::Retry, after_ms: Some(u64::MAX) }]);
    assert_eq!(stage.partition.next_deadline_ms(), Some(1_005));
}

#[test]
fn no_wait_reaches_past_the_greatest_age_and_one_attempt_is_made_there() {
    let policy = Policy { age_max_ms: Some(3_000), ..quick() };
    let mut stage = Stage::with(policy, &[(0, 7)]);
    stage.now_ms = 100;
    let (run, _) = stage.slot(1).unwrap();
    stage.now_ms = 600;
    let wish = Verdict::Failed { class: FailureClass::Retry, after_ms: Some(50_000) };
    assert_eq!(stage.ends(run, &[wish]), []);
    assert_eq!(stage.partition.next_deadline_ms(), Some(3_100), "counted from the first attempt's begin");
    stage.waits();
    assert_eq!(stage.runs(&[wish]), (vec![(0, 2)], buried(0, 2)));
}

#[test]
fn below_the_greatest_age_nothing_changes() {
    let mut stage = Stage::with(Policy { age_max_ms: Some(3_000), ..quick() }, &[(0, 7)]);
    for now_ms in [0, 1_500, 2_999] {
        stage.now_ms = now_ms;
        stage.step(keylane_lanes::Input::Tick);
        assert_eq!(stage.runs(&[RETRY]).1, []);
    }
    assert!(stage.partition.next_deadline_ms() <= Some(3_000));
}

#[test]
fn age_counts_for_every_class_and_from_the_first_attempt_alone() {
    let policy = Policy { age_max_ms: Some(1_000), ..quick() };
    let mut stage = Stage::with(policy, &[(0, 7), (1, 7)]);
    stage.now_ms = 5_000;
    assert_eq!(stage.runs(&[failed(FailureClass::Effects), Verdict::NotStarted]).1, [], "waiting is no age");
    stage.now_ms = 6_000;
    stage.step(keylane_lanes::Input::Tick);
    assert_eq!(stage.runs(&[failed(FailureClass::Effects)]).1, buried(0, 2));
    stage.step(keylane_lanes::Input::Buried { offset: 0 });
    assert_eq!(stage.runs(&[RETRY]).1, [], "1 begins its own age");
}

#[test]
fn an_attempt_that_lasts_longer_than_the_greatest_age_is_the_last() {
    let mut stage = Stage::with(Policy { age_max_ms: Some(1_000), ..quick() }, &[(0, 7)]);
    let (run, _) = stage.slot(1).unwrap();
    stage.now_ms = 1_000;
    assert_eq!(stage.ends(run, &[RETRY]), buried(0, 1));
}
