//! The input topic holds what the producer wrote, byte for byte, where the brokers acknowledged it.

use crate::check::Verdict;
use crate::check::case::Case;
use crate::check::excuses::Excuses;

pub(crate) fn check(case: &Case<'_>, _: &Excuses, verdict: &mut Verdict) {
    let written = &case.evidence.written;
    for (place, wanted) in written {
        let Some(event) = case.events.get(place) else {
            verdict.findings.push(format!("{place:?} was acknowledged and is not there"));
            continue;
        };
        let record = event.record;
        if record.key != wanted.key
            || record.value.as_ref() != Some(&wanted.value)
            || record.headers != wanted.headers
        {
            verdict.findings.push(format!("{place:?} is not what was written: {record:?}"));
        }
    }
    for place in case.events.keys().filter(|place| !written.contains_key(place)) {
        verdict.findings.push(format!("{place:?} is there and was not acknowledged"));
    }
}
