//! Offsets and outputs of a handler in cuts become real together: each transaction holds what the events gave
//! out that the group's progress tells of from then on, and nothing else; and nothing but a transaction moves
//! that progress.

use std::collections::BTreeMap;

use keylane_engine::{GapSet, restore};

use super::cut_once::{is_whole, may_lack};
use crate::database::{Row, What};
use crate::poller::TOPIC_ID;
use crate::story::{Breach, Story};
use crate::trace::{Note, Place};

pub fn check(story: &Story) -> Result<(), Breach> {
    let mut told: BTreeMap<Place, GapSet> = BTreeMap::new();
    for (at, entry) in story.walk() {
        match &entry.note {
            Note::Cut { handler, parts, rows } => {
                let mut left: BTreeMap<(i32, i64), Vec<What>> = BTreeMap::new();
                for Row { partition, offset, what } in rows {
                    left.entry((*partition, *offset)).or_default().push(*what);
                }
                for (partition, offset, payload) in parts {
                    let place = Place { handler: *handler, partition: *partition };
                    let now = restore(*offset, payload.as_bytes(), TOPIC_ID).gap;
                    let before = told.insert(place, now.clone()).unwrap_or_else(|| GapSet::at(0));
                    if let Err(what) = grown(story, place, &before, &now, &mut left) {
                        return Breach::at(at, format!("{place}: a cut up to {offset} {what}"));
                    }
                }
                if let Some((event, rows)) = left.first_key_value() {
                    let what = format!("h{handler}: a cut with {rows:?} of {event:?} does not tell of it");
                    return Breach::at(at, what);
                }
            }
            Note::Applied { place, number, offset, rewound } if story.is_in_cuts(*place) => {
                let base = told.get(place).map_or(0, |told| told.base);
                if *rewound || *offset != base {
                    let what = format!(
                        "{place}: a commit of {offset} under {number} takes the place of the cut up to {base}"
                    );
                    return Breach::at(at, what);
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// What the progress tells of now and did not before has its records here.
fn grown(
    story: &Story,
    place: Place,
    before: &GapSet,
    now: &GapSet,
    left: &mut BTreeMap<(i32, i64), Vec<What>>,
) -> Result<(), String> {
    let tells = |gap: &GapSet, offset: i64| {
        offset < gap.base || gap.ended.iter().any(|range| range.contains(&offset))
    };
    let end = now.ended.last().map_or(now.base, |range| range.end).max(now.base);
    let records = story.written[place.partition as usize].range(before.base..end.max(before.base));
    for (offset, record) in records.filter(|(offset, _)| tells(now, **offset)) {
        if tells(before, *offset) {
            continue;
        }
        let rows = left.remove(&(place.partition, *offset)).unwrap_or_default();
        let lacks = rows.is_empty() && (story.is_skipped(record) || may_lack(story, place, *offset));
        if !lacks && !is_whole(story, place, *offset, &rows) {
            return Err(format!("tells of {offset} and has {rows:?} of it"));
        }
    }
    Ok(())
}
