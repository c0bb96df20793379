//! Nothing is lost: every event of the input has an ending, and the right one. Nothing is invented.

use crate::check::Verdict;
use crate::check::case::{Case, Ending};
use crate::check::excuses::Excuses;
use crate::fate::MustEnd;
use crate::fleet::{ATTEMPTS, INPUT};

pub(crate) fn check(case: &Case<'_>, excuses: &Excuses, verdict: &mut Verdict) {
    let by_event = case.by_event();
    for (place, event) in &case.events {
        let endings = by_event.get(place).map(Vec::as_slice).unwrap_or_default();
        let (done, dead): (Vec<&Ending<'_>>, Vec<_>) =
            endings.iter().partition(|ending| ending.told.is_some());
        let (right, wrong) = match event.fate.must_end() {
            MustEnd::Done => (done, dead),
            MustEnd::DeadLetter(_) => (dead, done),
        };
        match right.first() {
            None => {
                verdict.tally.lost += 1;
                verdict.findings.push(format!("{place:?} is lost: {:?}", event.fate));
            }
            Some(first) => {
                let count =
                    if first.told.is_some() { &mut verdict.tally.done } else { &mut verdict.tally.dead };
                *count += 1;
                let took = first.record.at_ms.saturating_sub(event.record.at_ms);
                verdict.tally.longest_ms = verdict.tally.longest_ms.max(took);
            }
        }
        if let Some(ending) = wrong.first() {
            verdict.findings.push(format!("{place:?} ended wrongly: {:?}, {:?}", event.fate, ending.record));
        }
    }
    for ending in &case.endings {
        one(case, excuses, ending, verdict);
    }
}

/// What a single ending says must fit its event.
fn one(case: &Case<'_>, excuses: &Excuses, ending: &Ending<'_>, verdict: &mut Verdict) {
    let Ending { place, record, .. } = ending;
    let Some(event) = case.events.get(place) else {
        let began = case.evidence.began_at.get(&place.0).copied().unwrap_or(0);
        // An event of an earlier round: a host that stood still may tell of it once more.
        let may_be_late = !case.evidence.is_once() && place.1 < began;
        let is_late = may_be_late && excuses.late(ending.by()).is_some();
        if !is_late {
            verdict.findings.push(format!("an ending without an event: {record:?}"));
        }
        return;
    };
    let Some(told) = ending.told else { return };
    if record.key != event.record.key {
        verdict.findings.push(format!("{place:?} was told with another key: {record:?}"));
    }
    let origin = format!("{INPUT}/{}/{}", place.0, place.1);
    if record.header("keylane-origin") != Some(origin.as_bytes()) {
        verdict.findings.push(format!("{place:?} was told with another origin: {record:?}"));
    }
    let failures = event.fate.failures();
    if told.attempt <= failures || told.attempt > ATTEMPTS {
        verdict.findings.push(format!("{place:?} was done by attempt {}: {:?}", told.attempt, event.fate));
    }
    verdict.tally.innocent += usize::try_from(told.attempt.saturating_sub(failures + 1)).unwrap_or(0);
}
