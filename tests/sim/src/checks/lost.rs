//! Nothing is lost: in the end every record that is still in the log has ended for every handler, and where
//! there is a database, has ended there.

use std::collections::BTreeSet;

use super::claimed::Claimed;
use crate::story::{Breach, Story};
use crate::trace::{How, Note, Place};

pub fn check(story: &Story) -> Result<(), Breach> {
    if !story.ending.drained {
        return Ok(());
    }
    let mut ended: BTreeSet<(Place, i64)> = BTreeSet::new();
    let mut claimed = Claimed::default();
    for (_, entry) in story.walk() {
        claimed.take(entry);
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
            let has_ended = |offset: i64| match story.has_database(place) {
                true => claimed.has(place, offset),
                false => ended.contains(&(place, offset)),
            };
            let lost = records.values().find(|record| !story.is_skipped(record) && !has_ended(record.offset));
            if let Some(record) = lost {
                return Breach::in_the_end(format!("{place}: offset {} never ended", record.offset));
            }
        }
    }
    Ok(())
}
