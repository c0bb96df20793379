//! The ledger has one row for each event that was done, and no other; row and record come from one attempt;
//! and the rows of a key are a chain in the order of their events.

use std::collections::BTreeMap;

use crate::check::Verdict;
use crate::check::case::{Case, Event, Place};
use crate::check::excuses::Excuses;
use crate::fate::MustEnd;
use crate::ledger::{Accounts, LedgerRow};

pub(crate) fn check(case: &Case<'_>, _: &Excuses, verdict: &mut Verdict) {
    let Some(once) = &case.evidence.once else { return };
    let mut by_event: BTreeMap<Place, Vec<&LedgerRow>> = BTreeMap::new();
    for row in &once.rows {
        by_event.entry(row.place).or_default().push(row);
        match case.events.get(&row.place) {
            None => {
                verdict.tally.twice += 1;
                verdict.findings.push(format!("a row of an earlier event, or of none: {row:?}"));
            }
            Some(event) => verdict.findings.extend(wrong(case, event, row)),
        }
    }
    verdict.tally.rows = once.rows.len();
    verdict.tally.stopped_inside = once.figures.stopped_inside;
    verdict.tally.past_pruning = once.figures.past_pruning;
    verdict.tally.amid_commits = once.figures.amid_commits;
    for (place, event) in &case.events {
        let rows = by_event.get(place).map(Vec::as_slice).unwrap_or_default();
        match (rows, event.fate.must_end()) {
            ([], MustEnd::DeadLetter(_)) | ([_], MustEnd::Done) => {}
            ([], MustEnd::Done) => {
                verdict.tally.lost += 1;
                verdict.findings.push(format!("{place:?} has no row: {:?}", event.fate));
            }
            (rows, MustEnd::DeadLetter(_)) => {
                verdict.findings.push(format!("{place:?} must not have a row: {:?}, {rows:?}", event.fate));
            }
            (rows, MustEnd::Done) => {
                verdict.tally.twice += 1;
                verdict.findings.push(format!("{place:?} has {} rows: {rows:?}", rows.len()));
            }
        }
    }
    chains(&once.before.accounts, &once.after.accounts, &once.rows, verdict);
}

/// What a row says must fit its event, and the record that was committed with it.
fn wrong(case: &Case<'_>, event: &Event<'_>, row: &LedgerRow) -> Option<String> {
    let place = row.place;
    if event.id() != Some(row.value_id) {
        return Some(format!("{place:?} has a row of another value: {row:?}"));
    }
    if row.key.as_deref().map(str::as_bytes) != event.record.key.as_deref() {
        return Some(format!("{place:?} has a row of another key: {row:?}"));
    }
    // An event without a record is a finding of another rule.
    let mut endings = case.endings.iter().filter(|ending| ending.place == place && ending.told.is_some());
    let same = |record: &[u8]| record == row.told.as_bytes();
    let other = endings.find(|ending| !ending.record.value.as_deref().is_some_and(same))?;
    Some(format!("{place:?} has a row and a record of two attempts: {row:?}, {:?}", other.record))
}

/// Each row goes on where the one before it ended, and the last one is where the account stands.
fn chains(before: &Accounts, after: &Accounts, rows: &[LedgerRow], verdict: &mut Verdict) {
    let mut lanes: BTreeMap<(i32, String), Vec<&LedgerRow>> = BTreeMap::new();
    for row in rows {
        if let Some(key) = &row.key {
            lanes.entry((row.place.0, key.clone())).or_default().push(row);
        }
    }
    let mut accounts = before.clone();
    for (lane, mut rows) in lanes {
        rows.sort_by_key(|row| row.entry);
        let (mut entries, mut last) = accounts.get(&lane).copied().unwrap_or((0, -1));
        for row in rows {
            if row.place.1 <= last {
                verdict.tally.out_of_order += 1;
                verdict.findings.push(format!("{lane:?} swapped: offset {last}, then {row:?}"));
            }
            if (row.entry, row.after) != (Some(entries + 1), Some(last)) {
                let wanted = (entries + 1, last);
                verdict.findings.push(format!("{lane:?} is no chain: {wanted:?} is next, not {row:?}"));
            }
            (entries, last) = (entries + 1, row.place.1);
        }
        accounts.insert(lane, (entries, last));
    }
    for (lane, stands) in after {
        let wanted = accounts.remove(lane);
        if wanted != Some(*stands) {
            verdict.findings.push(format!("the account of {lane:?} is {stands:?}, its rows say {wanted:?}"));
        }
    }
    for (lane, wanted) in accounts {
        verdict.findings.push(format!("the account of {lane:?} is not there, its rows say {wanted:?}"));
    }
}
