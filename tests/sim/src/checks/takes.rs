//! A take answers all that has ended in the database by then, and nothing else; and what the assignment
//! begins with is what its take answered.

use std::collections::BTreeMap;

use keylane_engine::GapSet;

use super::claimed::Claimed;
use crate::story::{Breach, Story};
use crate::trace::{Note, Place};

pub fn check(story: &Story) -> Result<(), Breach> {
    let mut claimed = Claimed::default();
    let mut granted: BTreeMap<(u8, Place), GapSet> = BTreeMap::new();
    for (at, entry) in story.walk() {
        claimed.take(entry);
        match &entry.note {
            Note::Granted { place, restored: Some(restored), .. } => {
                answered(story, at, &claimed, *place, restored)?;
                granted.insert((entry.host, *place), restored.clone());
            }
            Note::Taken { place, base, ended, .. } if story.has_database(*place) => {
                let begins = GapSet { base: *base, ended: ended.clone() };
                let granted = granted.get(&(entry.host, *place));
                if granted != Some(&begins) {
                    return Breach::at(at, format!("{place}: begins with {begins:?}, was given {granted:?}"));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn answered(
    story: &Story,
    at: usize,
    claimed: &Claimed,
    place: Place,
    restored: &GapSet,
) -> Result<(), Breach> {
    let says =
        |offset: i64| offset < restored.base || restored.ended.iter().any(|range| range.contains(&offset));
    if let Some(forgotten) = claimed.of(place).find(|offset| !says(*offset)) {
        return Breach::at(at, format!("{place}: a take does not say that {forgotten} has ended"));
    }
    let records = story.remaining[place.partition as usize].values();
    let mut open = records.filter(|record| !story.is_skipped(record) && says(record.offset));
    match open.find(|record| !claimed.has(place, record.offset)) {
        None => Ok(()),
        Some(open) => {
            Breach::at(at, format!("{place}: a take says that {} has ended, which has not", open.offset))
        }
    }
}
