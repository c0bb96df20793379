//! Order of a key in a partition: the first endings come in the order of the offsets, always; a host never
//! goes back unless it may have lost the partition meanwhile; and two events of a key are never handled at
//! once, unless one of the hosts stood still or a broker was away.

use std::collections::BTreeMap;

use crate::check::Verdict;
use crate::check::case::{Case, Ending, Place};
use crate::check::excuses::{By, Excuses};

pub(crate) fn check(case: &Case<'_>, excuses: &Excuses, verdict: &mut Verdict) {
    let by_event = case.by_event();
    for ((_, key), lane) in case.lanes() {
        let first = |place: &Place| by_event.get(place).and_then(|endings| endings.first().copied());
        let firsts: Vec<_> = lane.iter().filter_map(first).collect();
        for pair in firsts.windows(2) {
            if let [one, two] = pair
                && !is_before(one, two)
            {
                verdict.findings.push(format!("{} swapped: {} then {}", show(key), told(two), told(one)));
            }
        }
        let mut endings: Vec<_> =
            lane.iter().filter_map(|place| by_event.get(place)).flatten().copied().collect();
        endings.sort_by_key(|ending| (ending.record.at_ms, ending.record.offset));
        never_back(key, &endings, excuses, verdict);
        never_at_once(key, endings, excuses, verdict);
    }
}

/// In one topic offsets decide (a key's records lie in one partition), between two topics the brokers' time.
fn is_before(one: &Ending<'_>, two: &Ending<'_>) -> bool {
    if one.told.is_some() == two.told.is_some() {
        one.record.partition == two.record.partition && one.record.offset < two.record.offset
    } else {
        one.record.at_ms <= two.record.at_ms
    }
}

/// Each host's own tellings go on in the order of the offsets.
fn never_back(key: &[u8], endings: &[&Ending<'_>], excuses: &Excuses, verdict: &mut Verdict) {
    let mut last: BTreeMap<Option<u32>, &Ending<'_>> = BTreeMap::new();
    for ending in endings.iter().filter(|ending| ending.told.is_some()) {
        let Some(before) = last.insert(ending.host, ending) else { continue };
        let goes_on = before.place.1 < ending.place.1;
        let excuse = || excuses.lost_since(ending.by(), before.record.at_ms);
        if !goes_on && excuse().is_none() {
            let (before, ending) = (told(before), told(ending));
            verdict.findings.push(format!("{} went back within a host: {before} then {ending}", show(key)));
        }
    }
}

fn never_at_once(key: &[u8], mut endings: Vec<&Ending<'_>>, excuses: &Excuses, verdict: &mut Verdict) {
    let times = |ending: &Ending<'_>| ending.told.map(|told| (told.began_ms, told.ended_ms));
    endings.retain(|ending| ending.told.is_some());
    endings.sort_by_key(|ending| times(ending));
    let mut longest: Option<&Ending<'_>> = None;
    for ending in endings {
        let (Some((began, ended)), before) = (times(ending), longest) else { continue };
        let before_ended = before.and_then(times).map_or(0, |(_, ended)| ended);
        if ended >= before_ended {
            longest = Some(ending);
        }
        let Some(before) = before.filter(|_| began < before_ended) else { continue };
        let stood_still = |one: &Ending<'_>| {
            times(one).is_some_and(|(began, ended)| {
                excuses.lost_since(By { at_ms: ended, ..one.by() }, began).is_some()
            })
        };
        if stood_still(before) || stood_still(ending) {
            verdict.tally.overlaps += 1;
        } else {
            let (before, ending) = (told(before), told(ending));
            verdict.findings.push(format!("{} handled twice at once: {before} and {ending}", show(key)));
        }
    }
}

pub(crate) fn show(key: &[u8]) -> String {
    key.escape_ascii().to_string()
}

pub(crate) fn told(ending: &Ending<'_>) -> String {
    let by = ending.host.map_or_else(|| "an unknown host".to_owned(), |host| format!("host {host}"));
    let Ending { place, record, told, .. } = ending;
    format!("{}/{} by {by} at {} ({told:?})", place.0, place.1, record.at_ms)
}
