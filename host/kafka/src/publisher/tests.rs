//! What a record weighs while it is in flight; and acknowledgements that are none, on the client library's mock
//! cluster.

use bytes::Bytes;
use rdkafka::mocking::MockCluster;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use super::*;

/// The client takes a record for written that its broker calls a repeat, or of whose partition a later one was
/// written. Where it lies nobody has said, and it may lie nowhere.
#[tokio::test]
async fn an_acknowledgement_without_an_offset_is_none() {
    let mock = MockCluster::new(1).unwrap();
    mock.create_topic("t", 1, 1).unwrap();
    let publisher = KafkaPublisher::new(&KafkaConfig::new(mock.bootstrap_servers())).unwrap();
    let publish = async || publisher.publish(record(10)).await.unwrap().await;
    publish().await.unwrap();
    mock.request_errors(
        RDKafkaApiKey::Produce,
        &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_DUPLICATE_SEQUENCE_NUMBER],
    );
    let refused = publish().await.unwrap_err();
    assert!(refused.reason.contains("Inconsistent"), "{refused}");
    publish().await.unwrap();
}

fn record(value: usize) -> OutgoingRecord {
    OutgoingRecord {
        topic: "t".to_owned(),
        key: None,
        value: Some(Bytes::from(vec![0; value])),
        headers: Vec::new(),
    }
}

#[test]
fn a_record_takes_room_and_never_more_than_there_is() {
    assert_eq!(weight_kib(&record(0)), 1);
    assert_eq!(weight_kib(&record(1024)), 2);
    assert_eq!(weight_kib(&record(IN_FLIGHT_KIB as usize * 1024 * 2)), IN_FLIGHT_KIB);
}
