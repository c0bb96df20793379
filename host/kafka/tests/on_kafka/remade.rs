//! Dead-letter topics that are deleted and made again: what was noted of the old one says nothing of the new.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use keylane_engine::DeadLetters;
use keylane_kafka::{KafkaError, NewTopic, RedriveOptions};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::message::OwnedMessage;
use rdkafka::{ClientConfig, Message};

use crate::Stage;
use crate::support::letters::{Graveyard, everything, letter, noise, numbers};
use crate::support::{PATIENCE, until};

fn all() -> RedriveOptions {
    RedriveOptions::default()
}

/// Deletes the letters' topic and makes it again.
async fn make_again(stage: &Stage, yard: &Graveyard) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", &stage.cluster.bootstrap).create().unwrap();
    let deleted = admin.delete_topics(&[yard.dlq_topic().as_str()], &AdminOptions::new()).await.unwrap();
    deleted.first().unwrap().as_ref().unwrap();
    let give_up = Instant::now() + PATIENCE;
    let ours = stage.cluster.admin();
    while !ours.find_topics(&[yard.dlq_topic()]).await.unwrap().is_empty() {
        assert!(Instant::now() < give_up, "the topic is not deleted");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    ours.create_topics(&[NewTopic::new(yard.dlq_topic(), 3)]).await.unwrap();
}

pub async fn a_topic_made_again_has_new_letters(stage: &Stage) {
    let yard = Graveyard::new(&stage.cluster).await;
    yard.bury(0..5).await;
    let dlq = yard.dlq(&stage.cluster);
    assert_eq!(dlq.redrive(all()).await.unwrap().sent(), 5);
    make_again(stage, &yard).await;
    yard.bury(5..10).await;
    assert_eq!(dlq.redrive(all()).await.unwrap().sent(), 5, "progress of the old topic says nothing of them");
    let sent = numbers(&everything(&stage.cluster, &yard.retry_topic(), 3));
    assert_eq!(sent, (0..10).collect::<Vec<_>>());
}

/// All letters have one key, so they lie in one partition, and there are more of them than are read ahead:
/// a redrive that does not notice goes on in the new topic at the offset where it was in the old one.
pub async fn a_topic_made_again_midway_stops_the_redrive(stage: &Stage) {
    let yard = Graveyard::new(&stage.cluster).await;
    let large = noise(900_000);
    for number in 0..40 {
        yard.dead_letters.bury(letter(&yard.topic, number, Some(b"k"), Some(&large))).await.unwrap();
    }
    let dlq = yard.dlq(&stage.cluster);
    let sent = || everything(&stage.cluster, &yard.retry_topic(), 3);
    let midway = tokio::spawn({
        let (dlq, slow) = (dlq.clone(), RedriveOptions { rate_per_s: NonZeroU32::new(2), ..all() });
        async move { dlq.redrive(slow).await }
    });
    until("it has sent something", || !sent().is_empty()).await;
    make_again(stage, &yard).await;
    for number in 0..60_u32 {
        let text = number.to_string();
        let small = letter(&yard.topic, 100 + i64::from(number), Some(b"k"), Some(text.as_bytes()));
        yard.dead_letters.bury(small).await.unwrap();
    }
    let told = midway.await.unwrap();
    let second = dlq.redrive(all()).await.unwrap();
    let is_small = |one: &OwnedMessage| one.payload().is_some_and(|payload| payload.len() < 10);
    let small: Vec<OwnedMessage> = sent().into_iter().filter(is_small).collect();
    assert_eq!(numbers(&small), (0..60).collect::<Vec<_>>(), "each letter of the new topic once; {told:?}");
    assert_eq!(second.sent(), 60);
    let told = told.unwrap_err();
    assert!(matches!(told, KafkaError::Redrive { can_retry: true, .. }), "{told}");
    assert!(told.to_string().contains("made again"), "{told}");
}
