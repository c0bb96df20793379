//! What a round does, drawn from its seed.

use serde::Serialize;

use crate::effects::Effects;
use crate::numbers::Numbers;

/// Hosts that run when nothing is wrong.
pub const HOSTS: usize = 3;
/// The slot of a host that only joins for a while.
pub const GUEST_SLOT: usize = HOSTS;
/// How long the producer writes, in milliseconds.
pub const WRITES_MS: u64 = 18_000;
/// How long a host without a heartbeat stays a member, in milliseconds.
pub const SESSION_MS: u64 = 6_000;
/// The earliest moment of a fault: by then all partitions work.
const FIRST_MS: u64 = 1_500;
/// The latest moment of a fault: what it disturbs is still being written.
const LAST_MS: u64 = 12_000;
/// The fewest and the most faults of a round.
const FAULTS: (u64, u64) = (3, 5);
/// Of 10,000 events, how many are slow or fail while nothing else is said.
pub const TROUBLED: u64 = 400;
/// The same while a handler is in trouble.
pub const TROUBLED_MORE: u64 = 3_000;
/// The same where a slow handler holds SQLite's only writer.
const TROUBLED_WITH_EFFECTS: u64 = 1_000;
/// How long a relay's lease is good, in milliseconds: a host that stands still for longer is relieved.
const LEASE_MS: u64 = 10_000;
/// Owners prune so often, in milliseconds: a host that stands still for longer than its session and this wakes
/// in front of claims that are pruned.
const PRUNE_MS: u64 = 5_000;
/// The latest moment at which a fault of a relay begins, in milliseconds: its slot must have none then.
const RELAY_LAST_MS: u64 = 6_000;

/// Which broker a fault hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Which {
    /// The one that leads most partitions of the input.
    LeadsMost,
    /// The one that holds the group's coordinator.
    Coordinates,
}

/// One fault. A slot is a host's place, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// SIGKILL of a host, which is started again later.
    KillHost {
        /// Which.
        slot: usize,
        /// Until it is started again, in milliseconds.
        away_ms: u64,
    },
    /// SIGSTOP of a host for longer than its session, then SIGCONT.
    StopHost {
        /// Which.
        slot: usize,
        /// Until SIGCONT, in milliseconds.
        for_ms: u64,
    },
    /// SIGKILL of a broker, which is started again later.
    KillBroker {
        /// Which.
        which: Which,
        /// Until it is started again, in milliseconds.
        away_ms: u64,
    },
    /// One more host joins, and leaves later.
    Join {
        /// Until it leaves, in milliseconds.
        for_ms: u64,
    },
    /// SIGTERM of a host, which is started again later.
    Leave {
        /// Which.
        slot: usize,
        /// From its end until it is started again, in milliseconds.
        away_ms: u64,
    },
    /// Many events are slow or fail.
    Trouble {
        /// For so long, in milliseconds.
        for_ms: u64,
    },
    /// The input gets more partitions.
    AddPartitions,
    /// SIGKILL of the host that relays, which is started again later.
    KillRelay {
        /// Until it is started again, in milliseconds.
        away_ms: u64,
    },
    /// SIGSTOP of the host that relays for longer than its lease, then SIGCONT.
    StopRelay {
        /// Until SIGCONT, in milliseconds.
        for_ms: u64,
    },
    /// SIGSTOP of a host for so long that its successor has pruned, then SIGCONT.
    StopPastPruning {
        /// Which.
        slot: usize,
        /// Until SIGCONT, in milliseconds.
        for_ms: u64,
    },
    /// SIGKILL of the database's server, which is started again later.
    KillDatabase {
        /// Whether that is in the middle of what its sessions are at, or they end that first.
        amid_commits: bool,
        /// Until it is started again, in milliseconds.
        away_ms: u64,
    },
    /// When nothing else is wrong any more all hosts are told to end, what the group has committed is deleted,
    /// and the hosts are started again.
    DeleteOffsets,
}

impl Fault {
    /// Its name in the report.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::KillHost { .. } => "kill host",
            Self::StopHost { .. } => "stop host",
            Self::KillBroker { .. } => "kill broker",
            Self::Join { .. } => "join",
            Self::Leave { .. } => "leave",
            Self::Trouble { .. } => "trouble",
            Self::AddPartitions => "add partitions",
            Self::KillRelay { .. } => "kill relay",
            Self::StopRelay { .. } => "stop relay",
            Self::StopPastPruning { .. } => "stop past pruning",
            Self::KillDatabase { .. } => "kill database",
            Self::DeleteOffsets => "delete offsets",
        }
    }
}

/// The names of all faults: those of every round, those of rounds with a database, that of a database's server.
const NAMES: [&str; 12] = [
    "kill host",
    "stop host",
    "kill broker",
    "join",
    "leave",
    "trouble",
    "add partitions",
    "kill relay",
    "stop relay",
    "stop past pruning",
    "delete offsets",
    "kill database",
];

/// The names of the faults that rounds can draw.
#[must_use]
pub fn names(effects: Option<Effects>) -> &'static [&'static str] {
    let count = match effects {
        None | Some(Effects::Kafka) => 7,
        Some(Effects::Sqlite) => 11,
        Some(Effects::Postgres) => 12,
    };
    NAMES.get(..count).unwrap_or(&NAMES)
}

/// A fault and its moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Planned {
    /// Counted from the first record, in milliseconds.
    pub at_ms: u64,
    /// What happens.
    pub fault: Fault,
}

/// A round.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// What it was drawn from.
    pub seed: u64,
    /// What keeps the handlers' effects, if they have any.
    pub effects: Option<Effects>,
    /// Records in a second.
    pub rate: u64,
    /// How many keys there are.
    pub keys: u64,
    /// The faults, by their moments.
    pub faults: Vec<Planned>,
}

impl Plan {
    /// Draws a round.
    #[must_use]
    pub fn draw(seed: u64, effects: Option<Effects>) -> Self {
        let mut numbers = Numbers::new(seed, 1);
        let mut slots: Vec<usize> = (0..HOSTS).collect();
        // Hosts are killed and stopped more often than anything else happens; one broker at a time may be
        // away, or nothing could be written.
        let mut kinds = vec![0, 0, 1, 1, 2, 3, 4, 5, 6];
        match effects {
            None | Some(Effects::Kafka) => {}
            Some(Effects::Sqlite) => kinds.extend([7, 7, 8, 9, 10]),
            Some(Effects::Postgres) => kinds.extend([7, 7, 8, 9, 10, 11, 11]),
        }
        let mut faults = Vec::new();
        for _ in 0..numbers.between(FAULTS.0, FAULTS.1) + u64::from(effects.is_some()) {
            let Some(kind) = numbers.take(&mut kinds) else { break };
            let Some(fault) = fault(kind, &mut slots, &mut numbers) else { continue };
            let last_ms = match fault {
                Fault::KillRelay { .. } | Fault::StopRelay { .. } => RELAY_LAST_MS,
                _ => LAST_MS,
            };
            faults.push(Planned { at_ms: numbers.between(FIRST_MS, last_ms), fault });
        }
        faults.sort_by_key(|planned| planned.at_ms);
        Self { seed, effects, rate: numbers.between(120, 260), keys: numbers.between(40, 400), faults }
    }

    /// Of 10,000 events written at a moment, how many are slow or fail.
    #[must_use]
    pub fn troubled(&self, now_ms: u64) -> u64 {
        let in_trouble = self.faults.iter().any(|planned| match planned.fault {
            Fault::Trouble { for_ms } => (planned.at_ms..planned.at_ms + for_ms).contains(&now_ms),
            _ => false,
        });
        match (in_trouble, self.effects) {
            (false, _) => TROUBLED,
            (true, None) => TROUBLED_MORE,
            (true, Some(_)) => TROUBLED_WITH_EFFECTS,
        }
    }
}

/// A fault of a kind; none where every host has its fault already.
fn fault(kind: u32, slots: &mut Vec<usize>, numbers: &mut Numbers) -> Option<Fault> {
    Some(match kind {
        0 => Fault::KillHost { slot: numbers.take(slots)?, away_ms: numbers.between(300, 6_000) },
        1 => Fault::StopHost {
            slot: numbers.take(slots)?,
            for_ms: numbers.between(SESSION_MS + 500, SESSION_MS + 4_000),
        },
        2 => {
            let which = if numbers.below(2) == 0 { Which::LeadsMost } else { Which::Coordinates };
            Fault::KillBroker { which, away_ms: numbers.between(500, 6_000) }
        }
        3 => Fault::Join { for_ms: numbers.between(2_000, 8_000) },
        4 => Fault::Leave { slot: numbers.take(slots)?, away_ms: numbers.between(300, 5_000) },
        5 => Fault::Trouble { for_ms: numbers.between(2_000, 6_000) },
        6 => Fault::AddPartitions,
        7 => Fault::KillRelay { away_ms: numbers.between(300, 6_000) },
        8 => Fault::StopRelay { for_ms: numbers.between(LEASE_MS + 500, LEASE_MS + 4_000) },
        9 => {
            let least = SESSION_MS + PRUNE_MS + 2_000;
            Fault::StopPastPruning {
                slot: numbers.take(slots)?,
                for_ms: numbers.between(least, least + 3_000),
            }
        }
        10 => Fault::DeleteOffsets,
        _ => {
            Fault::KillDatabase { amid_commits: numbers.below(2) == 0, away_ms: numbers.between(200, 5_000) }
        }
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_seed_draws_the_same_round_again() {
        assert_eq!(Plan::draw(11, None), Plan::draw(11, None));
        assert_ne!(Plan::draw(11, None), Plan::draw(12, None));
    }

    #[test]
    fn every_fault_is_drawn_and_a_host_has_one_at_a_time() {
        for effects in [None, Some(Effects::Kafka), Some(Effects::Sqlite), Some(Effects::Postgres)] {
            let drawn = drawn(effects);
            assert_eq!(drawn, names(effects).iter().copied().collect());
        }
    }

    fn drawn(effects: Option<Effects>) -> BTreeSet<&'static str> {
        let mut names = BTreeSet::new();
        for seed in 0..200 {
            let plan = Plan::draw(seed, effects);
            names.extend(plan.faults.iter().map(|planned| planned.fault.name()));
            let slot = |planned: &Planned| match planned.fault {
                Fault::KillHost { slot, .. }
                | Fault::StopHost { slot, .. }
                | Fault::StopPastPruning { slot, .. }
                | Fault::Leave { slot, .. } => Some(slot),
                _ => None,
            };
            let slots: Vec<_> = plan.faults.iter().filter_map(slot).collect();
            assert_eq!(slots.len(), slots.iter().collect::<BTreeSet<_>>().len(), "{plan:?}");
            assert!(plan.faults.iter().all(|planned| planned.at_ms < WRITES_MS), "{plan:?}");
        }
        names
    }

    #[test]
    fn trouble_lasts_as_long_as_it_says() {
        let faults = vec![Planned { at_ms: 100, fault: Fault::Trouble { for_ms: 50 } }];
        let mut plan = Plan { seed: 1, effects: None, rate: 1, keys: 1, faults };
        assert_eq!([99, 100, 149, 150].map(|at| plan.troubled(at)), [400, 3_000, 3_000, 400]);
        plan.effects = Some(Effects::Sqlite);
        assert_eq!([99, 100].map(|at| plan.troubled(at)), [400, 1_000]);
    }
}
