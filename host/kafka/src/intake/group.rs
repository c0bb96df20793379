//! The consumer's ears: what the group decides is noted here, and acted upon by the polling thread
//! as soon as its poll returns.
//!
//! The client calls back from inside `poll`, where the thread's own state cannot be reached without a
//! lock or a cycle of references. So the callback only notes the change; the thread answers it in the
//! same turn. The client waits for the answer, and hands out no further change before it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use keylane_engine::TopicPartition;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError as ClientError;
use rdkafka::types::RDKafkaRespErr;

use crate::context::{Listener, tells_its_listener};

/// A change of this member's assignment. An empty one is normal with the cooperative protocol; it
/// wants its answer as well.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    Assigned(Vec<TopicPartition>),
    Revoked {
        partitions: Vec<TopicPartition>,
        /// The group has given them to others already: nothing may be committed for them.
        lost: bool,
    },
}

/// The context of one consumer.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) listener: Listener,
    changes: Mutex<VecDeque<Change>>,
    leaving: AtomicBool,
}

impl Group {
    /// The oldest change that nobody has answered yet.
    pub(super) fn next_change(&self) -> Option<Change> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// From now on changes are answered right in the callback: the polling thread has put everything
    /// down and only waits for the consumer to close.
    pub(super) fn begin_leaving(&self) {
        self.leaving.store(true, Ordering::Release);
    }

    fn note(&self, change: Change) {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner).push_back(change);
    }
}

/// The list's partitions. Metadata is not looked at: it may be foreign, and not even text.
fn partitions_of(list: &TopicPartitionList) -> Vec<TopicPartition> {
    list.elements()
        .iter()
        .map(|element| TopicPartition { topic: element.topic().into(), partition: element.partition() })
        .collect()
}

/// Those of the list that the client was told to read.
fn assigned_of(
    consumer: &BaseConsumer<Group>,
    list: &TopicPartitionList,
) -> Result<TopicPartitionList, ClientError> {
    let assigned = partitions_of(&consumer.assignment()?);
    let mut answer = TopicPartitionList::new();
    for one in partitions_of(list).iter().filter(|one| assigned.contains(one)) {
        answer.add_partition(&one.topic, one.partition);
    }
    Ok(answer)
}

tells_its_listener!(Group);

impl ConsumerContext for Group {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, told: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let assigned = told == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        // Nobody will come for a note any more, and without an answer the close would wait for ever.
        if self.leaving.load(Ordering::Acquire) {
            let answered = if assigned {
                consumer.incremental_assign(&TopicPartitionList::new())
            } else {
                // Partitions that were never taken would have the whole answer refused.
                assigned_of(consumer, list).and_then(|list| consumer.incremental_unassign(&list))
            };
            if let Err(error) = answered {
                tracing::warn!(%error, "a change of the assignment while leaving was not accepted");
            }
            return;
        }
        let partitions = partitions_of(list);
        self.note(if assigned {
            Change::Assigned(partitions)
        } else {
            Change::Revoked { partitions, lost: consumer.assignment_lost() }
        });
    }
}
