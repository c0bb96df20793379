//! What is committed, what is dropped, and what is tried again.

use rdkafka::error::RDKafkaErrorCode as Code;

use super::*;
use crate::native::PartitionAnswer;

fn partition() -> TopicPartition {
    TopicPartition { topic: "tasks".into(), partition: 0 }
}

fn progress(token: Token) -> Progress {
    Progress { offset: 7, payload: "1e".into(), token, truncated: false }
}

fn answer(error: Option<Code>, partition_error: Option<Code>) -> CommitAnswer {
    let told = PartitionAnswer { topic: "tasks".to_owned(), partition: 0, error: partition_error };
    CommitAnswer { number: 1, error, partitions: vec![told] }
}

#[test]
fn progress_of_another_assignment_is_dropped() {
    let (mine, other) = (Token::fresh(), Token::fresh());
    assert_eq!(checked(&partition(), mine, progress(other), &LeaderEpochs::default()), None);
    let item = checked(&partition(), mine, progress(mine), &LeaderEpochs::default()).unwrap();
    assert_eq!((item.token, item.handed.offset, &*item.handed.payload), (mine, 7, "1e"));
}

#[test]
fn offset_and_payload_must_both_be_known() {
    let stand = Stand { offset: 7, payload: "1e".into(), leader_epoch: None };
    let handed = |offset, payload: &str| Handed {
        partition: partition(),
        offset,
        payload: payload.into(),
        leader_epoch: None,
    };
    assert!(stand.is(&handed(7, "1e")));
    assert!(!stand.is(&handed(8, "1e")), "another offset");
    assert!(!stand.is(&handed(7, "1r")), "the same offset with another payload");
}

/// A leader that is known only of a lower place would have what comes after it, written by a later one, pass
/// for cut.
#[test]
fn the_leader_is_told_only_of_the_offset_itself() {
    let (token, epochs) = (Token::fresh(), LeaderEpochs::default());
    let told = |epochs: &LeaderEpochs| {
        checked(&partition(), token, progress(token), epochs).unwrap().handed.leader_epoch
    };
    assert_eq!(told(&epochs), None);
    epochs.note(5, Some(3));
    assert_eq!(told(&epochs), None, "the record at 6 was not read");
    epochs.note(6, Some(3));
    assert_eq!(told(&epochs), Some(3));
    epochs.note(7, Some(4));
    assert_eq!(told(&epochs), Some(3));
}

#[test]
fn only_what_the_coordinator_took_counts() {
    assert!(answer(None, None).has(&partition()));
    assert!(!answer(Some(Code::UnknownMemberId), None).has(&partition()));
    assert!(!answer(None, Some(Code::OffsetMetadataTooLarge)).has(&partition()));
    let other = TopicPartition { topic: "tasks".into(), partition: 1 };
    assert!(!answer(None, None).has(&other), "not told is not taken");
}

#[test]
fn a_changing_group_is_waited_for_and_a_lost_membership_is_not() {
    let passing = [Code::RebalanceInProgress, Code::IllegalGeneration, Code::NotCoordinator];
    for passing in passing {
        assert!(is_passing(&answer(Some(passing), None)), "{passing:?}");
        assert!(is_passing(&answer(None, Some(passing))), "{passing:?}");
    }
    for final_word in [Code::UnknownMemberId, Code::FencedInstanceId, Code::OffsetMetadataTooLarge] {
        assert!(!is_passing(&answer(None, Some(final_word))), "{final_word:?}");
    }
}

#[test]
fn what_nobody_answered_may_be_carried_out_yet_and_what_was_refused_may_not() {
    for open in [Code::BrokerTransportFailure, Code::OperationTimedOut, Code::RequestTimedOut] {
        assert!(went_astray(&answer(Some(open), None)), "{open:?}");
        assert!(went_astray(&answer(None, Some(open))), "{open:?}");
    }
    for refused in [Code::IllegalGeneration, Code::RebalanceInProgress, Code::NotCoordinator] {
        assert!(!went_astray(&answer(Some(refused), None)), "{refused:?}");
    }
    assert!(!went_astray(&answer(None, None)));
}
