//! No host loses a partition out of the blue: each loss lies in the wake of a fault.

use crate::check::Verdict;
use crate::check::case::Case;
use crate::check::excuses::Excuses;

pub(crate) fn check(case: &Case<'_>, excuses: &Excuses, verdict: &mut Verdict) {
    for loss in &case.evidence.losses {
        if excuses.explains(loss) {
            verdict.tally.losses += 1;
        } else {
            verdict.findings.push(format!("{loss:?}: no fault explains it"));
        }
    }
}
