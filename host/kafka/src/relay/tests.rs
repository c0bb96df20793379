//! Topics that take nothing, beside some that do: on the client library's mock cluster, where a test takes a
//! partition's leader away.

use bytes::Bytes;
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::mocking::{MockCluster, MockCoordinator};
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use super::*;

/// What the brokers are given for a record.
const LIMIT: Duration = Duration::from_secs(3);

fn record(topic: &str) -> OutgoingRecord {
    let key = Some(Bytes::from_static(b"k"));
    OutgoingRecord { topic: topic.to_owned(), value: key.clone(), key, headers: Vec::new() }
}

fn at(batch: i64) -> Position {
    Position { numbering: 7, batch }
}

/// Which topics take nothing, and why. No record was found at fault.
fn silent(answer: Result<(), SendError>) -> (Vec<String>, String) {
    let Err(SendError::Refused { topics, records, reason }) = answer else { panic!("{answer:?}") };
    assert_eq!(records, Vec::<usize>::new(), "{reason}");
    (topics, reason)
}

/// The relay's own.
const ID: &str = "keylane.shop.database.relay";

/// One broker has everything but this topic.
fn two_brokers() -> MockCluster<'static, DefaultProducerContext> {
    let mock = MockCluster::new(2).unwrap();
    for (topic, broker) in [(POSITION_TOPIC, 1), ("here", 1), ("silent", 2)] {
        mock.create_topic(topic, 1, 1).unwrap();
        mock.partition_leader(topic, 0, Some(broker)).unwrap();
    }
    mock.coordinator(MockCoordinator::Transaction(ID.to_owned()), 1).unwrap();
    mock
}

/// Opens the way, with what lies there.
fn open(kafka: &KafkaConfig) -> (Way, Option<Position>) {
    let purpose =
        Purpose { id: ID.to_owned(), note_topic: POSITION_TOPIC, batch_bytes: BATCH_BYTES, limit: LIMIT };
    Way::open(kafka, purpose, "database".to_owned()).unwrap()
}

#[test]
fn a_partition_without_a_leader_holds_up_its_topic_alone() {
    let mock = two_brokers();
    let kafka = KafkaConfig::new(mock.bootstrap_servers());
    let (way, position) = open(&kafka);
    assert_eq!(position, None);
    way.send(vec![record("here"), record("silent")], at(1)).unwrap();

    // The brokers do not know yet that it is gone, so that only time tells.
    mock.broker_down(2).unwrap();
    let (topics, reason) = silent(way.send(vec![record("here"), record("silent")], at(2)));
    assert_eq!(topics, ["silent"], "{reason}");
    mock.partition_leader("silent", 0, None).unwrap();
    let (topics, reason) = silent(way.send(vec![record("silent"), record("here")], at(2)));
    assert_eq!(topics, ["silent"], "{reason}");
    assert!(reason.contains("no leader for the partitions [0]"), "now it is asked before: {reason}");
    way.send(vec![record("here")], at(2)).unwrap();

    mock.broker_up(2).unwrap();
    mock.partition_leader("silent", 0, Some(2)).unwrap();
    way.send(vec![record("silent")], at(3)).unwrap();
}

/// Its producer begins no other transaction before: what cannot be ended is not the fault of a topic's rows.
#[test]
fn a_transaction_that_brokers_cannot_end_has_the_way_opened_anew() {
    let mock = two_brokers();
    let kafka = KafkaConfig::new(mock.bootstrap_servers());
    let (way, _) = open(&kafka);
    way.send(vec![record("silent")], at(1)).unwrap();
    mock.broker_down(2).unwrap();
    // The client ends it by asking for its producer's next epoch.
    let not_yet = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS; 1_000];
    mock.request_errors(RDKafkaApiKey::InitProducerId, &not_yet);
    mock.request_errors(RDKafkaApiKey::EndTxn, &not_yet);
    let answer = way.send(vec![record("here"), record("silent")], at(2));
    let Err(SendError::Failed(reason)) = answer else { panic!("{answer:?}") };
    assert!(reason.contains("silent") && reason.contains("not ended"), "{reason}");
    mock.clear_request_errors(RDKafkaApiKey::InitProducerId);
    mock.clear_request_errors(RDKafkaApiKey::EndTxn);
    let (way, _) = open(&kafka);
    way.send(vec![record("here")], at(2)).unwrap();
}

/// The client takes a record for written that its broker calls a repeat. In a transaction it would be missing.
#[test]
fn an_acknowledgement_without_an_offset_is_none() {
    let mock = two_brokers();
    let kafka = KafkaConfig::new(mock.bootstrap_servers());
    let mut told_of_the_record = false;
    for batch in 1..=8 {
        let (way, _) = open(&kafka);
        // Which of the two is hit, the record or the note, is chance.
        let repeat = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_DUPLICATE_SEQUENCE_NUMBER];
        mock.request_errors(RDKafkaApiKey::Produce, &repeat);
        let answer = way.send(vec![record("here")], at(batch));
        let Err(SendError::Failed(reason)) = answer else { panic!("{answer:?}") };
        told_of_the_record |= reason.starts_with("here: ");
    }
    assert!(told_of_the_record, "the note was hit each time");
    let (way, _) = open(&kafka);
    way.send(vec![record("here")], at(9)).unwrap();
}

/// Connections that were idle are closed. Each is made anew at once, however often that was done before: the client's
/// own pause between two tries doubles with each connection, also with one that is made.
#[test]
fn after_each_rest_a_transaction_is_as_quick_as_before() {
    let mock = two_brokers();
    let mut kafka = KafkaConfig::new(mock.bootstrap_servers());
    // It begins where the default gets to after some rests.
    kafka.properties.insert("reconnect.backoff.ms".to_owned(), "3000".to_owned());
    let (way, _) = open(&kafka);
    for batch in 1..=4 {
        let begun = std::time::Instant::now();
        way.send(vec![record("here"), record("silent")], at(batch)).unwrap();
        assert!(begun.elapsed() < Duration::from_millis(2_500), "the {batch}th took {:?}", begun.elapsed());
        if batch < 4 {
            std::thread::sleep(Duration::from_secs(4));
        }
    }
}

fn refused(place: Option<usize>, topic: &str, code: Code) -> RefusedRecord {
    let (topic, reason) = (topic.to_owned(), code.to_string());
    RefusedRecord { place, topic, fault: Fault::Nobody, code: Some(code), reason }
}

#[test]
fn silence_is_a_topics_fault_only_where_others_are_answered() {
    let late = || refused(Some(4), "silent", Code::MessageTimedOut);
    assert_eq!(silent(Err(blamed(&[late().beside(true)]))).0, ["silent"]);
    assert!(matches!(blamed(&[late().beside(false)]), SendError::Failed(_)), "brokers that answer nobody");
    let note = refused(None, POSITION_TOPIC, Code::MessageTimedOut).beside(true);
    assert!(matches!(blamed(&[note]), SendError::Failed(_)), "without the note nothing is sent");
    let miscounted = refused(Some(0), "here", Code::OutOfOrderSequenceNumber).beside(true);
    assert!(matches!(blamed(&[miscounted]), SendError::Failed(_)), "that is no topic's");
}
