//! How long a lane waits after a failed attempt: exponential, capped, with jitter.

use crate::policy::Policy;

/// The wait in milliseconds after `failures` failed attempts (from 1) of the event at `offset`.
///
/// The jitter takes up to a quarter off, so that events which failed together do not come back
/// together. It is drawn from the offset and the count, because there is no randomness in this crate:
/// the same schedule must replay to the same wait.
pub(crate) fn wait_ms(policy: &Policy, offset: i64, failures: u32) -> u64 {
    assert!(failures >= 1, "an event waits only after a failure");
    let doublings = (failures - 1).min(40);
    let full_ms = policy.backoff_ms.saturating_mul(1 << doublings).min(policy.backoff_max_ms);
    let spread_ms = full_ms / 4;
    full_ms - mixed(offset.unsigned_abs() ^ (u64::from(failures) << 48)) % (spread_ms + 1)
}

/// The output function of splitmix64 (Steele, Lea, Flood 2014): spreads near inputs far apart.
fn mixed(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_cap_and_loses_at_most_a_quarter() {
        let policy = Policy { backoff_ms: 100, backoff_max_ms: 1_000, ..Policy::default() };
        for (failures, full_ms) in [(1, 100), (2, 200), (3, 400), (4, 800), (5, 1_000), (60, 1_000)] {
            for offset in 0..50 {
                let wait = wait_ms(&policy, offset, failures);
                assert!(wait <= full_ms && wait >= full_ms - full_ms / 4, "{failures}: {wait}");
            }
        }
    }

    #[test]
    fn events_that_failed_together_come_back_apart() {
        let policy = Policy { backoff_ms: 1_000, ..Policy::default() };
        let waits: std::collections::BTreeSet<u64> =
            (0..100).map(|offset| wait_ms(&policy, offset, 1)).collect();
        assert!(waits.len() > 50, "only {} different waits", waits.len());
    }
}
