//! Commits with an answer, and commits read back as bytes.

use std::sync::Arc;
use std::time::Duration;

use keylane_engine::TopicPartition;
use rdkafka::bindings as raw;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::{Offset, TopicPartitionList};

use super::queue::{EventQueue, Ring, opaque};
use super::{elements, text_of, told};

/// What is to be committed for one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Handed {
    pub(crate) partition: TopicPartition,
    pub(crate) offset: i64,
    pub(crate) payload: Arc<str>,
    /// The epoch of the leader of the last record below the offset, where it is known.
    pub(crate) leader_epoch: Option<i32>,
}

/// What the coordinator said of one partition of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartitionAnswer {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) error: Option<Code>,
}

/// What the coordinator said of one commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommitAnswer {
    /// Which one, by the number it was handed over with.
    pub(crate) number: usize,
    /// An error of the whole commit.
    pub(crate) error: Option<Code>,
    pub(crate) partitions: Vec<PartitionAnswer>,
}

/// Hands commits to the client and takes the answers. Handing over never blocks.
///
/// It keeps its consumer alive; drop it before the consumer is to leave its group.
pub(crate) struct CommitQueue<C: ConsumerContext> {
    queue: EventQueue<C>,
}

impl<C: ConsumerContext> CommitQueue<C> {
    /// None only where the client has no memory for it.
    pub(crate) fn new(consumer: Arc<BaseConsumer<C>>, ring: Ring) -> Option<Self> {
        EventQueue::new(consumer, ring).map(|queue| Self { queue })
    }

    /// Hands over what is to be committed. Exactly one answer will follow, however late.
    pub(crate) fn hand_over(&self, number: usize, handed: &[Handed]) -> Result<(), String> {
        // The list lives in this call only: one that outlives its consumer keeps it from closing.
        let list = list_of(handed)?;
        // SAFETY: client, list and queue are alive; the client copies the list before it returns, and
        // without a callback the answer comes as an event on the queue.
        let code = unsafe {
            raw::rd_kafka_commit_queue(
                self.queue.client(),
                list.ptr(),
                self.queue.ptr(),
                None,
                opaque(number),
            )
        };
        told(code).map_or(Ok(()), |code| Err(code.to_string()))
    }

    /// The next answer, if one comes within the limit.
    pub(crate) fn answer(&self, limit: Duration) -> Option<CommitAnswer> {
        let event = self.queue.poll(limit)?;
        if event.kind() != raw::RD_KAFKA_EVENT_OFFSET_COMMIT {
            return None;
        }
        // SAFETY: the event is alive, and with it the list that belongs to it.
        let list = unsafe { elements(raw::rd_kafka_event_topic_partition_list(event.ptr())) };
        let partitions = list.iter().map(|element| PartitionAnswer {
            // SAFETY: a topic is always a NUL-terminated string.
            topic: unsafe { text_of(element.topic) },
            partition: element.partition,
            error: told(element.err),
        });
        Some(CommitAnswer { number: event.number(), error: event.error(), partitions: partitions.collect() })
    }
}

/// What is to be committed, as the client takes it.
pub(crate) fn list_of(handed: &[Handed]) -> Result<TopicPartitionList, String> {
    let mut list = TopicPartitionList::with_capacity(handed.len());
    for Handed { partition, offset, payload, leader_epoch } in handed {
        let mut element = list.add_partition(&partition.topic, partition.partition);
        element.set_offset(Offset::Offset(*offset)).map_err(|error| error.to_string())?;
        // Once for each element: a second time would leak the first.
        element.set_metadata(&**payload);
        if let Some(leader_epoch) = leader_epoch {
            set_leader_epoch(&mut list, *leader_epoch);
        }
    }
    Ok(list)
}

/// Says which leader the position of the list's last element is of.
pub(crate) fn set_leader_epoch(list: &mut TopicPartitionList, leader_epoch: i32) {
    // SAFETY: the list is alive and this call's own, and holds `cnt` elements.
    unsafe {
        let Some(list) = list.ptr().as_ref() else { return };
        let Some(last) = usize::try_from(list.cnt).ok().and_then(|count| count.checked_sub(1)) else {
            return;
        };
        raw::rd_kafka_topic_partition_set_leader_epoch(list.elems.add(last), leader_epoch);
    }
}

/// What a group has committed for one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Committed {
    pub(crate) offset: i64,
    /// As it lies there: any program of the same group may have written it.
    pub(crate) metadata: Vec<u8>,
    /// The epoch of the leader of the last record below, if it was committed.
    pub(crate) leader_epoch: Option<i32>,
}

/// The group's commits of some partitions, None for one without. Blocks up to the limit. Any error fails
/// the whole call: whether a partition has no commit is known only where the coordinator says so.
pub(crate) fn committed<'a, C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    partitions: impl IntoIterator<Item = &'a TopicPartition>,
    limit: Duration,
) -> Result<Vec<(TopicPartition, Option<Committed>)>, String> {
    let mut list = TopicPartitionList::new();
    for partition in partitions {
        list.add_partition(&partition.topic, partition.partition);
    }
    let list = consumer.committed_offsets(list, limit).map_err(|error| error.to_string())?;
    // SAFETY: the list lives until the end of this function and is not changed.
    let found = unsafe { elements(list.ptr()) };
    found.iter().map(read).collect()
}

fn read(element: &raw::rd_kafka_topic_partition_t) -> Result<(TopicPartition, Option<Committed>), String> {
    // SAFETY: a topic is always a NUL-terminated string.
    let topic = unsafe { text_of(element.topic) };
    let partition = TopicPartition { topic: topic.into(), partition: element.partition };
    if let Some(code) = told(element.err) {
        return Err(format!("{partition}: {code}"));
    }
    match offset_of(element.offset) {
        Ok(Some(offset)) => {
            let metadata = if element.metadata.is_null() || element.metadata_size == 0 {
                Vec::new()
            } else {
                // SAFETY: the element says that `metadata` holds so many bytes.
                unsafe { std::slice::from_raw_parts(element.metadata.cast::<u8>(), element.metadata_size) }
                    .to_vec()
            };
            // SAFETY: the element is alive.
            let told = unsafe { raw::rd_kafka_topic_partition_get_leader_epoch(element) };
            let leader_epoch = (told >= 0).then_some(told);
            Ok((partition, Some(Committed { offset, metadata, leader_epoch })))
        }
        Ok(None) => Ok((partition, None)),
        Err(other) => Err(format!("{partition}: the commit is no offset: {other}")),
    }
}

/// What is told as a commit: an offset, or that there is none. Any program of the group may have committed
/// what is neither, and nothing may begin there.
fn offset_of(told: i64) -> Result<Option<i64>, i64> {
    match Offset::from_raw(told) {
        Offset::Offset(offset) if offset >= 0 => Ok(Some(offset)),
        Offset::Invalid => Ok(None),
        _ => Err(told),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn no_commit_is_told_from_a_bad_one() {
        assert_eq!(offset_of(0), Ok(Some(0)));
        assert_eq!(offset_of(i64::MAX), Ok(Some(i64::MAX)));
        assert_eq!(offset_of(Offset::Invalid.to_raw().unwrap_or_default()), Ok(None));
        for bad in [-1, -2, -5, -1_000, -2_000, -2_001, i64::MIN] {
            assert_eq!(offset_of(bad), Err(bad));
        }
    }

    proptest! {
        #[test]
        fn only_what_may_be_an_offset_is_one(told: i64) {
            match offset_of(told) {
                Ok(Some(offset)) => prop_assert!(offset == told && told >= 0),
                Ok(None) => prop_assert_eq!(Some(told), Offset::Invalid.to_raw()),
                Err(bad) => prop_assert!(bad == told && told < 0),
            }
        }
    }
}
