//! What has ended in the databases, worked out from their commits alone. A backup that stands again takes
//! back what came after it.

use std::collections::BTreeMap;

use crate::database::EndedAs;
use crate::story::Story;
use crate::trace::{Entry, Note, Place};

/// What stands, while walking through a trace.
#[derive(Debug, Default)]
pub struct Claimed {
    /// Endings with the number of their commit.
    ended: BTreeMap<Place, BTreeMap<i64, (EndedAs, u64)>>,
}

impl Claimed {
    /// Takes in what an entry says.
    pub fn take(&mut self, entry: &Entry) {
        match &entry.note {
            Note::Committed { place, commit, endings, .. } => {
                let ended = self.ended.entry(*place).or_default();
                ended.extend(endings.iter().map(|(offset, how)| (*offset, (*how, *commit))));
            }
            Note::Restored { handler, back_to } => {
                let mine = self.ended.iter_mut().filter(|(place, _)| place.handler == *handler);
                mine.for_each(|(_, ended)| ended.retain(|_, (_, commit)| *commit <= *back_to));
            }
            _ => {}
        }
    }

    pub fn has(&self, place: Place, offset: i64) -> bool {
        self.ended.get(&place).is_some_and(|ended| ended.contains_key(&offset))
    }

    /// The offsets of a place that have ended, in order.
    pub fn of(&self, place: Place) -> impl Iterator<Item = i64> {
        self.ended.get(&place).into_iter().flat_map(|ended| ended.keys().copied())
    }
}

/// How often something that had ended in a database was not reported to the group when its host met its fate.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unreported {
    /// It crashed.
    pub crashed: u64,
    /// It stood still for longer than its session.
    pub stopped: u64,
}

pub fn unreported(story: &Story) -> Unreported {
    let mut unreported: BTreeMap<(u8, Place), i64> = BTreeMap::new();
    let mut times = Unreported::default();
    for (_, entry) in story.walk() {
        match &entry.note {
            Note::Committed { place, endings, .. } => {
                let newest = unreported.entry((entry.host, *place)).or_default();
                *newest = endings.iter().fold(*newest, |newest, (offset, _)| newest.max(*offset));
            }
            Note::Applied { place, offset, .. } => {
                unreported.retain(|of, newest| *of != (entry.host, *place) || *newest >= *offset);
            }
            Note::Fault("zombie") => {
                times.stopped += u64::from(unreported.keys().any(|(host, _)| *host == entry.host));
            }
            Note::Crashed => {
                times.crashed += u64::from(unreported.keys().any(|(host, _)| *host == entry.host));
                unreported.retain(|(host, _), _| *host != entry.host);
            }
            _ => {}
        }
    }
    times
}
