//! A revoke is answered only after all runs and dead letters of the partition are gone. In a drain nothing
//! new begins, and it takes no longer than what is out.

use std::collections::{BTreeMap, BTreeSet};

use crate::story::{Breach, Story};
use crate::trace::{Note, Place};

/// How long an owner may take to see that nothing is out any more.
const NOTICE_MS: u64 = 10;

/// What one assignment has out.
#[derive(Default)]
struct Out {
    runs: u64,
    letters: u64,
    /// Floors and skips that a database notes.
    notes: u64,
    /// A letter that was refused is sent again after a while: it is out until it is acknowledged.
    unburied: BTreeSet<i64>,
    /// When something came back last.
    back_ms: u64,
    draining: bool,
}

impl Out {
    fn is_idle(&self, now_ms: u64) -> bool {
        self.runs + self.notes == 0 && self.unburied.is_empty() && now_ms > self.back_ms + NOTICE_MS
    }
}

pub fn check(story: &Story) -> Result<(), Breach> {
    let mut all: BTreeMap<u64, Out> = BTreeMap::new();
    let mut current: BTreeMap<(u8, Place), u64> = BTreeMap::new();
    for (at, entry) in story.walk() {
        let now_ms = entry.at_ms;
        match &entry.note {
            Note::Draining { number, .. } => all.entry(*number).or_default().draining = true,
            Note::RunBegan { place, number, .. } => {
                let out = all.entry(*number).or_default();
                out.runs += 1;
                if out.draining {
                    return Breach::at(at, format!("{place}: a run begins in the drain of {number}"));
                }
            }
            Note::RunGone { number, .. } => {
                let out = all.entry(*number).or_default();
                (out.runs, out.back_ms) = (out.runs - 1, now_ms);
            }
            Note::LetterAsked { number, offset, .. } => {
                let out = all.entry(*number).or_default();
                out.letters += 1;
                out.unburied.insert(*offset);
            }
            Note::Taken { place, number, .. } => drop(current.insert((entry.host, *place), *number)),
            Note::Noting { place } | Note::NotingGone { place } => {
                let Some(number) = current.get(&(entry.host, *place)) else { continue };
                let out = all.entry(*number).or_default();
                match entry.note {
                    Note::Noting { .. } => out.notes += 1,
                    _ => (out.notes, out.back_ms) = (out.notes - 1, now_ms),
                }
            }
            Note::LetterGone { number, .. } => all.entry(*number).or_default().letters -= 1,
            Note::LetterAcked { number, offset, .. } => {
                let out = all.entry(*number).or_default();
                out.unburied.remove(offset);
                out.back_ms = now_ms;
            }
            Note::Drained { place, number, in_time: false }
                if all.entry(*number).or_default().is_idle(now_ms) =>
            {
                return Breach::at(
                    at,
                    format!("{place}: assignment {number} has nothing out and does not drain"),
                );
            }
            Note::Closed { place, number, gone: false, .. } => {
                return Breach::at(at, format!("{place}: the owner of assignment {number} does not end"));
            }
            Note::RevokeAnswered { numbers, .. } => {
                let left =
                    |number: &&u64| all.get(number).is_some_and(|out| out.runs + out.letters + out.notes > 0);
                if let Some(number) = numbers.iter().find(left) {
                    let what = format!("a revoke is answered while assignment {number} has something out");
                    return Breach::at(at, what);
                }
            }
            _ => {}
        }
    }
    Ok(())
}
