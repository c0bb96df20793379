//! Topics of letters: made as large as their sources need, and refused where they are not.

use bytes::Bytes;
use keylane_engine::{DeadLetters, OutgoingRecord, Publisher};
use keylane_kafka::{DeadLetterOptions, KafkaDeadLetters, KafkaError, KafkaPublisher, NewTopic};

use crate::Stage;
use crate::support::letters::{HANDLER, letter, noise};
use crate::support::unique;

fn sized(name: &str, partitions: i32, bytes: usize) -> NewTopic {
    let mut new = NewTopic::new(name, partitions);
    new.settings.insert("max.message.bytes".to_owned(), bytes.to_string());
    new
}

pub async fn topics_of_letters_take_what_their_source_takes(stage: &Stage) {
    let (source, bytes) = (unique("large"), 3_000_000);
    let admin = stage.cluster.admin();
    admin.create_topics(&[sized(&source, 2, bytes)]).await.unwrap();
    let options = DeadLetterOptions::new(HANDLER, "shop.accounting", "r1");
    let sources = std::slice::from_ref(&source);
    let letters = admin.ensure_dead_letter_topics(sources, &options).await.unwrap();
    let retries = admin.ensure_retry_topics(sources, HANDLER).await.unwrap();
    let publisher = KafkaPublisher::new(&stage.cluster.config()).unwrap();
    let largest = noise(bytes - 200);
    let record = |topic: &String| OutgoingRecord {
        topic: topic.clone(),
        key: Some(Bytes::from_static(b"k")),
        value: Some(largest.clone()),
        headers: Vec::new(),
    };
    publisher.publish(record(&source)).await.unwrap().await.unwrap();
    publisher.publish(record(retries.first().unwrap())).await.unwrap().await.unwrap();
    let dead_letters = KafkaDeadLetters::new(publisher, options);
    dead_letters.bury(letter(&source, 0, Some(b"k"), Some(&largest))).await.unwrap();
    let found = admin.check_topics(&[letters, retries].concat()).await.unwrap();
    assert!(found.iter().all(|topic| topic.partitions == 2), "{found:?}");
    let described =
        stage.kafka.tool("kafka-topics", &["--describe", "--topic", &found[0].name], None).unwrap();
    assert!(described.stdout.contains("cleanup.policy=delete"), "{}", described.stdout);
}

pub async fn topics_that_are_too_small_are_refused(stage: &Stage) {
    let source = unique("tasks");
    let admin = stage.cluster.admin();
    let dlq = format!("{source}.{HANDLER}.dlq");
    let retry = format!("{source}.{HANDLER}.retry");
    let topics = [sized(&source, 1, 500_000), sized(&dlq, 1, 500_000), sized(&retry, 1, 400_000)];
    admin.create_topics(&topics).await.unwrap();
    let options = DeadLetterOptions::new(HANDLER, "shop.accounting", "r1");
    let sources = std::slice::from_ref(&source);
    let of_letters = admin.ensure_dead_letter_topics(sources, &options).await.unwrap_err();
    let of_retries = admin.ensure_retry_topics(sources, HANDLER).await.unwrap_err();
    for (error, name, bytes) in [(of_letters, &dlq, "500000"), (of_retries, &retry, "400000")] {
        assert!(matches!(error, KafkaError::TooSmall { .. }) && !error.can_retry(), "{error}");
        let told = error.to_string();
        for part in [name.as_str(), bytes, "max.message.bytes", "508192"] {
            assert!(told.contains(part), "{part}: {told}");
        }
    }
    stage.set(&dlq, "max.message.bytes=508192");
    admin.ensure_dead_letter_topics(sources, &options).await.unwrap();
}
