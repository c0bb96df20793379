//! A topic: an id that is never used again, a name, partitions and settings.

use std::hash::{BuildHasher, RandomState};

use uuid::Uuid;

use crate::config::TopicConfig;
use crate::partition::Partition;
use crate::store::Entry;

/// Kafka's longest topic name.
const NAME_BYTES: usize = 249;

/// A topic. The owner is [`State`](crate::state::State), under its lock.
#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) id: Uuid,
    pub(crate) partitions: Vec<Partition>,
    pub(crate) config: TopicConfig,
}

impl Topic {
    pub(crate) fn partition(&self, index: i32) -> Option<&Partition> {
        self.partitions.get(usize::try_from(index).ok()?)
    }

    pub(crate) fn partition_mut(&mut self, index: i32) -> Option<&mut Partition> {
        self.partitions.get_mut(usize::try_from(index).ok()?)
    }

    /// Bytes of all its partitions.
    pub(crate) fn bytes(&self) -> u64 {
        self.partitions.iter().map(Partition::bytes).sum()
    }

    /// What the journal must know of the records that were deleted from its front.
    pub(crate) fn deleted_records(&self) -> Vec<Entry> {
        let indexed = self.indexes().zip(&self.partitions);
        let deleted = indexed.filter(|(_, partition)| partition.start_offset() > 0);
        deleted
            .map(|(index, partition)| Entry::RecordsDeleted {
                topic: self.id,
                partition: index,
                before: partition.start_offset(),
            })
            .collect()
    }

    /// The partition numbers as the protocol has them.
    pub(crate) fn indexes(&self) -> std::ops::Range<i32> {
        0..i32::try_from(self.partitions.len()).unwrap_or(i32::MAX)
    }
}

/// Whether Kafka would take this name.
pub(crate) fn is_valid_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    !name.is_empty() && name.len() <= NAME_BYTES && name != "." && name != ".." && name.chars().all(allowed)
}

/// A random id. The hasher's keys come from the system, which is random enough for names that must
/// differ; nothing here is a secret.
pub(crate) fn random_id() -> Uuid {
    let half = || RandomState::new().hash_one(std::time::Instant::now());
    let value = (u128::from(half()) << 64) | u128::from(half());
    uuid::Builder::from_random_bytes(value.to_be_bytes()).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kafkas() {
        assert!(is_valid_name("task-lifecycle_2.retry"));
        for bad in ["", ".", "..", "a/b", "a b", "ü", &"x".repeat(250)] {
            assert!(!is_valid_name(bad), "{bad}");
        }
    }

    #[test]
    fn ids_differ() {
        let ids: std::collections::HashSet<_> = (0..1000).map(|_| random_id()).collect();
        assert_eq!(ids.len(), 1000);
    }
}
