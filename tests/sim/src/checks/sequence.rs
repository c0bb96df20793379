//! Beside a database: effects of one lane are committed in offset order, over all hosts, restarts and
//! retries. When an event is committed, those before it in its lane have ended in the database.

use std::collections::{BTreeMap, BTreeSet};

use super::claimed::Claimed;
use crate::database::EndedAs;
use crate::story::{Breach, Story};
use crate::trace::{Note, Place};

pub fn check(story: &Story) -> Result<(), Breach> {
    let mut claimed = Claimed::default();
    let lanes = lanes(story);
    for (at, entry) in story.walk() {
        claimed.take(entry);
        let Note::Committed { place, endings, effects, .. } = &entry.note else { continue };
        if effects.windows(2).any(|two| two[0] == two[1]) {
            return Breach::at(at, format!("{place}: an event writes twice in one transaction: {effects:?}"));
        }
        let mut later: BTreeSet<i64> = effects.iter().copied().collect();
        for offset in effects {
            later.remove(offset);
            let before = earlier(story, &lanes, *place, *offset);
            if let Some(open) =
                before.into_iter().find(|one| !claimed.has(*place, *one) || later.contains(one))
            {
                let what = format!("{place}: {offset} is committed before {open} of its lane has ended");
                return Breach::at(at, what);
            }
        }
        if let Some((offset, _)) =
            endings.iter().find(|(offset, how)| *how == EndedAs::Done && !effects.contains(offset))
        {
            return Breach::at(at, format!("{place}: {offset} is claimed as done without its effects"));
        }
    }
    Ok(())
}

/// The handled records of each lane that are still in the log.
type Lanes = BTreeMap<(i32, Option<u32>), BTreeSet<i64>>;

fn lanes(story: &Story) -> Lanes {
    let mut lanes = Lanes::new();
    for (partition, records) in (0..).zip(&story.remaining) {
        for record in records.values().filter(|record| story.is_handled(record)) {
            if let Some(lane) = story.lane(record) {
                lanes.entry((partition, lane)).or_default().insert(record.offset);
            }
        }
    }
    lanes
}

fn earlier(story: &Story, lanes: &Lanes, place: Place, offset: i64) -> Vec<i64> {
    let lane = story.record(place, offset).and_then(|record| story.lane(record));
    let Some(lane) = lane.and_then(|lane| lanes.get(&(place.partition, lane))) else { return Vec::new() };
    lane.range(..offset).copied().collect()
}
