//! Every repeat has an explanation: the host that told an ending was killed, stood still or could not commit
//! soon after, so the next owner did not know of it; or a former owner told it late.

use crate::check::Verdict;
use crate::check::case::Case;
use crate::check::excuses::{Excuse, Excuses};

pub(crate) fn check(case: &Case<'_>, excuses: &Excuses, verdict: &mut Verdict) {
    for (place, endings) in case.by_event() {
        for pair in endings.windows(2) {
            let [one, two] = pair else { continue };
            let excuse = excuses.forgotten(one.by()).or_else(|| excuses.late(two.by()));
            match excuse {
                Some(Excuse::Killed) => verdict.tally.repeats_killed += 1,
                Some(Excuse::Stopped) => verdict.tally.repeats_stopped += 1,
                Some(Excuse::Lost) => verdict.tally.repeats_lost += 1,
                Some(Excuse::Broker) => verdict.tally.repeats_broker += 1,
                None => verdict.findings.push(format!(
                    "{place:?} by host {:?} at {}, again by host {:?} at {}: no fault explains it",
                    one.host, one.record.at_ms, two.host, two.record.at_ms
                )),
            }
        }
    }
}
