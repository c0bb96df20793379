//! What hosts say of partitions that they gave up for what the database said, read from their logs. It excuses
//! no repeat, only a host that says that work is left where the database began anew while it left; and it shows in the
//! report whether the faults met what they are meant to meet.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::faults::{Deed, Entry, GRACE_MS};
use crate::losses::{milliseconds, partition};

/// What a host says when it gives a partition up, and its reasons that are counted.
const SAYS: &str = "the partition is given up, and its runs are broken off";
const OVERTAKEN: &str = "another host has taken this partition in the database";
const UNKNOWN: &str = "the outcome of a commit is unknown";

/// Why a partition was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Another host had taken it in the database.
    Overtaken,
    /// Nobody knew whether a commit was done.
    Unknown,
}

/// A host gave a partition up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GivenUp {
    /// The number of its process.
    pub host: u32,
    /// The partition of the input; none where it is one of the retry topic.
    pub partition: Option<i32>,
    /// When, in milliseconds since the epoch.
    pub at_ms: u64,
    /// Why.
    pub why: Why,
}

/// A host stood still.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stood {
    /// The number of its process.
    pub host: u32,
    /// When it went on, in milliseconds since the epoch.
    pub until_ms: u64,
    /// Partitions that others pruned meanwhile.
    pub pruned: BTreeSet<i32>,
}

/// What faults met in the database.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Hosts that stood still in the middle of a transaction.
    pub stopped_inside: usize,
    /// Hosts that went on with what others had taken and pruned while they stood still.
    pub past_pruning: usize,
    /// Deaths of the database's server that left open whether a commit was done.
    pub amid_commits: usize,
}

/// What came of the deeds of a round.
#[must_use]
pub fn figures(deeds: &[Entry], stood: &[Stood], given_up: &[GivenUp]) -> Figures {
    let within = |one: &GivenUp, from_ms: u64, until_ms: u64| {
        (from_ms..=until_ms.saturating_add(GRACE_MS)).contains(&one.at_ms)
    };
    let inside = |deed: &&Entry| matches!(deed.deed, Deed::StoodInside(_));
    let past_pruning = |stood: &&Stood| {
        given_up.iter().any(|one| {
            let pruned = one.partition.is_some_and(|partition| stood.pruned.contains(&partition));
            let same = one.host == stood.host && one.why == Why::Overtaken;
            same && pruned && within(one, stood.until_ms, stood.until_ms)
        })
    };
    let amid_commits = |deed: &&Entry| {
        let met = |one: &GivenUp| one.why == Why::Unknown && within(one, deed.from_ms, deed.until_ms);
        deed.deed == Deed::KilledDatabase && given_up.iter().any(met)
    };
    Figures {
        stopped_inside: deeds.iter().filter(inside).count(),
        past_pruning: stood.iter().filter(past_pruning).count(),
        amid_commits: deeds.iter().filter(amid_commits).count(),
    }
}

/// What the logs of these hosts say.
///
/// # Errors
/// When a log cannot be read.
pub fn of_logs<'a>(logs: impl Iterator<Item = (u32, &'a Path)>) -> Result<Vec<GivenUp>> {
    let mut given_up = Vec::new();
    for (host, log) in logs {
        let text = std::fs::read_to_string(log).with_context(|| log.display().to_string())?;
        given_up.extend(text.lines().filter_map(|line| of_line(host, line)));
    }
    Ok(given_up)
}

fn of_line(host: u32, line: &str) -> Option<GivenUp> {
    // Most lines are about something else and are not worth decoding.
    if !line.contains(SAYS) {
        return None;
    }
    let line: Value = serde_json::from_str(line).ok()?;
    let reason = line.pointer("/fields/reason")?.as_str()?;
    let why = match reason {
        OVERTAKEN => Why::Overtaken,
        reason if reason.starts_with(UNKNOWN) => Why::Unknown,
        _ => return None,
    };
    let at_ms = milliseconds(line.get("timestamp")?.as_str()?)?;
    Some(GivenUp { host, partition: partition(line.pointer("/fields/source")?.as_str()?), at_ms, why })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a host writes it.
    fn line(reason: &str) -> String {
        format!(
            r#"{{"timestamp":"1970-01-01T00:00:12.000000Z","level":"WARN","fields":{{"message":"{SAYS}, until the database grants it anew","handler":"witness","source":"chaos-input[7]","runs":1,"reason":"{reason}"}},"target":"keylane_engine::owner"}}"#
        )
    }

    #[test]
    fn what_a_host_says_is_read() {
        let given_up = |why| Some(GivenUp { host: 3, partition: Some(7), at_ms: 12_000, why });
        assert_eq!(of_line(3, &line(OVERTAKEN)), given_up(Why::Overtaken));
        assert_eq!(of_line(3, &line(&format!("{UNKNOWN}: no answer"))), given_up(Why::Unknown));
        assert_eq!(of_line(3, &line("the database is not available")), None);
        assert_eq!(of_line(3, &line(OVERTAKEN).replace(SAYS, "lost")), None);
    }

    #[test]
    fn what_faults_met_is_counted() {
        let said = |why| of_line(3, &line(if why == Why::Overtaken { OVERTAKEN } else { UNKNOWN })).unwrap();
        let stood = |host, until_ms, pruned| Stood { host, until_ms, pruned: BTreeSet::from([pruned]) };
        let past = |stood: Stood, why| figures(&[], &[stood], &[said(why)]).past_pruning;
        assert_eq!(past(stood(3, 11_000, 7), Why::Overtaken), 1);
        for other in [stood(2, 11_000, 7), stood(3, 11_000, 6), stood(3, 13_000, 7), stood(3, 1_000, 7)] {
            assert_eq!(past(other.clone(), Why::Overtaken), 0, "{other:?}");
        }
        assert_eq!(past(stood(3, 11_000, 7), Why::Unknown), 0);
        let deed = |deed, from_ms| [Entry { deed, from_ms, until_ms: from_ms + 1_000 }];
        let amid = |deeds: [Entry; 1], why| figures(&deeds, &[], &[said(why)]).amid_commits;
        assert_eq!(amid(deed(Deed::KilledDatabase, 11_500), Why::Unknown), 1);
        assert_eq!(amid(deed(Deed::KilledDatabase, 12_500), Why::Unknown), 0);
        assert_eq!(amid(deed(Deed::KilledDatabase, 11_500), Why::Overtaken), 0);
        assert_eq!(amid(deed(Deed::KilledHost(3), 11_500), Why::Unknown), 0);
        assert_eq!(figures(&deed(Deed::StoodInside(3), 1), &[], &[]).stopped_inside, 1);
    }
}
