//! The log of what was done to brokers and hosts, by the clock that all of them share.

use serde::Serialize;

use crate::clock::now_ms;

/// What was done to whom. A host is named by the number of its process: each start has a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Deed {
    /// A host was killed with SIGKILL.
    KilledHost(u32),
    /// A host stood still between SIGSTOP and SIGCONT.
    StoppedHost(u32),
    /// A broker was killed with SIGKILL; the end is when every replica was in sync again.
    KilledBroker(i32),
    /// A host was started.
    StartedHost(u32),
    /// A host was told to end with SIGTERM; the end is its end.
    EndedHost(u32),
    /// The database's server was killed with SIGKILL; the end is when it served again.
    KilledDatabase,
    /// All that the group had committed was deleted while no host was there.
    DeletedOffsets,
    /// The input got more partitions: so many then.
    AddedPartitions(i32),
}

/// A deed and its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// What was done.
    pub deed: Deed,
    /// When it began, in milliseconds since the epoch.
    pub from_ms: u64,
    /// When it was over; the end of time while it is not.
    pub until_ms: u64,
}

/// All deeds, in the order of their beginnings.
#[derive(Debug, Clone, Default, Serialize)]
pub struct FaultLog {
    /// The deeds.
    pub entries: Vec<Entry>,
}

impl FaultLog {
    /// Something begins now and ends later.
    pub fn begins(&mut self, deed: Deed) {
        self.entries.push(Entry { deed, from_ms: now_ms(), until_ms: u64::MAX });
    }

    /// Something is over now; it must have begun.
    pub fn ends(&mut self, deed: Deed) {
        let open = |entry: &&mut Entry| entry.deed == deed && entry.until_ms == u64::MAX;
        if let Some(entry) = self.entries.iter_mut().rev().find(open) {
            entry.until_ms = now_ms();
        }
    }

    /// Whether a broker was away at any time of this deed's latest occurrence.
    #[must_use]
    pub fn is_amid_a_brokers_death(&self, deed: Deed) -> bool {
        let Some(of) = self.entries.iter().rev().find(|entry| entry.deed == deed) else { return false };
        let overlaps = |entry: &Entry| entry.from_ms <= of.until_ms && of.from_ms <= entry.until_ms;
        self.entries.iter().any(|entry| matches!(entry.deed, Deed::KilledBroker(_)) && overlaps(entry))
    }

    /// Something happened at one moment, now.
    pub fn happens(&mut self, deed: Deed) {
        self.begins(deed);
        self.ends(deed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_brokers_death_counts_while_it_lasts() {
        let with = |from_ms, until_ms| FaultLog {
            entries: vec![
                Entry { deed: Deed::EndedHost(1), from_ms: 10, until_ms: 20 },
                Entry { deed: Deed::KilledBroker(2), from_ms, until_ms },
            ],
        };
        let amid = |from_ms, until_ms| with(from_ms, until_ms).is_amid_a_brokers_death(Deed::EndedHost(1));
        assert!(amid(5, 10) && amid(20, u64::MAX) && amid(12, 13));
        assert!(!amid(0, 9) && !amid(21, u64::MAX));
        assert!(!with(5, 30).is_amid_a_brokers_death(Deed::EndedHost(2)), "another host's end");
    }

    #[test]
    fn what_is_over_has_an_end() {
        let mut log = FaultLog::default();
        log.begins(Deed::StoppedHost(1));
        log.begins(Deed::StoppedHost(2));
        log.ends(Deed::StoppedHost(1));
        assert!(log.entries[0].until_ms < u64::MAX);
        assert_eq!(log.entries[1].until_ms, u64::MAX);
    }
}
