//! The records of a key are in the order of their events, and so are its dead letters: a topic's offsets say
//! so, because a key's records lie in one partition. And no two events of a key were handled at once: who
//! overlaps cannot have committed both.

use crate::check::Verdict;
use crate::check::case::{Case, Ending, Place};
use crate::check::excuses::Excuses;
use crate::check::order::{show, told};

pub(crate) fn check(case: &Case<'_>, _: &Excuses, verdict: &mut Verdict) {
    let by_event = case.by_event();
    for ((_, key), lane) in case.lanes() {
        let of = |place: &Place| by_event.get(place).into_iter().flatten().copied();
        let endings: Vec<&Ending<'_>> = lane.iter().flat_map(of).collect();
        let (done, dead): (Vec<&Ending<'_>>, Vec<_>) =
            endings.into_iter().partition(|ending| ending.told.is_some());
        for pair in done.windows(2).chain(dead.windows(2)) {
            let [one, two] = pair else { continue };
            let (at, then) = (one.record, two.record);
            if at.partition != then.partition || at.offset >= then.offset {
                verdict.tally.out_of_order += 1;
                verdict.findings.push(format!("{} swapped: {} then {}", show(key), told(two), told(one)));
            }
        }
        for pair in done.windows(2) {
            let [one, two] = pair else { continue };
            let overlap = one.told.zip(two.told).is_some_and(|(one, two)| two.began_ms < one.ended_ms);
            if overlap {
                let (one, two) = (told(one), told(two));
                verdict.findings.push(format!("{} handled twice at once: {one} and {two}", show(key)));
            }
        }
    }
}
