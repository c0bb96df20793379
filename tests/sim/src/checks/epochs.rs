//! Nothing is written under an epoch that has been passed, or that a restore has taken back.

use std::collections::BTreeMap;

use keylane_engine::Epoch;

use crate::story::{Breach, Story};
use crate::trace::{Note, Place};

pub fn check(story: &Story) -> Result<(), Breach> {
    let mut current: BTreeMap<Place, Option<Epoch>> = BTreeMap::new();
    for (at, entry) in story.walk() {
        match &entry.note {
            Note::Granted { place, epoch, .. } => drop(current.insert(*place, Some(*epoch))),
            // Whoever held it before has to take it again.
            Note::Restored { handler, .. } => {
                let mine = current.iter_mut().filter(|(place, _)| place.handler == *handler);
                mine.for_each(|(_, epoch)| *epoch = None);
            }
            Note::Committed { place, epoch, .. } if current.get(place) != Some(&Some(*epoch)) => {
                let now = current.get(place);
                return Breach::at(at, format!("{place}: a commit under {epoch:?}; the epoch is {now:?}"));
            }
            _ => {}
        }
    }
    Ok(())
}
