//! What a host takes for ended beside a database has been committed there.

use std::collections::BTreeSet;

use crate::story::{Breach, Story};
use crate::trace::{How, Note, Place};

pub fn check(story: &Story) -> Result<(), Breach> {
    let mut committed: BTreeSet<(Place, i64)> = BTreeSet::new();
    for (at, entry) in story.walk() {
        match &entry.note {
            Note::Committed { place, endings, .. } => {
                committed.extend(endings.iter().map(|(offset, _)| (*place, *offset)));
            }
            Note::Ended { place, offset, how: How::Done, .. } | Note::LetterAcked { place, offset, .. }
                if story.has_database(*place) && !committed.contains(&(*place, *offset)) =>
            {
                return Breach::at(
                    at,
                    format!("{place}: {offset} is taken for ended and was never committed"),
                );
            }
            _ => {}
        }
    }
    Ok(())
}
