//! What a partition shows of itself, held against the model.

use std::ops::Range;

use keylane_lanes::{LaneCounts, LaneView, Partition, Waiting};

use crate::history::holds;
use crate::model::{Event, Model, State};

/// Everything that is cheap to look at. Remembers the deadlines it sees.
pub fn check(model: &mut Model, partition: &Partition, watermark_before: i64) {
    let first = model.events.keys().next().copied();
    assert_eq!(partition.blocking(), first);
    assert_eq!(partition.watermark(), watermark(model, watermark_before));
    assert_eq!(partition.halted(), model.halted);
    assert_eq!(partition.wants_slot(), model.wants_slot());
    let gap = first.map_or(0, |first| model.fresh.range(first..).count());
    assert_eq!(partition.gap(), gap);
    assert_eq!(partition.admits(), model.halted.is_none() && gap < model.policy.gap_max);
    let is_out = |event: &&Event| matches!(event.state, State::Burying | State::Skipping);
    let out = model.runs.len() + model.events.values().filter(is_out).count();
    assert_eq!(partition.is_quiet(), out == 0);
    check_heads(model, &partition.lane_views(usize::MAX));
    check_counts(model, partition);
    let deadlines = model.events.values().filter_map(|event| match event.state {
        State::Parked { until_ms, .. } => until_ms,
        _ => None,
    });
    assert_eq!(partition.next_deadline_ms(), deadlines.min().filter(|_| model.halted.is_none()));
}

/// The first offset, from where it was, that may still be unfinished.
fn watermark(model: &Model, before: i64) -> i64 {
    let ended = |offset: i64| {
        let came = offset < model.next && !model.events.contains_key(&offset);
        came || holds(&model.restored, offset)
    };
    (before..).find(|offset| !ended(*offset)).unwrap()
}

fn check_heads(model: &mut Model, views: &[LaneView]) {
    let queued = |model: &Model, lane| model.events.values().filter(|event| event.lane == lane).count();
    let mut views = views.iter();
    let waiting: Vec<i64> = model
        .events
        .iter()
        .filter(|(_, event)| event.lane.is_some() && !matches!(event.state, State::Queued | State::Running))
        .map(|(offset, _)| *offset)
        .collect();
    for offset in waiting {
        let view = views.next().unwrap();
        assert_eq!(view.offset, offset);
        assert_eq!(view.queued, queued(model, Some(view.lane)));
        let event = model.events.get_mut(&offset).unwrap();
        assert_eq!(Some(view.lane), event.lane);
        assert_eq!(view.failures as usize, event.failures.classes.len());
        match (&mut event.state, view.state) {
            (State::Parked { from_ms, to_ms, until_ms }, Waiting::Parked { until_ms: seen_ms }) => {
                assert!(*from_ms <= seen_ms && seen_ms <= *to_ms, "{from_ms}..={to_ms}: {seen_ms}");
                assert_eq!(*until_ms.get_or_insert(seen_ms), seen_ms, "a deadline moved");
            }
            (State::Paused, Waiting::Paused)
            | (State::Burying, Waiting::Burying)
            | (State::Skipping, Waiting::Skipping) => {}
            (expected, seen) => panic!("{offset} is {expected:?} and shows {seen:?}"),
        }
    }
    assert_eq!(views.next(), None, "it waits and should not");
}

fn check_counts(model: &Model, partition: &Partition) {
    let count = |state: fn(&State) -> bool| {
        model.events.values().filter(|event| event.lane.is_some() && state(&event.state)).count()
    };
    let mut running: Vec<_> =
        model.runs.values().flat_map(|(_, attempts)| attempts).map(|attempt| attempt.lane).collect();
    running.sort_unstable();
    running.dedup();
    let expected = LaneCounts {
        ready: model.ready().len(),
        running: running.len(),
        parked: count(|state| matches!(state, State::Parked { .. })),
        paused: count(|state| *state == State::Paused),
        burying: count(|state| *state == State::Burying),
        skipping: count(|state| *state == State::Skipping),
        runs: model.runs.len(),
    };
    assert_eq!(partition.counts(), expected);
}

/// The gap set, offset by offset: what is unfinished or unknown is never in it, what has ended above
/// the watermark always is, and no range begins or ends with an offset that never came.
pub fn check_gap_set(model: &Model, partition: &Partition) {
    let progress = partition.gap_set();
    assert_eq!(progress.base, partition.watermark());
    let mut before = progress.base;
    for range in &progress.ended {
        assert!(before < range.start && range.start < range.end, "{progress:?}");
        before = range.end;
    }
    let ended = |offset: i64| {
        let done = model.fresh.contains(&offset) && !model.events.contains_key(&offset);
        done || (offset > progress.base && holds(&model.restored, offset))
    };
    let came = model.fresh.difference(&model.unwanted);
    let came = came.filter(|offset| **offset > progress.base && ended(**offset)).count();
    let above = |range: &Range<i64>| (range.end - range.start.max(progress.base)).max(0) as usize;
    let restored: usize = model.restored.ended.iter().map(above).sum();
    assert_eq!(partition.claims_above(), came + restored);
    let end = before.max(model.next).max(model.restored.ended.last().map_or(0, |range| range.end));
    for offset in progress.base..end {
        let held = holds(&progress, offset);
        assert!(!held || !model.events.contains_key(&offset), "{offset} is unfinished: {progress:?}");
        assert!(!held || offset < model.next || ended(offset), "{offset} may still come: {progress:?}");
        assert!(held || !ended(offset), "{offset} has ended: {progress:?}");
    }
    assert!(progress.ended.iter().all(|range| ended(range.start) && ended(range.end - 1)), "{progress:?}");
}
