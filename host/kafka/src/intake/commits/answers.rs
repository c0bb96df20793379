//! What the coordinator's answers mean: what it has, what went wrong, and whether that passes.

use keylane_engine::TopicPartition;
use rdkafka::error::RDKafkaErrorCode as Code;

use crate::native::{CommitAnswer, PartitionAnswer};

impl CommitAnswer {
    /// Whether the coordinator has taken this partition's part.
    pub(super) fn has(&self, partition: &TopicPartition) -> bool {
        let told = |told: &&PartitionAnswer| {
            told.partition == partition.partition && *told.topic == *partition.topic
        };
        self.error.is_none() && self.partitions.iter().find(told).is_some_and(|told| told.error.is_none())
    }

    fn codes(&self) -> impl Iterator<Item = Code> {
        self.error.into_iter().chain(self.partitions.iter().filter_map(|told| told.error))
    }
}

/// What went wrong, in the coordinator's words; empty if nothing did.
pub(super) fn why(answers: &[CommitAnswer]) -> String {
    let mut words: Vec<String> = answers
        .iter()
        .flat_map(|answer| {
            let whole = answer.error.map(|code| code.to_string());
            let parts = answer.partitions.iter().filter_map(|told| {
                told.error.map(|code| format!("{}[{}]: {code}", told.topic, told.partition))
            });
            whole.into_iter().chain(parts).collect::<Vec<_>>()
        })
        .collect();
    words.dedup();
    words.join("; ")
}

/// Errors that a changing group causes by itself, and that end with the change.
pub(super) fn is_rebalance(code: Option<Code>) -> bool {
    matches!(
        code,
        Some(
            Code::RebalanceInProgress
                | Code::IllegalGeneration
                | Code::StaleMemberEpoch
                | Code::UnknownMemberId
                | Code::AssignmentLost
        )
    )
}

/// Whether nobody said that the commit was refused: it may have been carried out, or may be yet.
pub(super) fn went_astray(answer: &CommitAnswer) -> bool {
    let is_open =
        |code| matches!(code, Code::BrokerTransportFailure | Code::OperationTimedOut | Code::RequestTimedOut);
    answer.codes().any(is_open)
}

/// Whether the same commit may be taken a moment later: the group or its coordinator is only moving.
pub(super) fn is_passing(answer: &CommitAnswer) -> bool {
    answer.codes().all(|code| {
        matches!(
            code,
            Code::RebalanceInProgress
                | Code::IllegalGeneration
                | Code::StaleMemberEpoch
                | Code::CoordinatorLoadInProgress
                | Code::CoordinatorNotAvailable
                | Code::NotCoordinator
                | Code::WaitingForCoordinator
                | Code::RequestTimedOut
                | Code::OperationTimedOut
                | Code::BrokerTransportFailure
        )
    })
}
