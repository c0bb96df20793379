//! Nothing is lost: in the end every record that is still in the log has ended for every handler.

use std::collections::BTreeSet;

use crate::story::{Breach, Story};
use crate::trace::{How, Note, Place};

pub fn check(story: &Story) -> Result<(), Breach> {
    if !story.ending.drained {
        return Ok(());
    }
    let mut ended: BTreeSet<(Place, i64)> = BTreeSet::new();
    for (_, entry) in story.walk() {
        match &entry.note {
            Note::Ended { place, offset, how: How::Done, .. }
            | Note::LetterAcked { place, offset, .. }
            | Note::SkipAsked { place, offset, .. } => drop(ended.insert((*place, *offset))),
            _ => {}
        }
    }
    for handler in 0..story.plan.handlers {
        for (partition, records) in (0..).zip(&story.remaining) {
            let place = Place { handler, partition };
            let lost = records
                .values()
                .find(|record| !story.is_skipped(record) && !ended.contains(&(place, record.offset)));
            if let Some(record) = lost {
                return Breach::in_the_end(format!("{place}: offset {} never ended", record.offset));
            }
        }
    }
    Ok(())
}
