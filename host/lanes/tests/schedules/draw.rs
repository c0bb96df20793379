//! Randomness from a seed, and what is drawn with it: policies and verdicts.

use keylane_lanes::{ClassCaps, FailureClass, Flood, Policy, Then, Verdict};

/// A splitmix64 generator: small, seeded, and the same everywhere.
pub struct Draw(pub u64);

impl Draw {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    }

    pub fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }

    pub fn pick<T>(&mut self, items: impl IntoIterator<Item = T>) -> Option<T> {
        let mut items: Vec<T> = items.into_iter().collect();
        if items.is_empty() { None } else { Some(items.swap_remove(self.below(items.len() as u64) as usize)) }
    }

    pub fn policy(&mut self) -> Policy {
        let mut up_to = |bound: u64| 1 + self.below(bound) as u32;
        let attempts_max = up_to(5);
        let caps = ClassCaps {
            retry: up_to(5),
            trap: up_to(4),
            timeout: up_to(4),
            memory: up_to(4),
            effects: up_to(6),
        };
        let flood = Flood { window_events: up_to(12) as usize, share_percent: self.below(101) as u8 };
        Policy {
            attempts_max,
            caps,
            age_max_ms: self.one_in(3).then(|| 1 + self.below(400)),
            backoff_ms: 1 + self.below(50),
            backoff_max_ms: 200,
            then: self.pick([Then::DeadLetter, Then::DeadLetter, Then::PauseLane, Then::Stop]).unwrap(),
            flood: self.one_in(2).then_some(flood),
            run_events_max: 1 + self.below(20) as usize,
            slice_ms: 1 + self.below(50),
            gap_max: 1 + self.below(100) as usize,
        }
    }

    /// What becomes of an attempt where `failing` percent do not go well.
    pub fn verdict(&mut self, failing: u64) -> Verdict {
        if self.below(100) >= failing {
            return Verdict::Done;
        }
        let class = match self.below(10) {
            0 => return Verdict::NotStarted,
            1 => FailureClass::Reject,
            2 => FailureClass::Undeliverable,
            3 => FailureClass::Trap,
            4 => FailureClass::Timeout,
            5 => FailureClass::Memory,
            6 | 7 => FailureClass::Effects,
            _ => FailureClass::Retry,
        };
        Verdict::Failed { class, after_ms: self.one_in(3).then(|| self.below(300)) }
    }
}
