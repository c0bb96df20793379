//! The input topic holds what the producer wrote, byte for byte, where the brokers acknowledged it.
//!
//! Its client is idempotent, which holds for as long as a partition has one leader. When that dies a batch may be
//! there twice, under two sequences (librdkafka issue 4953): two events then, which are handled as such.

use crate::check::Verdict;
use crate::check::case::{Case, Place};
use crate::check::excuses::Excuses;
use crate::evidence::Stored;
use crate::traffic::Written;

pub(crate) fn check(case: &Case<'_>, excuses: &Excuses, verdict: &mut Verdict) {
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
            None if is_written_again(case, *place, event.record)
                && excuses.broker_died(place.0, event.record.at_ms) =>
            {
                verdict.tally.written_again += 1;
            }
            None => verdict.findings.push(format!("{place:?} is there and was not acknowledged")),
        }
    }
}

/// Whether the same was acknowledged elsewhere in the partition.
fn is_written_again(case: &Case<'_>, place: Place, record: &Stored) -> bool {
    let of_partition = case.evidence.written.range((place.0, 0)..(place.0 + 1, 0));
    of_partition.into_iter().any(|(_, written)| is(record, written))
}

fn is(record: &Stored, written: &Written) -> bool {
    record.key == written.key
        && record.value.as_ref() == Some(&written.value)
        && record.headers == written.headers
}
