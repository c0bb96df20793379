//! Sources that get partitions after their retry topic was made.

use std::sync::Arc;

use keylane_engine::{DeadLetters, TopicPartition};
use keylane_kafka::{KafkaError, RedriveOptions};
use rdkafka::Message;

use crate::Stage;
use crate::redrives::{homes, write_beside};
use crate::support::PATIENCE;
use crate::support::letters::{Graveyard, HANDLER, everything, letter};

/// What a source of three grows to.
const GROWN: i32 = 5;
/// Kafka's tool for access control lists.
const ACL_TOOL: &str = "org.apache.kafka.tools.AclCommand";

fn all() -> RedriveOptions {
    RedriveOptions::default()
}

async fn grow(stage: &Stage, topic: &str) {
    stage.cluster.grow(topic, usize::try_from(GROWN).unwrap()).await;
    let give_up = std::time::Instant::now() + PATIENCE;
    while partitions(stage, topic).await < GROWN {
        assert!(std::time::Instant::now() < give_up, "{topic} does not grow");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

async fn partitions(stage: &Stage, topic: &str) -> i32 {
    stage.cluster.admin().check_topics(&[topic.to_owned()]).await.unwrap()[0].partitions
}

/// A letter without a key from each partition of the source, with its number as its value.
async fn bury_one_of_each(yard: &Graveyard) {
    for partition in 0..GROWN {
        let text = partition.to_string();
        let mut letter = letter(&yard.topic, 7, None, Some(text.as_bytes()));
        Arc::get_mut(&mut letter.event).unwrap().source =
            TopicPartition { topic: yard.topic.as_str().into(), partition };
        yard.dead_letters.bury(letter).await.unwrap();
    }
}

pub async fn a_redrive_makes_the_retry_topic_as_wide_as_its_source(stage: &Stage) {
    let yard = Graveyard::new(&stage.cluster).await;
    grow(stage, &yard.topic).await;
    bury_one_of_each(&yard).await;
    yard.bury(100..150).await;
    write_beside(stage, &yard.topic, 100..150).await;
    assert_eq!(yard.dlq(&stage.cluster).redrive(all()).await.unwrap().sent(), 55);
    assert_eq!(partitions(stage, &yard.retry_topic()).await, GROWN);
    let sent = everything(&stage.cluster, &yard.retry_topic(), GROWN);
    for unkeyed in sent.iter().filter(|one| one.key().is_none()) {
        let origin = String::from_utf8_lossy(unkeyed.payload().unwrap()).into_owned();
        assert_eq!(origin, unkeyed.partition().to_string(), "without a key it keeps its partition");
    }
    assert_eq!(homes(stage, &yard.topic, GROWN), homes(stage, &yard.retry_topic(), GROWN));
}

pub async fn a_start_makes_the_retry_topic_as_wide_as_its_source(stage: &Stage) {
    let yard = Graveyard::new(&stage.cluster).await;
    grow(stage, &yard.topic).await;
    let start = async || {
        let sources = std::slice::from_ref(&yard.topic);
        stage.cluster.admin().ensure_retry_topics(sources, HANDLER).await.unwrap()
    };
    // Two hosts may start at once.
    let (one, other) = tokio::join!(start(), start());
    assert_eq!((&one, &other), (&vec![yard.retry_topic()], &vec![yard.retry_topic()]));
    assert_eq!(partitions(stage, &yard.retry_topic()).await, GROWN);
    assert_eq!(partitions(stage, &yard.dlq_topic()).await, 3, "letters lie well where they are");
    start().await;
}

pub async fn where_it_may_not_grow_a_redrive_sends_nothing_and_a_host_goes_on(stage: &Stage) {
    let yard = Graveyard::new(&stage.cluster).await;
    grow(stage, &yard.topic).await;
    bury_one_of_each(&yard).await;
    let topic = yard.retry_topic();
    let acl = |verb: &str, further: &[&str]| {
        let args =
            [&[verb, "--allow-principal", "User:ANONYMOUS", "--topic", topic.as_str()], further].concat();
        let output = stage.kafka.tool(ACL_TOOL, &args, None).unwrap();
        assert!(output.ok, "{}{}", output.stdout, output.stderr);
    };
    let without_alter =
        ["Read", "Write", "DescribeConfigs"].map(|operation| ["--operation", operation]).concat();
    acl("--add", &without_alter);
    let dlq = yard.dlq(&stage.cluster);
    let error = dlq.redrive(all()).await.unwrap_err();
    let told = error.to_string();
    for part in [topic.as_str(), "3 partitions", "5", "Alter"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(matches!(error, KafkaError::TooNarrow { .. }) && !error.can_retry(), "{error:?}");
    assert!(everything(&stage.cluster, &topic, 3).is_empty(), "nothing was sent");
    let sources = std::slice::from_ref(&yard.topic);
    let started = stage.cluster.admin().ensure_retry_topics(sources, HANDLER).await.unwrap();
    assert_eq!((started, partitions(stage, &topic).await), (vec![topic.clone()], 3));

    acl("--remove", &[without_alter.as_slice(), &["--force"]].concat());
    assert_eq!(dlq.redrive(all()).await.unwrap().sent(), 5);
    assert_eq!(partitions(stage, &topic).await, GROWN);
}
