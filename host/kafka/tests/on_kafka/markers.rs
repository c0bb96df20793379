//! What transactions leave in a log: markers and aborted records, which are no events.

use std::time::Duration;

use keylane_kafka::Start;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::Stage;
use crate::support::{PATIENCE, Recorder, consumer, unique, until};

const LIMIT: Duration = Duration::from_secs(5);

pub async fn markers_and_aborted_records_hold_nothing_up(stage: &Stage) {
    let cluster = &stage.cluster;
    let (topic, group, recorder) = (cluster.topic(1).await, unique("group"), Recorder::new());
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", &cluster.bootstrap).set("transactional.id", unique("transactional"));
    let producer: BaseProducer = client.create().unwrap();
    producer.init_transactions(PATIENCE).unwrap();
    let transaction = |records: u32| {
        producer.begin_transaction().unwrap();
        for number in 0..records {
            let key = format!("key-{number}");
            producer
                .send(BaseRecord::to(&topic).partition(0).key(&key).payload("v"))
                .map_err(|(e, _)| e)
                .unwrap();
        }
        producer.flush(PATIENCE).unwrap();
    };
    transaction(5);
    producer.commit_transaction(PATIENCE).unwrap();
    let intake = cluster.intake(consumer(&group, &topic, Start::Earliest), &recorder);
    // Five records and the marker.
    until("the marker passed", || cluster.committed_offset(&group, &topic, 0) == Some(6)).await;
    until("no lag", || intake.lag() == Some(0)).await;
    transaction(3);
    producer.abort_transaction(PATIENCE).unwrap();
    until("the aborted ones passed", || cluster.committed_offset(&group, &topic, 0) == Some(10)).await;
    until("no lag", || intake.lag() == Some(0)).await;
    assert_eq!(recorder.offsets(0), (0..5).collect::<Vec<_>>());
    assert!(intake.stop(LIMIT).await.committed);
}
