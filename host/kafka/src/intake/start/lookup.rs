//! Questions to the brokers that a start needs: a topic's partitions, and offsets by time.

use std::collections::BTreeMap;

use keylane_engine::TopicPartition;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};

use super::super::group::Group;
use super::REQUEST_LIMIT;
use crate::config::Start;

/// Partitions, with what to ask the broker for each.
pub(super) type Asks = BTreeMap<TopicPartition, Offset>;
/// Partitions, each with an offset.
type Offsets = Vec<(TopicPartition, i64)>;

/// What to ask the broker for. It knows the beginning and the end as timestamps of their own.
pub(super) fn asked(start: Start) -> Offset {
    match start {
        Start::Earliest => Offset::Beginning,
        Start::Latest => Offset::End,
        Start::TimestampMs(at_ms) => Offset::Offset(at_ms.max(0)),
    }
}

/// All partitions of a topic.
pub(super) fn partitions(
    consumer: &BaseConsumer<Group>,
    topic: &std::sync::Arc<str>,
) -> Result<Vec<TopicPartition>, String> {
    let metadata = consumer
        .fetch_metadata(Some(topic), REQUEST_LIMIT)
        .map_err(|error| format!("the partitions of {topic:?} are unknown: {error}"))?;
    let told = metadata.topics().iter().filter(|told| told.error().is_none());
    Ok(told
        .flat_map(|told| told.partitions())
        .map(|one| TopicPartition { topic: topic.clone(), partition: one.id() })
        .collect())
}

/// Turns questions into offsets. No record at that time or later means the end.
pub(super) fn offsets(consumer: &BaseConsumer<Group>, asks: Asks) -> Result<Offsets, String> {
    let (found, at_end) = look_up(consumer, &asks)?;
    let asks_end: Asks = at_end.into_iter().map(|partition| (partition, Offset::End)).collect();
    let (ends, unknown) =
        if asks_end.is_empty() { (Vec::new(), Vec::new()) } else { look_up(consumer, &asks_end)? };
    match unknown.first() {
        Some(partition) => Err(format!("the broker does not know the end of {partition}")),
        None => Ok(found.into_iter().chain(ends).collect()),
    }
}

/// One question to the brokers: the offsets found, and the partitions where there is none.
fn look_up(consumer: &BaseConsumer<Group>, asks: &Asks) -> Result<(Offsets, Vec<TopicPartition>), String> {
    let mut list = TopicPartitionList::with_capacity(asks.len());
    for (partition, ask) in asks {
        list.add_partition_offset(&partition.topic, partition.partition, *ask)
            .map_err(|error| format!("{partition}: {error}"))?;
    }
    let list = consumer
        .offsets_for_times(list, REQUEST_LIMIT)
        .map_err(|error| format!("the brokers' offsets could not be read: {error}"))?;
    let (mut found, mut none) = (Vec::new(), Vec::new());
    for element in list.elements() {
        let partition = TopicPartition { topic: element.topic().into(), partition: element.partition() };
        element.error().map_err(|error| format!("the offsets of {partition} could not be read: {error}"))?;
        match found_at(element.offset()) {
            Some(offset) => found.push((partition, offset)),
            None => none.push(partition),
        }
    }
    Ok((found, none))
}

/// The offset in an answer, if it is one: without a record at that time or later the broker tells a mark.
pub(super) fn found_at(told: Offset) -> Option<i64> {
    match told {
        Offset::Offset(offset) if offset >= 0 => Some(offset),
        _ => None,
    }
}
