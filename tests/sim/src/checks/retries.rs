//! Attempts are charged right: only the event that failed is charged, an attempt's number tells its failures,
//! none comes before its wait is over, and none when they are used up.

use super::charges::Ledger;
use crate::story::{Breach, Story};
use crate::trace::Note;

pub fn check(story: &Story) -> Result<(), Breach> {
    let policy = &story.plan.policy;
    let mut ledger = Ledger::default();
    for (at, entry) in story.walk() {
        ledger.take(policy, entry);
        if let Note::Began { place, number, offset, attempt, .. } = &entry.note {
            let now_ms = ledger.clock_ms(entry);
            let failures = ledger.failures.entry((*number, *offset)).or_default();
            let expected = failures.total() + 1;
            if *attempt != expected {
                return Breach::at(
                    at,
                    format!("{place}: {offset} begins as attempt {attempt}, not {expected}"),
                );
            }
            if failures.used_up {
                return Breach::at(
                    at,
                    format!("{place}: {offset} begins again, and its attempts are used up"),
                );
            }
            if now_ms + 1 < failures.earliest_ms {
                let what = format!("{place}: {offset} begins at {now_ms}, before {}", failures.earliest_ms);
                return Breach::at(at, what);
            }
        }
    }
    Ok(())
}
