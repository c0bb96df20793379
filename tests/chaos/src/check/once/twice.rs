//! No event has two endings: two records, two dead letters, or one of each.

use crate::check::Verdict;
use crate::check::case::Case;
use crate::check::excuses::Excuses;

pub(crate) fn check(case: &Case<'_>, _: &Excuses, verdict: &mut Verdict) {
    for (place, endings) in case.by_event() {
        for again in endings.iter().skip(1) {
            verdict.tally.twice += 1;
            let first = endings.first().map(|first| (first.host, first.record.at_ms));
            let again = (again.host, again.record.at_ms);
            verdict.findings.push(format!("{place:?} ended twice: by host and at {first:?}, then {again:?}"));
        }
    }
}
