//! The input topic holds what the producer wrote, byte for byte, where the brokers acknowledged it.

use crate::check::Verdict;
use crate::check::case::Case;
use crate::check::excuses::Excuses;
use crate::evidence::Stored;
use crate::traffic::Written;

pub(crate) fn check(case: &Case<'_>, _: &Excuses, verdict: &mut Verdict) {
    let written = &case.evidence.written;
    for (place, wanted) in written {
        let Some(event) = case.events.get(place) else {
            verdict.findings.push(format!("{place:?} was acknowledged and is not there"));
            continue;
        };
        let record = event.record;
        if !is(record, wanted) {
            verdict.findings.push(format!("{place:?} is not what was written: {record:?}"));
        }
    }
    let mut unsure: Vec<&Written> = case.evidence.unsure.iter().collect();
    for (place, event) in case.events.iter().filter(|(place, _)| !written.contains_key(place)) {
        // It is there after all, once.
        match unsure.iter().position(|written| is(event.record, written)) {
            Some(found) => drop(unsure.swap_remove(found)),
            None => verdict.findings.push(format!("{place:?} is there and was not acknowledged")),
        }
    }
}

fn is(record: &Stored, written: &Written) -> bool {
    record.key == written.key
        && record.value.as_ref() == Some(&written.value)
        && record.headers == written.headers
}
