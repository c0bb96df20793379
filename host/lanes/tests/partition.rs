//! Cases of the partition's state machine, one behaviour each: inputs in, actions out.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use keylane_lanes::{Action, Ending, Input, LaneId, Partition, Policy, RunAttempt, RunId, Verdict};

fn step(partition: &mut Partition, now_ms: u64, input: Input) -> Vec<Action> {
    let mut actions = Vec::new();
    partition.step(now_ms, input, &mut actions);
    actions
}

fn with_events(policy: Policy, events: &[(i64, u64)]) -> Partition {
    let mut partition = Partition::new(policy);
    for &(offset, lane) in events {
        assert!(step(&mut partition, 0, Input::Arrived { offset, lane: LaneId(lane) }).is_empty());
    }
    partition
}

fn slot(partition: &mut Partition, now_ms: u64, free: usize) -> Option<(RunId, Vec<(i64, u32)>)> {
    match step(partition, now_ms, Input::Slot { free }).pop() {
        Some(Action::Start { run, attempts }) => {
            Some((run, attempts.iter().map(|RunAttempt { offset, number, .. }| (*offset, *number)).collect()))
        }
        Some(Action::Decline) => None,
        other => panic!("a slot was answered by {other:?}"),
    }
}

fn ended(partition: &mut Partition, now_ms: u64, run: RunId, verdicts: &[Verdict]) -> Vec<Action> {
    step(partition, now_ms, Input::RunEnded { run, verdicts: verdicts.to_vec() })
}

const RETRY: Verdict = Verdict::Retry { after_ms: None };

#[test]
fn a_lane_is_in_one_run_at_a_time() {
    let mut partition = with_events(Policy::default(), &[(0, 7), (1, 8)]);
    let (first, _) = slot(&mut partition, 0, 2).unwrap();
    step(&mut partition, 0, Input::Arrived { offset: 2, lane: LaneId(7) });
    let (_, second) = slot(&mut partition, 0, 2).unwrap();
    assert_eq!(second, [(1, 1)], "lane 7 is out, so only lane 8 gives");
    assert_eq!(slot(&mut partition, 0, 1), None);
    ended(&mut partition, 0, first, &[Verdict::Done]);
    assert_eq!(slot(&mut partition, 0, 1).unwrap().1, [(2, 1)]);
}

#[test]
fn a_failed_event_parks_its_lane_and_nothing_else() {
    let policy = Policy { backoff_ms: 100, ..Policy::default() };
    let mut partition = with_events(policy, &[(0, 7), (1, 7), (2, 8)]);
    let (run, attempts) = slot(&mut partition, 0, 1).unwrap();
    assert_eq!(attempts, [(0, 1), (1, 1), (2, 1)]);
    let actions = ended(&mut partition, 10, run, &[RETRY, Verdict::NotStarted, Verdict::Done]);
    assert_eq!(actions, [Action::End { offset: 2, ending: Ending::Done }]);
    assert_eq!(partition.watermark(), Some(0));
    assert!(!partition.wants_slot(), "the failed lane waits");
    let deadline_ms = partition.next_deadline_ms().unwrap();
    assert!((85..=110).contains(&deadline_ms), "{deadline_ms}");
    step(&mut partition, deadline_ms, Input::Tick);
    let (_, again) = slot(&mut partition, deadline_ms, 1).unwrap();
    assert_eq!(again, [(0, 2)], "a head that failed runs without its followers, as attempt 2");
}

#[test]
fn the_handlers_own_wish_lengthens_the_wait() {
    let policy = Policy { backoff_ms: 100, ..Policy::default() };
    let mut partition = with_events(policy, &[(0, 7)]);
    let (run, _) = slot(&mut partition, 0, 1).unwrap();
    ended(&mut partition, 0, run, &[Verdict::Retry { after_ms: Some(5_000) }]);
    assert_eq!(partition.next_deadline_ms(), Some(5_000));
}

#[test]
fn no_wish_parks_a_lane_longer_than_the_longest_wait() {
    let policy = Policy { backoff_ms: 100, backoff_max_ms: 1_000, ..Policy::default() };
    let mut partition = with_events(policy, &[(0, 7)]);
    let (run, _) = slot(&mut partition, 5, 1).unwrap();
    ended(&mut partition, 5, run, &[Verdict::Retry { after_ms: Some(u64::MAX) }]);
    assert_eq!(partition.next_deadline_ms(), Some(1_005));
}

#[test]
fn exhausted_attempts_end_in_the_dead_letters_and_free_the_lane() {
    let policy = Policy { attempts_max: 2, backoff_ms: 1, ..Policy::default() };
    let mut partition = with_events(policy, &[(0, 7), (1, 7)]);
    let (run, _) = slot(&mut partition, 0, 1).unwrap();
    ended(&mut partition, 0, run, &[RETRY, Verdict::NotStarted]);
    step(&mut partition, 50, Input::Tick);
    let (run, _) = slot(&mut partition, 50, 1).unwrap();
    assert_eq!(ended(&mut partition, 50, run, &[RETRY]), [Action::Bury { offset: 0, attempts: 2 }]);
    assert_eq!(partition.watermark(), Some(0), "not ended before the letter is acknowledged");
    assert!(!partition.wants_slot() && !partition.is_quiet());
    let actions = step(&mut partition, 60, Input::Buried { offset: 0 });
    assert_eq!(actions, [Action::End { offset: 0, ending: Ending::DeadLettered }]);
    assert_eq!((partition.watermark(), partition.is_quiet()), (Some(1), true));
    assert_eq!(slot(&mut partition, 60, 1).unwrap().1, [(1, 1)]);
}

#[test]
fn a_rejected_event_is_not_tried_again() {
    let mut partition = with_events(Policy::default(), &[(0, 7)]);
    let (run, _) = slot(&mut partition, 0, 1).unwrap();
    assert_eq!(
        ended(&mut partition, 0, run, &[Verdict::Rejected]),
        [Action::Bury { offset: 0, attempts: 1 }]
    );
}

#[test]
fn a_condemned_event_is_buried_without_an_attempt_and_blocks_no_lane() {
    let mut partition = with_events(Policy::default(), &[(0, 7)]);
    let actions = step(&mut partition, 0, Input::Condemned { offset: 1 });
    assert_eq!(actions, [Action::Bury { offset: 1, attempts: 0 }]);
    step(&mut partition, 0, Input::Buried { offset: 1 });
    assert_eq!(slot(&mut partition, 0, 1).unwrap().1, [(0, 1)]);
}

#[test]
fn what_was_skipped_moves_the_watermark() {
    let mut partition = Partition::new(Policy::default());
    let actions = step(&mut partition, 0, Input::Skipped { offset: 4 });
    assert_eq!(actions, [Action::End { offset: 4, ending: Ending::Skipped }]);
    assert_eq!(partition.watermark(), Some(5));
}

#[test]
fn the_oldest_ready_head_is_served_first() {
    let policy = Policy { run_events_max: 1, backoff_ms: 10, ..Policy::default() };
    let mut partition = with_events(policy, &[(0, 7), (1, 8), (2, 7), (3, 9)]);
    let (run, attempts) = slot(&mut partition, 0, 1).unwrap();
    assert_eq!(attempts, [(0, 1)]);
    ended(&mut partition, 0, run, &[RETRY]);
    let (run, attempts) = slot(&mut partition, 1, 1).unwrap();
    assert_eq!(attempts, [(1, 1)], "lane 7 is parked");
    ended(&mut partition, 1, run, &[Verdict::Done]);
    step(&mut partition, 50, Input::Tick);
    assert_eq!(slot(&mut partition, 50, 1).unwrap().1, [(0, 2)], "the retried head does not wait behind 3");
    assert_eq!(slot(&mut partition, 50, 1).unwrap().1, [(3, 1)]);
}

#[test]
fn a_wide_gap_stops_admission_until_the_watermark_moves() {
    let policy = Policy { gap_max: 3, ..Policy::default() };
    let mut partition = with_events(policy, &[(0, 7), (1, 8), (2, 9)]);
    assert!(!partition.admits());
    let (run, attempts) = slot(&mut partition, 0, 1).unwrap();
    assert_eq!(attempts.len(), 3);
    ended(&mut partition, 0, run, &[RETRY, Verdict::Done, Verdict::Done]);
    assert!(!partition.admits(), "offset 0 still holds the watermark");
    let deadline_ms = partition.next_deadline_ms().unwrap();
    step(&mut partition, deadline_ms, Input::Tick);
    let (run, _) = slot(&mut partition, deadline_ms, 1).unwrap();
    ended(&mut partition, deadline_ms, run, &[Verdict::Done]);
    assert!(partition.admits());
}

#[test]
#[should_panic(expected = "went on after a failure")]
fn a_run_that_went_on_after_a_failure_is_refused() {
    let mut partition = with_events(Policy::default(), &[(0, 7), (1, 7)]);
    let (run, _) = slot(&mut partition, 0, 1).unwrap();
    ended(&mut partition, 0, run, &[RETRY, Verdict::Done]);
}

#[test]
#[should_panic(expected = "ended twice or was never begun")]
fn a_run_ends_once() {
    let mut partition = with_events(Policy::default(), &[(0, 7)]);
    let (run, _) = slot(&mut partition, 0, 1).unwrap();
    ended(&mut partition, 0, run, &[Verdict::Done]);
    ended(&mut partition, 0, run, &[Verdict::Done]);
}
