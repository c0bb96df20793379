//! Nothing late of an old assignment takes hold: neither a commit nor a run.

use std::collections::{BTreeMap, BTreeSet};

use crate::story::{Breach, Story};
use crate::trace::{Note, Place};

pub fn check(story: &Story) -> Result<(), Breach> {
    let mut current: BTreeMap<(u8, Place), u64> = BTreeMap::new();
    let mut closed: BTreeSet<u64> = BTreeSet::new();
    for (at, entry) in story.walk() {
        match &entry.note {
            Note::Started => current.retain(|(host, _), _| *host != entry.host),
            Note::Taken { place, number, .. } => {
                current.insert((entry.host, *place), *number);
            }
            Note::Closed { place, number, .. } => {
                closed.insert(*number);
                current.remove(&(entry.host, *place));
            }
            Note::Submitted { place, number, offset, .. }
                if current.get(&(entry.host, *place)) != Some(number) =>
            {
                let what =
                    format!("{place}: a commit of {offset} is made under assignment {number}, which is over");
                return Breach::at(at, what);
            }
            Note::RunBegan { place, number, .. } | Note::Began { place, number, .. }
                if closed.contains(number) =>
            {
                return Breach::at(at, format!("{place}: assignment {number} is over and begins something"));
            }
            _ => {}
        }
    }
    Ok(())
}
