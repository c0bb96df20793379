//! Nothing begins on a host whose last acknowledged commit, counted from its sending, is as old as the
//! session. Where a commit is a sign of life for the coordinator, it follows that a host which lost a
//! partition without noticing begins nothing there any more when the next one has begun. Beside a database a
//! run begins only so; what it comes to later is the fence's. In cuts a transaction is the proof, which is no sign
//! of life: what a former owner still begins comes to nothing, since its cuts are refused.

use std::collections::BTreeMap;

use crate::story::{Breach, Story};
use crate::trace::{Note, Place};

/// Whether the coordinator counts a session from what renews a lease. A transaction is no sign of life for it.
fn bounds_the_former(story: &Story, place: Place) -> bool {
    story.plan.group.classic && !story.is_in_cuts(place)
}

pub fn check(story: &Story) -> Result<(), Breach> {
    let session_ms = story.plan.group.session_ms;
    let mut proven: BTreeMap<(u8, u8), u64> = BTreeMap::new();
    let mut newest: BTreeMap<Place, (u64, usize)> = BTreeMap::new();
    let mut taken: BTreeMap<u64, usize> = BTreeMap::new();
    for (at, entry) in story.walk() {
        match &entry.note {
            Note::Started => proven.retain(|(host, _), _| *host != entry.host),
            Note::Acknowledged { handler, sent_ms } => {
                let last = proven.entry((entry.host, *handler)).or_default();
                *last = (*last).max(*sent_ms);
            }
            Note::RunBegan { place, run, .. } if story.has_database(*place) => {
                let last = proven.get(&(entry.host, place.handler));
                if last.is_none_or(|last| entry.at_ms >= last + session_ms) {
                    let what =
                        format!("{place}: run {run} begins, and the last proof of life is of {last:?}");
                    return Breach::at(at, what);
                }
            }
            Note::LetterAsked { place, .. } | Note::Began { place, .. } if story.has_database(*place) => {}
            // It is only held.
            Note::LetterAsked { place, .. } if story.is_in_cuts(*place) => {}
            Note::LetterAsked { place, offset, .. } => {
                let last = proven.get(&(entry.host, place.handler));
                if last.is_none_or(|last| entry.at_ms >= last + session_ms) {
                    let what =
                        format!("{place}: {offset} is buried, and the last proof of life is of {last:?}");
                    return Breach::at(at, what);
                }
            }
            Note::Taken { number, .. } => drop(taken.insert(*number, at)),
            Note::Began { place, number, offset, .. } => {
                let last = proven.get(&(entry.host, place.handler));
                if last.is_none_or(|last| entry.at_ms >= last + session_ms) {
                    let what = format!("{place}: {offset} begins, and the last proof of life is of {last:?}");
                    return Breach::at(at, what);
                }
                let taken_at = taken.get(number).copied().unwrap_or(0);
                let (latest, latest_at) = *newest.entry(*place).or_insert((*number, taken_at));
                if taken_at > latest_at {
                    newest.insert(*place, (*number, taken_at));
                } else if *number != latest && bounds_the_former(story, *place) {
                    let what = format!(
                        "{place}: assignment {number} begins {offset}, after assignment {latest} has begun"
                    );
                    return Breach::at(at, what);
                }
            }
            _ => {}
        }
    }
    Ok(())
}
