//! Commits: at the end they are the ends of the partitions; meanwhile none was beyond an event that had not
//! ended by then, and none went back unless a host or a broker was away.

use std::collections::BTreeMap;

use crate::check::Verdict;
use crate::check::case::Case;
use crate::check::excuses::Excuses;

pub(crate) fn check(case: &Case<'_>, excuses: &Excuses, verdict: &mut Verdict) {
    check_ends(case, excuses, verdict);
    check_samples(case, excuses, verdict);
}

/// Where progress is kept beside the effects, commits are a report for people: right when all is handled.
pub(crate) fn check_ends(case: &Case<'_>, _: &Excuses, verdict: &mut Verdict) {
    let evidence = case.evidence;
    for (partition, end) in &evidence.ends {
        match evidence.committed.get(partition) {
            Some(committed) if committed == end => {}
            // Nothing was ever there.
            None if *end == 0 => {}
            committed => verdict
                .findings
                .push(format!("partition {partition} ends at {end}, committed is {committed:?}")),
        }
    }
}

fn check_samples(case: &Case<'_>, excuses: &Excuses, verdict: &mut Verdict) {
    let evidence = case.evidence;
    let ended = when_all_below_had_ended(case);
    let mut last: BTreeMap<i32, i64> = evidence.began_at.clone();
    for sample in &evidence.samples {
        let (partition, committed) = (sample.partition, sample.committed);
        verdict.tally.commits += 1;
        let at = ended.get(&(partition, committed - 1)).copied().unwrap_or(0);
        if at > sample.at_ms {
            verdict.findings.push(format!("{sample:?} passes an event that had not ended"));
        }
        if committed > evidence.ends.get(&partition).copied().unwrap_or(0) {
            verdict.findings.push(format!("{sample:?} is beyond the end"));
        }
        let before = last.insert(partition, committed).unwrap_or(0);
        if committed < before {
            if excuses.disturbed(sample.at_ms) {
                verdict.tally.commits_back += 1;
            } else {
                verdict.findings.push(format!("{sample:?} went back from {before}"));
            }
        }
    }
}

/// For each event, when it and all events before it in the partition had ended.
fn when_all_below_had_ended(case: &Case<'_>) -> BTreeMap<(i32, i64), u64> {
    let by_event = case.by_event();
    let mut all = BTreeMap::new();
    let mut latest: BTreeMap<i32, u64> = BTreeMap::new();
    for place in case.events.keys() {
        let first = by_event.get(place).and_then(|endings| endings.first());
        let at = first.map_or(u64::MAX, |ending| ending.record.at_ms);
        let latest = latest.entry(place.0).or_default();
        *latest = at.max(*latest);
        all.insert(*place, *latest);
    }
    all
}
