//! The log of what was done to brokers and hosts, by the clock that all of them share.

use serde::Serialize;

use crate::clock::now_ms;
use crate::given_up::{GivenUp, Why};
use crate::losses::Loss;
use crate::plan::SESSION_MS;

/// How long after a fault its consequences may show: sessions, elections, records on their way.
pub(crate) const GRACE_MS: u64 = 8_000;
/// How long after a fault a member may lose partitions by it: the group waits for a silent member for a
/// session, and no commit is acknowledged meanwhile.
const WAKE_MS: u64 = 2 * SESSION_MS + GRACE_MS;
/// How long after its database began anew an owner may not know that: an idle one asks every 30 s.
const ASKED_MS: u64 = 30_000 + GRACE_MS;

/// What was done to whom. A host is named by the number of its process: each start has a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Deed {
    /// A host was killed with SIGKILL.
    KilledHost(u32),
    /// A host stood still between SIGSTOP and SIGCONT.
    StoppedHost(u32),
    /// A host stood still in the middle of a transaction of the database, until SIGCONT.
    StoodInside(u32),
    /// That transaction held the database's only writer, so that nobody else could write, until SIGCONT.
    HeldTheWriter(u32),
    /// A host relayed just before it was killed, or stood still: then the end is SIGCONT.
    Relayed(u32),
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

impl Deed {
    /// Whether members of the group may fall silent by it.
    pub(crate) fn silences(self) -> bool {
        matches!(self, Self::KilledHost(_) | Self::StoppedHost(_) | Self::KilledBroker(_))
    }
}

impl Entry {
    /// Whether a host's loss lies in the wake of this deed.
    pub(crate) fn explains(&self, loss: &Loss) -> bool {
        let wake = self.from_ms..=self.until_ms.saturating_add(WAKE_MS);
        self.deed.silences() && wake.contains(&loss.at_ms)
    }

    /// Whether the database took a partition from its owner because of this deed: a server that was started again
    /// takes all of them, and an owner hears of it when it asks next, at the latest in its drain.
    fn takes(&self, given_up: &GivenUp) -> bool {
        let wake = self.from_ms..=self.until_ms.saturating_add(ASKED_MS);
        self.deed == Deed::KilledDatabase && given_up.why == Why::Overtaken && wake.contains(&given_up.at_ms)
    }
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

    /// Whether a host may say that it left work undone when it was told to end for the last time: because at any time
    /// of that a broker or the database was away, or another host stood still with the database's writer or its
    /// locks; or because the group or the database took partitions from it meanwhile, in the wake of a fault.
    #[must_use]
    pub fn may_leave_work(&self, host: u32, losses: &[Loss], given_up: &[GivenUp]) -> bool {
        let ends = |entry: &&Entry| entry.deed == Deed::EndedHost(host);
        let Some(of) = self.entries.iter().rev().find(ends) else { return false };
        let overlaps = |entry: &Entry| entry.from_ms <= of.until_ms && of.from_ms <= entry.until_ms;
        let holds_up =
            |deed| matches!(deed, Deed::KilledBroker(_) | Deed::KilledDatabase | Deed::StoodInside(_));
        let meanwhile = |whose, at_ms| whose == host && (of.from_ms..=of.until_ms).contains(&at_ms);
        let lost = |entry: &Entry| {
            losses.iter().any(|loss| meanwhile(loss.host, loss.at_ms) && entry.explains(loss))
        };
        let taken =
            |entry: &Entry| given_up.iter().any(|one| meanwhile(one.host, one.at_ms) && entry.takes(one));
        let excuses = |entry: &Entry| holds_up(entry.deed) && overlaps(entry) || lost(entry) || taken(entry);
        self.entries.iter().any(excuses)
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
    fn what_holds_others_up_counts_while_it_lasts() {
        let with = |deed, from_ms, until_ms| FaultLog {
            entries: vec![
                Entry { deed: Deed::EndedHost(1), from_ms: 10, until_ms: 20 },
                Entry { deed, from_ms, until_ms },
            ],
        };
        let may = |deed, from_ms, until_ms| with(deed, from_ms, until_ms).may_leave_work(1, &[], &[]);
        for deed in [Deed::KilledBroker(2), Deed::KilledDatabase, Deed::StoodInside(3)] {
            assert!(may(deed, 5, 10) && may(deed, 20, u64::MAX) && may(deed, 12, 13));
            assert!(!may(deed, 0, 9) && !may(deed, 21, u64::MAX));
            assert!(!with(deed, 5, 30).may_leave_work(2, &[], &[]), "another host's end");
        }
        assert!(!may(Deed::StoppedHost(3), 5, 30), "it held nothing");
        let lost = |host, at_ms| Loss { host, partition: None, at_ms };
        let may = |deed, loss| with(deed, 5, 30).may_leave_work(1, &[loss], &[]);
        assert!(may(Deed::StoppedHost(3), lost(1, 15)));
        assert!(!may(Deed::StoppedHost(3), lost(2, 15)), "another's loss");
        assert!(!may(Deed::StoppedHost(3), lost(1, 9)), "it was not leaving yet");
        assert!(!may(Deed::AddedPartitions(2), lost(1, 15)), "nobody is silent for that");
        let taken = |host, at_ms, why| GivenUp { host, partition: None, at_ms, why };
        let may = |deed, given_up| with(deed, 5, 9).may_leave_work(1, &[], &[given_up]);
        assert!(may(Deed::KilledDatabase, taken(1, 15, Why::Overtaken)));
        assert!(!may(Deed::KilledDatabase, taken(2, 15, Why::Overtaken)), "another's");
        assert!(!may(Deed::KilledDatabase, taken(1, 21, Why::Overtaken)), "it had ended");
        assert!(!may(Deed::KilledDatabase, taken(1, 15, Why::Unknown)), "the database was there");
        assert!(!may(Deed::KilledHost(2), taken(1, 15, Why::Overtaken)), "the group would have told it");
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
