//! The floor never passes an event that has not ended in the database.

use super::claimed::Claimed;
use crate::story::{Breach, Story};
use crate::trace::Note;

pub fn check(story: &Story) -> Result<(), Breach> {
    let mut claimed = Claimed::default();
    for (at, entry) in story.walk() {
        claimed.take(entry);
        let Note::FloorRaised { place, floor } = &entry.note else { continue };
        let below = story.remaining[place.partition as usize].range(..floor);
        let mut wanted = below.filter(|(_, record)| !story.is_skipped(record));
        if let Some((open, _)) = wanted.find(|(offset, _)| !claimed.has(*place, **offset)) {
            return Breach::at(
                at,
                format!("{place}: the floor of {floor} passes {open}, which has not ended"),
            );
        }
    }
    Ok(())
}
