//! What must hold of a world that has ended, whatever befell it.
//!
//! A reset by an operator begins a new chapter: what was sent after the restore that it mends may be sent once
//! more. Within a chapter nothing is sent twice.

use std::collections::{BTreeMap, BTreeSet};

use crate::broker::Seen;
use crate::shared::Shared;
use crate::writers::{Ledger, name_of};

/// What the world did besides what its servers know.
#[derive(Debug)]
pub struct Story {
    /// Nothing befell it.
    is_calm: bool,
    /// After how many records the operator reset the outbox, and why.
    resets: Vec<(usize, String)>,
    /// After how many records the database was set back.
    restores: Vec<usize>,
    /// Rows that the operator dropped.
    pub dropped: BTreeSet<String>,
    /// Rows that never left.
    pub left: Vec<String>,
}

impl Story {
    pub fn new(is_calm: bool) -> Self {
        let (resets, restores) = (Vec::new(), Vec::new());
        Self { is_calm, resets, restores, dropped: BTreeSet::new(), left: Vec::new() }
    }

    pub fn reset_at(&mut self, seen: usize, reason: String) {
        self.resets.push((seen, reason));
    }

    pub fn restored_at(&mut self, seen: usize) {
        self.restores.push(seen);
    }

    /// The records between resets.
    fn chapters<'a>(&self, seen: &'a [Seen]) -> Vec<&'a [Seen]> {
        let ends = self.resets.iter().map(|(end, _)| *end).chain([seen.len()]);
        let begins = std::iter::once(0).chain(self.resets.iter().map(|(end, _)| *end));
        begins.zip(ends).map(|(begin, end)| &seen[begin..end]).collect()
    }
}

/// Checks all of it. Answers what is broken.
pub fn check(story: &Story, ledger: &Ledger, shared: &Shared) -> Vec<(&'static str, String)> {
    let found = [
        ("all", all(story, ledger, shared)),
        ("once", once(story, &shared.broker.seen)),
        ("order", order(story, ledger, &shared.broker.seen)),
        ("mails", mails(story, ledger, shared)),
        ("alarms", alarms(story)),
    ];
    found.into_iter().filter_map(|(name, found)| found.err().map(|found| (name, found))).collect()
}

/// What was committed and stands is seen, and nothing waits any more.
fn all(story: &Story, ledger: &Ledger, shared: &Shared) -> Result<(), String> {
    if !story.left.is_empty() {
        let (count, first) = (story.left.len(), story.left.first());
        return Err(format!("{count} rows never left, {first:?} among them"));
    }
    let seen: BTreeSet<String> = shared.broker.seen.iter().map(|seen| name_of(&seen.value)).collect();
    let is_there = |name: &String, is_mail: bool| match is_mail {
        true => shared.mails.contains_key(name),
        false => seen.contains(name),
    };
    let missing = ledger
        .iter()
        .find(|(name, written)| !is_there(name, written.is_mail) && !story.dropped.contains(*name));
    missing.map_or(Ok(()), |(name, written)| Err(format!("{name} was committed and is nowhere: {written:?}")))
}

/// Within a chapter each record is seen once.
fn once(story: &Story, seen: &[Seen]) -> Result<(), String> {
    for (number, chapter) in story.chapters(seen).into_iter().enumerate() {
        let mut names = BTreeSet::new();
        for record in chapter {
            let name = name_of(&record.value);
            if !names.insert(name.clone()) {
                return Err(format!("{name} is seen twice in chapter {number}"));
            }
        }
    }
    Ok(())
}

/// Of two records of one key and topic where one was committed before the other was written, it is seen first.
/// Chapters end at restores too: what was written before one may still arrive after it.
fn order(story: &Story, ledger: &Ledger, seen: &[Seen]) -> Result<(), String> {
    let mut ends: Vec<usize> = story.resets.iter().map(|(end, _)| *end).collect();
    ends.extend(&story.restores);
    ends.push(seen.len());
    ends.sort_unstable();
    let mut begin = 0;
    for end in ends {
        let mut newest: BTreeMap<(&String, &bytes::Bytes), (u64, String)> = BTreeMap::new();
        for record in &seen[begin..end] {
            let (Some(key), name) = (&record.key, name_of(&record.value)) else { continue };
            // What a restore took back is in no ledger any more.
            let Some(written) = ledger.get(&name) else { continue };
            let newest = newest.entry((&record.topic, key)).or_default();
            if written.committed_ms < newest.0 {
                return Err(format!(
                    "{name} was committed before {} was written and is seen after it",
                    newest.1
                ));
            }
            if written.begun_ms > newest.0 {
                *newest = (written.begun_ms, name);
            }
        }
        begin = end;
    }
    Ok(())
}

/// In calm no mail goes out twice. Else a repeat has the same Message-ID, which is how it is counted.
fn mails(story: &Story, ledger: &Ledger, shared: &Shared) -> Result<(), String> {
    let twice = shared.mails.iter().find(|(name, times)| ledger.contains_key(*name) && **times > 1);
    match twice {
        Some((name, times)) if story.is_calm => Err(format!("mail {name} went out {times} times")),
        _ => Ok(()),
    }
}

/// A relay stops only where the database was set back since the last reset.
fn alarms(story: &Story) -> Result<(), String> {
    let mut begin = 0;
    for (end, reason) in &story.resets {
        if !story.restores.iter().any(|restore| (begin..=*end).contains(restore)) {
            return Err(format!("a relay stopped and nothing was restored: {reason}"));
        }
        begin = *end;
    }
    Ok(())
}
