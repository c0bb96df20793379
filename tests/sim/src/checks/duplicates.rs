//! An event that has ended is handled again only where that is explained: between the two assignments one
//! ended by a crash, a loss, an expired lease or a drain limit, its last commit was not acknowledged, its
//! payload was cut, or somebody else wrote over what the group had committed. Beside a database nothing
//! explains it but a backup that stands again.

use std::collections::{BTreeMap, BTreeSet};

use super::claimed::Claimed;
use crate::story::{Breach, Story};
use crate::trace::{How, Note, Place, Why};

/// An assignment in the order of taking.
struct Taken {
    number: u64,
    host: u8,
    /// Whether whoever comes next must know everything that ended here.
    clean: bool,
    restored: (i64, Vec<std::ops::Range<i64>>),
}

#[derive(Default)]
struct History {
    taken: Vec<Taken>,
    /// The newest assignment in which an event ended, as its position in `taken`.
    ended: BTreeMap<i64, usize>,
    /// What the group has is not what the last assignment committed last.
    overwritten: bool,
}

impl History {
    fn position(&self, number: u64) -> Option<usize> {
        self.taken.iter().rposition(|one| one.number == number)
    }
}

pub fn check(story: &Story) -> Result<(), Breach> {
    let mut places: BTreeMap<Place, History> = BTreeMap::new();
    let mut skip_asked: BTreeSet<(Place, i64)> = BTreeSet::new();
    let mut claimed = Claimed::default();
    for (at, entry) in story.walk() {
        claimed.take(entry);
        match &entry.note {
            Note::Taken { place, number, base, ended, .. } => {
                let restored = (*base, ended.clone());
                let clean = story.has_database(*place);
                let taken = Taken { number: *number, host: entry.host, clean, restored };
                let history = places.entry(*place).or_default();
                let overwritten = std::mem::take(&mut history.overwritten) && !clean;
                if let Some(last) = history.taken.iter_mut().next_back().filter(|_| overwritten) {
                    last.clean = false;
                }
                history.taken.push(taken);
            }
            Note::Closed { place, number, why, drained, committed, truncated, .. } => {
                let history = places.entry(*place).or_default();
                let told = matches!(why, Why::Revoked | Why::Leaving) && *drained && *committed;
                let clean = (told && !truncated) || story.has_database(*place);
                if let Some(position) = history.position(*number) {
                    history.taken[position].clean = clean;
                }
            }
            Note::Spoiled { place } | Note::Applied { place, rewound: true, .. } => {
                places.entry(*place).or_default().overwritten = true;
            }
            Note::Applied { place, number, .. } => {
                let history = places.entry(*place).or_default();
                history.overwritten &= history.taken.last().is_some_and(|last| last.number != *number);
            }
            Note::Restored { handler, .. } => {
                let mine = places.iter_mut().filter(|(place, _)| place.handler == *handler);
                mine.for_each(|(_, history)| history.ended.clear());
            }
            Note::SkipAsked { place, offset, .. } => drop(skip_asked.insert((*place, *offset))),
            Note::Ended { place, number, offset, how: How::Done, .. }
            | Note::LetterAcked { place, number, offset } => {
                // A backup that stands again may have come before the answer.
                if story.has_database(*place) && !claimed.has(*place, *offset) {
                    continue;
                }
                let history = places.entry(*place).or_default();
                if let Some(position) = history.position(*number) {
                    let newest = history.ended.entry(*offset).or_insert(position);
                    *newest = (*newest).max(position);
                }
            }
            Note::Began { place, number, offset, .. } => {
                began(at, *place, places.entry(*place).or_default(), *number, *offset)?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn began(at: usize, place: Place, history: &History, number: u64, offset: i64) -> Result<(), Breach> {
    let Some(position) = history.position(number) else {
        return Breach::at(at, format!("{place}: {offset} begins under {number}, which was never taken"));
    };
    let (base, ended) = &history.taken[position].restored;
    if offset < *base || ended.iter().any(|range| range.contains(&offset)) {
        return Breach::at(at, format!("{place}: {offset} begins, and was restored as ended"));
    }
    let Some(ended_in) = history.ended.get(&offset).copied() else { return Ok(()) };
    if ended_in == position {
        return Breach::at(at, format!("{place}: {offset} begins again in the assignment where it ended"));
    }
    let between = history.taken.get(ended_in..position).unwrap_or_default();
    if between.iter().all(|one| one.clean) && ended_in < position {
        let (host, number) = (between[0].host, between[0].number);
        let what = format!(
            "{place}: {offset} had ended on host {host} under {number}; nothing explains why it begins again"
        );
        return Breach::at(at, what);
    }
    Ok(())
}
