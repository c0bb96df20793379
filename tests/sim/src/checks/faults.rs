//! No partition stops on a fault of the host itself.

use crate::story::{Breach, Story};
use crate::trace::Note;

pub fn check(story: &Story) -> Result<(), Breach> {
    for (at, entry) in story.walk() {
        if let Note::Faulted { place, number } = &entry.note {
            return Breach::at(at, format!("the owner of {place} (assignment {number}) fell"));
        }
    }
    Ok(())
}
