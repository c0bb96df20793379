//! What must hold of a world that has ended, whatever befell it.
//!
//! What was restored may be sent once more, if an operator then says so by a reset; nothing else is sent twice.

use std::collections::{BTreeMap, BTreeSet};

use crate::broker::Seen;
use crate::shared::Shared;
use crate::writers::{Ledger, Written, name_of};

/// What the world did besides what its servers know.
#[derive(Debug)]
pub struct Story {
    /// Nothing befell it.
    is_calm: bool,
    /// After how many records an operator reset the outbox.
    resets: Vec<usize>,
    /// Why relays had stopped that nothing had set back.
    alarms: Vec<String>,
    /// Whether the latest reset was said after a restore of which no relay had told: then it may not be enough.
    is_blind: bool,
    /// After how many records the database was set back, and which rows wait there; with whether a reset came later.
    restores: Vec<(usize, BTreeSet<String>, bool)>,
    /// Rows that the operator dropped.
    pub dropped: BTreeSet<String>,
    /// Rows that never left.
    pub left: Vec<String>,
}

impl Story {
    pub fn new(is_calm: bool) -> Self {
        let (resets, alarms, restores) = (Vec::new(), Vec::new(), Vec::new());
        let (dropped, left) = (BTreeSet::new(), Vec::new());
        Self { is_calm, resets, alarms, is_blind: false, restores, dropped, left }
    }

    /// With why relays had stopped, if they had.
    pub fn reset_at(&mut self, seen: usize, stopped: Option<String>) {
        let is_restored = self.restores.iter().any(|(_, _, is_answered)| !is_answered);
        let is_excused = is_restored || self.is_blind;
        self.is_blind = is_restored && stopped.is_none();
        self.alarms.extend(stopped.filter(|_| !is_excused));
        self.restores.iter_mut().for_each(|(_, _, is_answered)| *is_answered = true);
        self.resets.push(seen);
    }

    pub fn restored_at(&mut self, seen: usize, waiting: BTreeSet<String>) {
        self.restores.push((seen, waiting, false));
    }

    /// How often a record may be seen.
    fn times(&self, name: &str) -> usize {
        1 + self
            .restores
            .iter()
            .filter(|(_, waiting, is_answered)| *is_answered && waiting.contains(name))
            .count()
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

/// No record is seen twice, but for what was restored and reset.
fn once(story: &Story, seen: &[Seen]) -> Result<(), String> {
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for record in seen {
        *times.entry(name_of(&record.value)).or_default() += 1;
    }
    let too_often = times.iter().find(|(name, times)| **times > story.times(name));
    too_often.map_or(Ok(()), |(name, times)| {
        Err(format!("{name} is seen {times} times, and may be {}", story.times(name)))
    })
}

/// Of two records of one key and topic where one was committed before the other was written, or stood before it in
/// one transaction, it is seen first. Anew after each reset and restore: what was written before one may still
/// arrive after it. And each is what was written.
fn order(story: &Story, ledger: &Ledger, seen: &[Seen]) -> Result<(), String> {
    let mut ends = story.resets.clone();
    ends.extend(story.restores.iter().map(|(end, _, _)| end));
    ends.push(seen.len());
    ends.sort_unstable();
    let mut begin = 0;
    for end in ends {
        let mut lanes: BTreeMap<(&String, &bytes::Bytes), Lane> = BTreeMap::new();
        for record in &seen[begin..end] {
            let name = name_of(&record.value);
            // What a restore took back is in no ledger any more.
            let Some(written) = ledger.get(&name) else { continue };
            if (&record.topic, record.key.as_deref()) != (&written.topic, written.key.as_deref()) {
                return Err(format!("{name} is seen as {record:?} and was written as {written:?}"));
            }
            if let Some(key) = &record.key {
                lanes.entry((&record.topic, key)).or_default().pass(name, written)?;
            }
        }
        begin = end;
    }
    Ok(())
}

/// What was seen last of a key in a topic.
#[derive(Default)]
struct Lane {
    /// The latest beginning of a transaction, and one of its records.
    newest: (u64, String),
    /// The highest row of each transaction, by its writer and its beginning.
    highest: BTreeMap<(u64, u64), i64>,
}

impl Lane {
    fn pass(&mut self, name: String, written: &Written) -> Result<(), String> {
        if written.committed_ms < self.newest.0 {
            return Err(format!(
                "{name} was committed before {} was written and is seen after it",
                self.newest.1
            ));
        }
        let writer = name.split('/').next().and_then(|number| number.parse().ok()).unwrap_or(u64::MAX);
        let highest = self.highest.entry((writer, written.begun_ms)).or_default();
        if written.id < *highest {
            return Err(format!("{name} is seen after a later row of its transaction"));
        }
        *highest = written.id;
        if written.begun_ms > self.newest.0 {
            self.newest = (written.begun_ms, name);
        }
        Ok(())
    }
}

/// In calm no mail goes out twice. Else a repeat has the same Message-ID, which is how it is counted; and nobody
/// begins one while another host has the lease.
fn mails(story: &Story, ledger: &Ledger, shared: &Shared) -> Result<(), String> {
    if let Some(mail) = &shared.foreign_mail {
        return Err(format!("mail {mail} was begun without the lease"));
    }
    let twice = shared.mails.iter().find(|(name, times)| ledger.contains_key(*name) && **times > 1);
    match twice {
        Some((name, times)) if story.is_calm => Err(format!("mail {name} went out {times} times")),
        _ => Ok(()),
    }
}

/// A relay stops only where the database was set back since the last reset.
fn alarms(story: &Story) -> Result<(), String> {
    let first = story.alarms.first();
    first.map_or(Ok(()), |reason| Err(format!("a relay stopped and nothing was restored: {reason}")))
}
