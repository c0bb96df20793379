//! Two events of one lane never overlap and never run out of offset order. They may overlap only with those
//! of another host that lost the partition without noticing; the checker of leases bounds that. Beside a
//! database more is promised, by other checkers.

use std::collections::{BTreeMap, BTreeSet};

use crate::story::{Breach, Story};
use crate::trace::{How, Note, Place};

/// A lane of one place.
type Lane = (Place, Option<u32>);

/// An event that is being handled.
#[derive(Clone, Copy)]
struct Open {
    host: u8,
    number: u64,
    offset: i64,
}

#[derive(Default)]
struct Lanes {
    open: BTreeMap<Lane, Vec<Open>>,
    /// What an assignment was given and has not ended, by lane.
    queued: BTreeMap<(u64, Lane), BTreeSet<i64>>,
    /// What each assignment restored.
    restored: BTreeMap<u64, (i64, Vec<std::ops::Range<i64>>)>,
    /// Events that an operator wanted to give up.
    skip_asked: BTreeSet<(Place, i64)>,
    /// Events that began while one of another host ran in their lane.
    overlaps: u64,
}

pub fn check(story: &Story) -> Result<(), Breach> {
    walk(story).map(drop)
}

/// How often events of one lane overlapped over two hosts, as they may.
pub fn overlaps(story: &Story) -> u64 {
    walk(story).unwrap_or(0)
}

fn walk(story: &Story) -> Result<u64, Breach> {
    let mut lanes = Lanes::default();
    for (at, entry) in story.walk() {
        match &entry.note {
            Note::Taken { number, base, ended, .. } => {
                lanes.restored.insert(*number, (*base, ended.clone()));
            }
            Note::Delivered { place, number, offsets, .. } => {
                lanes.delivered(story, *place, *number, offsets)
            }
            Note::Began { place, number, offset, .. } => {
                let begun = Open { host: entry.host, number: *number, offset: *offset };
                if let Some(lane) = lane_of(story, *place, *offset) {
                    lanes.began(at, lane, begun)?;
                }
            }
            Note::Ended { place, number, offset, how, .. } => {
                let lane = lane_of(story, *place, *offset);
                lanes.close(lane, *number, *offset);
                if *how == How::Done {
                    lanes.ended(lane, *number, *offset);
                }
            }
            Note::BrokenOff { place, number, offset, .. } => {
                lanes.close(lane_of(story, *place, *offset), *number, *offset);
            }
            Note::LetterAcked { place, number, offset } => {
                lanes.ended(lane_of(story, *place, *offset), *number, *offset);
            }
            Note::SkipAsked { place, offset, .. } => drop(lanes.skip_asked.insert((*place, *offset))),
            Note::Crashed => {
                lanes.open.values_mut().for_each(|open| open.retain(|one| one.host != entry.host));
            }
            _ => {}
        }
    }
    Ok(lanes.overlaps)
}

fn lane_of(story: &Story, place: Place, offset: i64) -> Option<Lane> {
    let record = story.record(place, offset).filter(|_| !story.has_database(place))?;
    story.lane(record).map(|lane| (place, lane))
}

impl Lanes {
    fn delivered(&mut self, story: &Story, place: Place, number: u64, offsets: &[i64]) {
        let restored = self.restored.get(&number);
        let is_ended = |offset: i64| {
            restored.is_some_and(|(base, ended)| {
                offset < *base || ended.iter().any(|range| range.contains(&offset))
            })
        };
        for offset in offsets.iter().filter(|offset| !is_ended(**offset)) {
            let handled = story.record(place, *offset).is_some_and(|record| story.is_handled(record));
            if let Some(lane) = lane_of(story, place, *offset).filter(|_| handled) {
                self.queued.entry((number, lane)).or_default().insert(*offset);
            }
        }
    }

    fn began(&mut self, at: usize, lane: Lane, begun: Open) -> Result<(), Breach> {
        let Open { host, number, offset } = begun;
        let open = self.open.entry(lane).or_default();
        if let Some(other) = open.iter().find(|other| other.host == host) {
            let what = format!("{}: {offset} begins while {} of its lane runs", lane.0, other.offset);
            return Breach::at(at, what);
        }
        self.overlaps += u64::from(!open.is_empty());
        open.push(begun);
        let queued = self.queued.get(&(number, lane));
        let earlier = queued.and_then(|queued| {
            queued.range(..offset).find(|earlier| !self.skip_asked.contains(&(lane.0, **earlier)))
        });
        if let Some(earlier) = earlier {
            let what = format!("{}: {offset} begins before {earlier} of its lane has ended", lane.0);
            return Breach::at(at, what);
        }
        if !queued.is_some_and(|queued| queued.contains(&offset)) {
            let what = format!("{}: {offset} begins, and was not delivered or has ended", lane.0);
            return Breach::at(at, what);
        }
        Ok(())
    }

    fn close(&mut self, lane: Option<Lane>, number: u64, offset: i64) {
        let Some(open) = lane.and_then(|lane| self.open.get_mut(&lane)) else { return };
        open.retain(|one| one.number != number || one.offset != offset);
    }

    fn ended(&mut self, lane: Option<Lane>, number: u64, offset: i64) {
        let Some(queued) = lane.and_then(|lane| self.queued.get_mut(&(number, lane))) else { return };
        queued.remove(&offset);
    }
}
