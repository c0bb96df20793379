//! What a round does, drawn from its seed.

use serde::Serialize;

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
        }
    }
}

/// The names of all faults.
pub const NAMES: [&str; 7] =
    ["kill host", "stop host", "kill broker", "join", "leave", "trouble", "add partitions"];

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
    pub fn draw(seed: u64) -> Self {
        let mut numbers = Numbers::new(seed, 1);
        let mut slots: Vec<usize> = (0..HOSTS).collect();
        // Hosts are killed and stopped more often than anything else happens; one broker at a time may be
        // away, or nothing could be written.
        let mut kinds = vec![0, 0, 1, 1, 2, 3, 4, 5, 6];
        let mut faults = Vec::new();
        for _ in 0..numbers.between(FAULTS.0, FAULTS.1) {
            let Some(kind) = numbers.take(&mut kinds) else { break };
            let fault = fault(kind, &mut slots, &mut numbers);
            faults.extend(fault.map(|fault| Planned { at_ms: numbers.between(FIRST_MS, LAST_MS), fault }));
        }
        faults.sort_by_key(|planned| planned.at_ms);
        Self { seed, rate: numbers.between(120, 260), keys: numbers.between(40, 400), faults }
    }

    /// Of 10,000 events written at a moment, how many are slow or fail.
    #[must_use]
    pub fn troubled(&self, now_ms: u64) -> u64 {
        let in_trouble = self.faults.iter().any(|planned| match planned.fault {
            Fault::Trouble { for_ms } => (planned.at_ms..planned.at_ms + for_ms).contains(&now_ms),
            _ => false,
        });
        if in_trouble { TROUBLED_MORE } else { TROUBLED }
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
        _ => Fault::AddPartitions,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_seed_draws_the_same_round_again() {
        assert_eq!(Plan::draw(11), Plan::draw(11));
        assert_ne!(Plan::draw(11), Plan::draw(12));
    }

    #[test]
    fn every_fault_is_drawn_and_a_host_has_one_at_a_time() {
        let mut names = BTreeSet::new();
        for seed in 0..200 {
            let plan = Plan::draw(seed);
            names.extend(plan.faults.iter().map(|planned| planned.fault.name()));
            let slot = |planned: &Planned| match planned.fault {
                Fault::KillHost { slot, .. } | Fault::StopHost { slot, .. } | Fault::Leave { slot, .. } => {
                    Some(slot)
                }
                _ => None,
            };
            let slots: Vec<_> = plan.faults.iter().filter_map(slot).collect();
            assert_eq!(slots.len(), slots.iter().collect::<BTreeSet<_>>().len(), "{plan:?}");
            assert!(plan.faults.iter().all(|planned| planned.at_ms < WRITES_MS), "{plan:?}");
        }
        assert_eq!(names, NAMES.into_iter().collect());
    }

    #[test]
    fn trouble_lasts_as_long_as_it_says() {
        let faults = vec![Planned { at_ms: 100, fault: Fault::Trouble { for_ms: 50 } }];
        let plan = Plan { seed: 1, rate: 1, keys: 1, faults };
        assert_eq!([99, 100, 149, 150].map(|at| plan.troubled(at)), [400, 3_000, 3_000, 400]);
    }
}
