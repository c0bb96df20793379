//! The row that all keys share was changed once for each row that says so, and nothing is left in the outbox.

use crate::check::Verdict;
use crate::check::case::Case;
use crate::check::excuses::Excuses;
use crate::fate::MustEnd;

/// Each so-manieth value changes the shared row; `tests/guests/ledger-witness` knows it too.
pub(crate) const SHARED_EVERY: u64 = 16;

pub(crate) fn check(case: &Case<'_>, _: &Excuses, verdict: &mut Verdict) {
    let Some(once) = &case.evidence.once else { return };
    let changes = case.events.values().filter(|event| {
        event.fate.must_end() == MustEnd::Done && event.id().is_some_and(|id| id.is_multiple_of(SHARED_EVERY))
    });
    let (wanted, changed) = (changes.count(), once.after.shared - once.before.shared);
    if i64::try_from(wanted).ok() != Some(changed) {
        verdict.findings.push(format!("the shared row was changed {changed} times, not {wanted}"));
    }
    if once.unsent != 0 {
        verdict.findings.push(format!("{} rows are left in the outbox", once.unsent));
    }
}
