//! What excuses a repeat or an overlap: a fault in the log, at the right host and the right time; or a
//! partition that was lost in the wake of one.

use crate::evidence::Evidence;
use crate::faults::{Deed, Entry, GRACE_MS};
use crate::losses::Loss;
use crate::plan::SESSION_MS;

/// How long before a fault an ending may have been told and still not be committed. Commits come twice a
/// second, but none is taken while the group waits for a silent member's session and for the others to give
/// back what they have.
const COMMIT_LAG_MS: u64 = SESSION_MS + 5_000;
/// How long after SIGKILL a record of the killed host may still be appended by a broker, and before a broker's an
/// answer may be on its way.
const ON_ITS_WAY_MS: u64 = 2_000;

/// What explains something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Excuse {
    /// Its host was killed.
    Killed,
    /// Its host stood still.
    Stopped,
    /// Its host lost the partition in the wake of another's fault.
    Lost,
    /// A broker was away.
    Broker,
}

/// Who told something, of which partition, and when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct By {
    pub(crate) host: Option<u32>,
    pub(crate) partition: i32,
    pub(crate) at_ms: u64,
}

/// The faults by which a host can lose its partitions without giving them back, and what hosts say that
/// they lost.
pub(crate) struct Excuses {
    faults: Vec<Entry>,
    losses: Vec<Loss>,
}

impl Excuses {
    pub(crate) fn of(evidence: &Evidence) -> Self {
        let silent = |entry: &&Entry| entry.deed.silences();
        let faults = evidence.faults.entries.iter().filter(silent).copied().collect();
        let mut excuses = Self { faults, losses: Vec::new() };
        let in_a_wake = |loss: &&Loss| excuses.explains(loss);
        let losses = evidence.losses.iter().filter(in_a_wake).copied().collect();
        excuses.losses = losses;
        excuses
    }

    /// Whether a loss lies in the wake of a fault.
    pub(crate) fn explains(&self, loss: &Loss) -> bool {
        self.faults.iter().any(|fault| fault.explains(loss))
    }

    /// Why an ending may be unknown to the next owner.
    pub(crate) fn forgotten(&self, by: By) -> Option<Excuse> {
        self.first(by, COMMIT_LAG_MS)
    }

    /// Why a host may tell an ending though the partition has another owner: it stood still meanwhile, or
    /// its records were on their way while it was killed, or a broker was away.
    pub(crate) fn late(&self, by: By) -> Option<Excuse> {
        self.first(by, 0)
    }

    /// What happened to the teller so soon after, or for so long before, that it explains the telling.
    fn first(&self, by: By, before_ms: u64) -> Option<Excuse> {
        let around =
            |from_ms: u64, until_ms: u64| (from_ms.saturating_sub(before_ms)..=until_ms).contains(&by.at_ms);
        let fault = |fault: &Entry| {
            let (excuse, until_ms) = match fault.deed {
                Deed::KilledHost(host) if by.host == Some(host) => {
                    (Excuse::Killed, fault.from_ms + ON_ITS_WAY_MS)
                }
                Deed::StoppedHost(host) if by.host == Some(host) => (Excuse::Stopped, later(fault.until_ms)),
                Deed::KilledBroker(_) => (Excuse::Broker, later(fault.until_ms)),
                _ => return None,
            };
            around(fault.from_ms, until_ms).then_some(excuse)
        };
        let loss = |loss: &Loss| {
            let same = by.host == Some(loss.host) && Some(by.partition) == loss.partition;
            (same && around(loss.at_ms, later(loss.at_ms))).then_some(Excuse::Lost)
        };
        self.faults.iter().filter_map(fault).chain(self.losses.iter().filter_map(loss)).min()
    }

    /// Why the teller may have lost the partition, and may have got it back, from an earlier moment on.
    pub(crate) fn lost_since(&self, by: By, from_ms: u64) -> Option<Excuse> {
        let fault = |fault: &Entry| {
            let excuse = match fault.deed {
                Deed::StoppedHost(host) if by.host == Some(host) => Excuse::Stopped,
                Deed::KilledBroker(_) => Excuse::Broker,
                _ => return None,
            };
            (from_ms <= later(fault.until_ms) && fault.from_ms <= by.at_ms).then_some(excuse)
        };
        let loss = |loss: &Loss| {
            let same = by.host == Some(loss.host) && Some(by.partition) == loss.partition;
            (same && from_ms <= later(loss.at_ms) && loss.at_ms <= by.at_ms).then_some(Excuse::Lost)
        };
        self.faults.iter().filter_map(fault).chain(self.losses.iter().filter_map(loss)).min()
    }

    /// Whether a broker died so soon after this moment that its answer may be missing, or was away.
    pub(crate) fn broker_died(&self, partition: i32, at_ms: u64) -> bool {
        self.first(By { host: None, partition, at_ms }, ON_ITS_WAY_MS) == Some(Excuse::Broker)
    }

    /// Whether any host stood still or any broker was away around this moment.
    pub(crate) fn disturbed(&self, at_ms: u64) -> bool {
        self.faults.iter().any(|fault| (fault.from_ms..=later(fault.until_ms)).contains(&at_ms))
    }
}

fn later(at_ms: u64) -> u64 {
    at_ms.saturating_add(GRACE_MS)
}
