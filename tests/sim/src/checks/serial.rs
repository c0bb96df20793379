//! Beside a database: in one assignment, events of one lane are never in two runs at once, and each begins
//! only when those before it have ended or stand before it in the same transaction.

use std::collections::{BTreeMap, BTreeSet};

use crate::story::{Breach, Story};
use crate::trace::{How, Note, Place};

/// A lane of one assignment.
type Lane = (u64, Option<u32>);

#[derive(Default)]
struct Lanes {
    /// Events that a run has begun since it was last undone.
    open: BTreeMap<Lane, (u64, BTreeSet<i64>)>,
    /// What was given and has not ended.
    queued: BTreeMap<Lane, BTreeSet<i64>>,
    restored: BTreeMap<u64, (i64, Vec<std::ops::Range<i64>>)>,
}

pub fn check(story: &Story) -> Result<(), Breach> {
    let mut lanes = Lanes::default();
    for (at, entry) in story.walk() {
        match &entry.note {
            Note::Taken { place, number, base, ended, .. } if story.has_database(*place) => {
                lanes.restored.insert(*number, (*base, ended.clone()));
            }
            Note::Delivered { place, number, offsets, .. } => {
                lanes.delivered(story, *place, *number, offsets);
            }
            Note::Began { place, number, run, offset, .. } | Note::Again { place, number, run, offset } => {
                if let Some(lane) = lane_of(story, *place, *number, *offset) {
                    lanes.began(at, lane, *run, *offset)?;
                }
            }
            Note::Ended { place, number, offset, how: How::Done, .. }
            | Note::LetterAcked { place, number, offset }
            | Note::SkipAsked { place, number, offset } => {
                let lane = lane_of(story, *place, *number, *offset);
                if let Some(queued) = lane.and_then(|lane| lanes.queued.get_mut(&lane)) {
                    queued.remove(offset);
                }
            }
            Note::Undone { run, .. } | Note::RunGone { run, .. } => {
                lanes.open.retain(|_, (open, _)| open != run);
            }
            _ => {}
        }
    }
    Ok(())
}

fn lane_of(story: &Story, place: Place, number: u64, offset: i64) -> Option<Lane> {
    let record = story.record(place, offset).filter(|_| story.has_database(place))?;
    story.lane(record).map(|lane| (number, lane))
}

impl Lanes {
    fn delivered(&mut self, story: &Story, place: Place, number: u64, offsets: &[i64]) {
        let Some((base, ended)) = self.restored.get(&number) else { return };
        let is_ended = |offset: &&i64| **offset < *base || ended.iter().any(|range| range.contains(*offset));
        for offset in offsets.iter().filter(|offset| !is_ended(offset)) {
            let handled = story.record(place, *offset).is_some_and(|record| story.is_handled(record));
            if let Some(lane) = lane_of(story, place, number, *offset).filter(|_| handled) {
                self.queued.entry(lane).or_default().insert(*offset);
            }
        }
    }

    fn began(&mut self, at: usize, lane: Lane, run: u64, offset: i64) -> Result<(), Breach> {
        let (number, _) = lane;
        let (open, mine) = self.open.entry(lane).or_insert((run, BTreeSet::new()));
        if *open != run {
            let what = format!("{offset} begins in run {run} of {number}, and its lane is in run {open}");
            return Breach::at(at, what);
        }
        if let Some(later) = mine.range(offset..).next() {
            return Breach::at(at, format!("{offset} begins in run {run} of {number} after {later}"));
        }
        let queued = self.queued.get(&lane);
        let earlier = queued.and_then(|queued| queued.range(..offset).find(|one| !mine.contains(one)));
        if let Some(earlier) = earlier {
            let what = format!("{offset} begins in run {run} of {number} before {earlier} of its lane");
            return Breach::at(at, what);
        }
        mine.insert(offset);
        Ok(())
    }
}
