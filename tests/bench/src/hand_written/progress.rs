//! What may be committed: in each partition, up to the first record that is not done.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use rdkafka::{Offset, TopicPartitionList};

/// All partitions.
#[derive(Debug, Default)]
pub(super) struct Progress {
    partitions: BTreeMap<i32, Partition>,
}

#[derive(Debug, Default)]
struct Partition {
    running: BTreeSet<i64>,
    /// Behind the last record that has begun.
    next: i64,
}

impl Progress {
    /// A record begins. Those of a partition begin in their order.
    pub(super) fn begins(&mut self, partition: i32, offset: i64) {
        let partition = self.partitions.entry(partition).or_default();
        partition.running.insert(offset);
        partition.next = offset + 1;
    }

    /// A record is done.
    pub(super) fn is_done(&mut self, partition: i32, offset: i64) {
        if let Some(partition) = self.partitions.get_mut(&partition) {
            partition.running.remove(&offset);
        }
    }

    /// What may be committed.
    ///
    /// # Errors
    /// When an offset is none.
    pub(super) fn offsets(&self, topic: &str) -> Result<TopicPartitionList> {
        let mut offsets = TopicPartitionList::new();
        for (partition, Partition { running, next }) in &self.partitions {
            let offset = running.first().copied().unwrap_or(*next);
            offsets.add_partition_offset(topic, *partition, Offset::Offset(offset))?;
        }
        Ok(offsets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_committed_beyond_what_is_not_done() {
        let mut progress = Progress::default();
        (5..8).for_each(|offset| progress.begins(3, offset));
        let committed = |progress: &Progress| {
            let offsets = progress.offsets("topic").unwrap();
            offsets.find_partition("topic", 3).unwrap().offset()
        };
        progress.is_done(3, 6);
        assert_eq!(committed(&progress), Offset::Offset(5));
        progress.is_done(3, 5);
        assert_eq!(committed(&progress), Offset::Offset(7));
        progress.is_done(3, 7);
        assert_eq!(committed(&progress), Offset::Offset(8));
    }
}
