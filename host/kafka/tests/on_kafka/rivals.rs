//! Redrives that meet others, or what others left: nothing is sent twice.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use keylane_kafka::{KafkaError, RedriveOptions};
use rdkafka::ClientConfig;
use rdkafka::Message;
use rdkafka::message::OwnedMessage;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::Stage;
use crate::support::PATIENCE;
use crate::support::letters::{Graveyard, HANDLER, everything, numbers};

const PROGRESS: &str = "_keylane.redrive";

fn all() -> RedriveOptions {
    RedriveOptions::default()
}

/// Slow enough to be interrupted.
fn slow(rate: u32) -> RedriveOptions {
    RedriveOptions { rate_per_s: NonZeroU32::new(rate), ..all() }
}

fn sent(stage: &Stage, yard: &Graveyard) -> Vec<OwnedMessage> {
    everything(&stage.cluster, &yard.retry_topic(), 3)
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let give_up = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < give_up, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub async fn two_at_once_send_nothing_twice(stage: &Stage) {
    let yard = Graveyard::new(&stage.cluster).await;
    yard.bury(0..3_000).await;
    let dlq = yard.dlq(&stage.cluster);
    let (one, other) = tokio::join!(dlq.redrive(slow(2_000)), dlq.redrive(slow(2_000)));
    for outcome in [one, other] {
        match outcome {
            Ok(_) | Err(KafkaError::Superseded { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    dlq.redrive(all()).await.unwrap();
    assert_eq!(numbers(&sent(stage, &yard)), (0..3_000).collect::<Vec<_>>());
}

pub async fn one_that_was_left_behind_sends_nothing_more(stage: &Stage) {
    let yard = Graveyard::new(&stage.cluster).await;
    yard.bury(0..40).await;
    let first = tokio::spawn({
        let dlq = yard.dlq(&stage.cluster);
        async move { dlq.redrive(slow(2)).await }
    });
    until("the first one has sent something", || !sent(stage, &yard).is_empty()).await;
    let second = yard.dlq(&stage.cluster).redrive(all()).await.unwrap();
    let told = first.await.unwrap().unwrap_err();
    assert!(matches!(told, KafkaError::Superseded { .. }), "{told}");
    assert!(second.sent() > 0 && second.sent() < 40, "{}", second.sent());
    assert_eq!(numbers(&sent(stage, &yard)), (0..40).collect::<Vec<_>>());
}

/// A transaction of somebody else's redrive lies open before our notes: whoever reads only as far as can be
/// read now misses them.
pub async fn another_handlers_open_transaction_hides_nothing(stage: &Stage) {
    let yard = Graveyard::new(&stage.cluster).await;
    yard.bury(0..40).await;
    let first = tokio::spawn({
        let dlq = yard.dlq(&stage.cluster);
        async move { dlq.redrive(slow(2)).await }
    });
    until("the first one has begun", || !sent(stage, &yard).is_empty()).await;
    let stranger: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &stage.cluster.bootstrap)
        .set("transactional.id", "keylane.shop.stranger.redrive")
        .create()
        .unwrap();
    stranger.init_transactions(PATIENCE).unwrap();
    stranger.begin_transaction().unwrap();
    stranger
        .send(BaseRecord::to(PROGRESS).partition(0).key("stranger").payload("1"))
        .map_err(|(e, _)| e)
        .unwrap();
    stranger.flush(PATIENCE).unwrap();
    assert!(!first.is_finished(), "it was too quick for anything to be hidden");
    assert_eq!(first.await.unwrap().unwrap().sent(), 40, "notes are written behind it");

    let before = uncommitted_end(stage);
    let second = tokio::spawn({
        let dlq = yard.dlq(&stage.cluster);
        async move { dlq.redrive(all()).await }
    });
    // Its look sees none of the hidden notes, so it goes on; its mark is the next thing in the topic.
    until("the second one has left its mark", || uncommitted_end(stage) > before).await;
    stranger.commit_transaction(PATIENCE).unwrap();
    assert_eq!(second.await.unwrap().unwrap().sent(), 0, "it has seen the hidden notes");
    assert_eq!(numbers(&sent(stage, &yard)), (0..40).collect::<Vec<_>>());
}

/// The end of the progress topic with what is not committed yet.
fn uncommitted_end(stage: &Stage) -> usize {
    use rdkafka::consumer::{BaseConsumer, Consumer};
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &stage.cluster.bootstrap)
        .set("group.id", "onlooker")
        .set("isolation.level", "read_uncommitted")
        .create()
        .unwrap();
    let (_, end) = consumer.fetch_watermarks(PROGRESS, 0, PATIENCE).unwrap();
    usize::try_from(end).unwrap()
}

pub async fn progress_that_is_not_understood_stops_a_redrive(stage: &Stage) {
    let yard = Graveyard::new(&stage.cluster).await;
    yard.bury(0..6).await;
    let dlq = yard.dlq(&stage.cluster);
    assert_eq!(dlq.redrive(all()).await.unwrap().sent(), 6);
    let notes = everything(&stage.cluster, PROGRESS, 1);
    let is_ours = |note: &&OwnedMessage| {
        let value = String::from_utf8_lossy(note.payload().unwrap_or_default()).into_owned();
        value.contains(&yard.dlq_topic())
    };
    let keys: Vec<Vec<u8>> = notes.iter().filter(is_ours).map(|note| note.key().unwrap().to_vec()).collect();
    assert!(!keys.is_empty());
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", &stage.cluster.bootstrap).create().unwrap();
    let write = |value: Option<&str>| {
        for key in &keys {
            let mut record: BaseRecord<'_, [u8], str> = BaseRecord::to(PROGRESS).partition(0).key(key);
            record.payload = value;
            producer.send(record).map_err(|(error, _)| error).unwrap();
        }
        producer.flush(PATIENCE).unwrap();
    };
    write(Some("{\"version\":99}"));
    let error = dlq.redrive(all()).await.unwrap_err();
    assert!(
        matches!(&error, KafkaError::Redrive { handler, can_retry: false, .. } if handler == HANDLER),
        "{error}"
    );
    assert!(error.to_string().contains("not understood"), "{error}");
    assert_eq!(sent(stage, &yard).len(), 6);
    // A tombstone forgets: that is how an operator has letters sent again.
    write(None);
    assert_eq!(dlq.redrive(all()).await.unwrap().sent(), 6);
}
