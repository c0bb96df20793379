//! A commit never passes an event that has not ended, neither with its offset nor with its payload. Beside a
//! database it passes none that has not ended there, and tells of nothing above.

use std::collections::{BTreeMap, BTreeSet};

use keylane_engine::{RestoredNote, restore};

use crate::database::database_id;
use crate::poller::TOPIC_ID;
use crate::story::{Breach, Story};
use crate::trace::{How, Note, Place};

#[derive(Default)]
struct Progress {
    ended: BTreeSet<i64>,
    /// Everything below was found to have ended.
    checked: i64,
    last: Option<(i64, std::sync::Arc<str>)>,
}

pub fn check(story: &Story) -> Result<(), Breach> {
    let mut places: BTreeMap<Place, Progress> = BTreeMap::new();
    for (at, entry) in story.walk() {
        match &entry.note {
            Note::Ended { place, offset, how: How::Done, .. }
            | Note::LetterAcked { place, offset, .. }
            | Note::SkipAsked { place, offset, .. }
                if !story.has_database(*place) =>
            {
                places.entry(*place).or_default().ended.insert(*offset);
            }
            Note::Committed { place, endings, .. } => {
                let progress = places.entry(*place).or_default();
                progress.ended.extend(endings.iter().map(|(offset, _)| *offset));
            }
            // What is found is committed again, whatever a tool has made of it: it is not read.
            Note::Proving { place, .. } if story.has_database(*place) => {}
            Note::Submitted { place, offset, payload, .. } | Note::Proving { place, offset, payload, .. } => {
                let progress = places.entry(*place).or_default();
                let same = progress.last.as_ref().is_some_and(|last| last.0 == *offset && last.1 == *payload);
                if !same {
                    progress.last = Some((*offset, payload.clone()));
                    submitted(story, at, *place, progress, *offset, payload)?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn submitted(
    story: &Story,
    at: usize,
    place: Place,
    progress: &mut Progress,
    offset: i64,
    payload: &str,
) -> Result<(), Breach> {
    if offset > progress.checked {
        if let Some(open) = unfinished(story, place, progress, progress.checked, offset) {
            return Breach::at(
                at,
                format!("{place}: a commit of {offset} passes {open}, which has not ended"),
            );
        }
        progress.checked = offset;
    }
    let restored = restore(offset, payload.as_bytes(), TOPIC_ID);
    if story.has_database(place) {
        let right = RestoredNote::OfDatabase(database_id(place.handler).into());
        if restored.note != right {
            return Breach::at(at, format!("{place}: the payload beside {offset} is {payload}"));
        }
        return Ok(());
    }
    if restored.note != RestoredNote::Ours || restored.gap.base != offset {
        return Breach::at(at, format!("{place}: the payload beside {offset} can't be read: {payload}"));
    }
    for range in &restored.gap.ended {
        if let Some(open) = unfinished(story, place, progress, range.start, range.end) {
            return Breach::at(
                at,
                format!("{place}: the payload beside {offset} tells of {open}, which has not ended"),
            );
        }
    }
    Ok(())
}

/// The first record of a range that has not ended.
fn unfinished(story: &Story, place: Place, progress: &Progress, from: i64, to: i64) -> Option<i64> {
    let records = story.remaining.get(place.partition as usize)?;
    let mut open = records.range(from..to).filter(|(_, record)| !story.is_skipped(record));
    open.find(|(offset, _)| !progress.ended.contains(offset)).map(|(offset, _)| *offset)
}
