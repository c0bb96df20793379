//! A broker refuses batches, not records: no small record may be called too large.

use std::time::Duration;

use bytes::Bytes;
use keylane_engine::{OutgoingRecord, Publisher};
use keylane_kafka::{KafkaPublisher, NewTopic};
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode as Code};
use rdkafka::producer::{FutureProducer, FutureRecord};

use crate::Stage;
use crate::support::letters::{everything, noise, numbers};
use crate::support::unique;

/// A hundred of them are far more than a topic of [`LIMIT`] takes at once.
const RECORDS: u32 = 500;
const LIMIT: &str = "2000";

fn small(topic: &str, number: u32) -> OutgoingRecord {
    OutgoingRecord {
        topic: topic.to_owned(),
        key: Some(Bytes::from_static(b"k")),
        value: Some(Bytes::from(format!("{number:0>100}"))),
        headers: Vec::new(),
    }
}

/// Hands all of them over, then waits for all.
async fn publish_all(publisher: &KafkaPublisher, topic: &str) {
    let mut acknowledgements = Vec::new();
    for number in 0..RECORDS {
        acknowledgements.push(publisher.publish(small(topic, number)).await.unwrap());
    }
    for acknowledgement in acknowledgements {
        acknowledgement.await.unwrap();
    }
}

pub async fn small_records_fit_where_batches_do_not(stage: &Stage) {
    let topic = unique("small");
    let mut new = NewTopic::new(&topic, 1);
    new.settings.insert("max.message.bytes".to_owned(), LIMIT.to_owned());
    stage.cluster.admin().create_topics(&[new]).await.unwrap();
    assert!(plain_client_fails(stage, &topic).await, "the trap is gone: this check shows nothing any more");

    let publisher = KafkaPublisher::new(&stage.cluster.config()).unwrap();
    let before = everything(&stage.cluster, &topic, 1).len();
    publish_all(&publisher, &topic).await;
    let mut large = small(&topic, 0);
    large.value = Some(noise(3_000));
    let refused = publisher.publish(large).await.unwrap().await.unwrap_err();
    assert!(!refused.can_retry, "{refused}");
    publisher.publish(small(&topic, RECORDS)).await.unwrap().await.unwrap();

    let stored = everything(&stage.cluster, &topic, 1);
    let stored: Vec<u32> = stored.get(before..).unwrap().chunks(1).flat_map(numbers).collect();
    assert_eq!(stored, (0..=RECORDS).collect::<Vec<_>>(), "all of them, once, in order");
}

/// Whether a client that knows nothing of this loses small records to the limit.
async fn plain_client_fails(stage: &Stage, topic: &str) -> bool {
    let producer: FutureProducer = ClientConfig::new()
        .set("bootstrap.servers", &stage.cluster.bootstrap)
        .set("enable.idempotence", "true")
        .set("linger.ms", "200")
        .create()
        .unwrap();
    let value = format!("{:0>100}", 0);
    let send = |_| producer.send(FutureRecord::<(), _>::to(topic).payload(&value), Duration::ZERO);
    let answers = futures::future::join_all((0..100).map(send)).await;
    let too_large = |answer: &Result<_, (ClientError, _)>| {
        let code = answer.as_ref().err().and_then(|(error, _)| error.rdkafka_error_code());
        code == Some(Code::MessageSizeTooLarge)
    };
    answers.iter().any(too_large)
}

pub async fn a_limit_made_smaller_later_harms_no_small_record(stage: &Stage) {
    let topic = stage.cluster.topic(1).await;
    let mut config = stage.cluster.config();
    config.properties.insert("linger.ms".to_owned(), "200".to_owned());
    let publisher = KafkaPublisher::new(&config).unwrap();
    // The publisher has asked for the limit by now.
    publisher.publish(small(&topic, RECORDS)).await.unwrap().await.unwrap();
    stage.set(&topic, &format!("max.message.bytes={LIMIT}"));
    publish_all(&publisher, &topic).await;
    let stored = everything(&stage.cluster, &topic, 1);
    assert_eq!(numbers(&stored), (0..=RECORDS).collect::<Vec<_>>(), "all of them, once");
    // What it has learnt keeps the order from now on.
    publish_all(&publisher, &topic).await;
    let later = everything(&stage.cluster, &topic, 1);
    let later: Vec<u32> = later.get(stored.len()..).unwrap().chunks(1).flat_map(numbers).collect();
    assert_eq!(later, (0..RECORDS).collect::<Vec<_>>());
}
