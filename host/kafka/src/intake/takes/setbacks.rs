//! Pauses after takes that failed, and after partitions that were overtaken: longer each time, and not all
//! of the same length, so that hosts which were in each other's way are not so again.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use keylane_engine::TopicPartition;

/// The first pause; each further one is twice as long.
const PAUSE_FIRST: Duration = Duration::from_millis(200);
/// The longest one.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// A partition to which nothing has happened for so long begins with the first pause again.
const FORGIVEN_AFTER: Duration = Duration::from_secs(30);
/// Into how many parts the half of a pause is divided, of which chance takes some.
const PARTS: u32 = 256;
/// Doublings after which a pause is the longest for sure.
const DOUBLINGS_MAX: u32 = 10;

#[derive(Debug, Clone, Copy)]
struct Setback {
    count: u32,
    at: Instant,
}

/// Owned by the polling thread. Holds one entry for each partition that had a setback and was not revoked
/// since.
#[derive(Debug, Default)]
pub(super) struct Setbacks {
    of: BTreeMap<TopicPartition, Setback>,
}

impl Setbacks {
    /// Notes a setback, and answers how long the partition is to wait.
    pub(super) fn note(&mut self, partition: &TopicPartition, now: Instant) -> Duration {
        let former = self.of.get(partition);
        let recent = former.filter(|one| now.saturating_duration_since(one.at) < FORGIVEN_AFTER);
        let count = recent.map_or(0, |one| one.count + 1);
        self.of.insert(partition.clone(), Setback { count, at: now });
        jittered(pause(count))
    }

    pub(super) fn forget(&mut self, partition: &TopicPartition) {
        self.of.remove(partition);
    }
}

fn pause(count: u32) -> Duration {
    PAUSE_FIRST.saturating_mul(1 << count.min(DOUBLINGS_MAX)).min(PAUSE_MAX)
}

/// Between the half of it and all of it. The standard library's hash maps are keyed at random, and nothing
/// better is needed here.
fn jittered(pause: Duration) -> Duration {
    let half = pause / 2;
    let parts = u32::try_from(RandomState::new().hash_one(()) % u64::from(PARTS)).unwrap_or(PARTS);
    half + half * parts / PARTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_begin_anew_when_all_was_well() {
        let partition = TopicPartition { topic: "t".into(), partition: 0 };
        let (mut setbacks, mut now) = (Setbacks::default(), Instant::now());
        for expected_ms in [200, 400, 800, 1_600, 3_200, 5_000, 5_000, 5_000] {
            let (pause, whole) = (setbacks.note(&partition, now), Duration::from_millis(expected_ms));
            assert!(whole / 2 <= pause && pause <= whole, "{pause:?} of {whole:?}");
            now += pause;
        }
        now += FORGIVEN_AFTER;
        assert!(setbacks.note(&partition, now) <= PAUSE_FIRST);
        assert!(setbacks.note(&partition, now) > PAUSE_FIRST / 2);
        setbacks.forget(&partition);
        assert!(setbacks.note(&partition, now) <= PAUSE_FIRST);
    }

    #[test]
    fn no_count_is_too_large() {
        assert_eq!(pause(u32::MAX), PAUSE_MAX);
    }

    #[test]
    fn not_all_pauses_are_of_one_length() {
        let first = jittered(PAUSE_MAX);
        assert!((0..64).any(|_| jittered(PAUSE_MAX) != first));
    }
}
