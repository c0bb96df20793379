//! Outputs of a handler in cuts, once: in the end a reader of committed transactions sees of each event all that
//! it gave out, each once, or its dead letter, and of one that an operator gave up nothing.

use std::collections::BTreeMap;

use crate::database::What;
use crate::runner::outputs_of;
use crate::story::{Breach, Story};
use crate::trace::{Note, Place};

pub fn check(story: &Story) -> Result<(), Breach> {
    for (handler, seen) in (0..).zip(&story.seen) {
        let mut found: BTreeMap<(i32, i64), Vec<What>> = BTreeMap::new();
        for row in seen {
            found.entry((row.partition, row.offset)).or_default().push(row.what);
        }
        for (partition, records) in (0..).zip(&story.written) {
            let place = Place { handler, partition };
            if !story.is_in_cuts(place) {
                continue;
            }
            for record in records.values() {
                let mut rows = found.remove(&(partition, record.offset)).unwrap_or_default();
                rows.sort_unstable();
                if !is_right(story, place, record.offset, &rows) {
                    return Breach::in_the_end(format!("{place}: of {} is seen {rows:?}", record.offset));
                }
            }
        }
        if let Some((event, rows)) = found.first_key_value() {
            return Breach::in_the_end(format!("h{handler}: {rows:?} of {event:?} is nobody's"));
        }
    }
    Ok(())
}

fn is_right(story: &Story, place: Place, offset: i64, rows: &[What]) -> bool {
    if is_whole(story, place, offset, rows) {
        return true;
    }
    // Who sees nothing of an event that gives something out: it was none of the handler's, was given up, was
    // compacted away before it was read, or has not ended, which another checker tells.
    let skipped = story.record(place, offset).is_none_or(|record| story.is_skipped(record));
    let may_lack = skipped || !story.ending.drained || may_lack(story, place, offset);
    rows.is_empty() && may_lack
}

/// Whether it is what an event gives out that is done, or one that is dead-lettered.
pub fn is_whole(story: &Story, place: Place, offset: i64, rows: &[What]) -> bool {
    let done = (0..outputs_of(&story.plan, place, offset)).map(What::Output);
    rows == [What::Letter] || rows.iter().copied().eq(done)
}

/// Whether an operator wanted to give it up, or it vanished from the log.
pub fn may_lack(story: &Story, place: Place, offset: i64) -> bool {
    let has_vanished = !story.remaining[place.partition as usize].contains_key(&offset);
    let asked = |note: &Note| matches!(note, Note::SkipAsked { place: at, offset: one, .. } if (*at, *one) == (place, offset));
    has_vanished || story.entries.iter().any(|entry| asked(&entry.note))
}
