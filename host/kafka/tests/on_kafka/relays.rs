//! The relay's way to Kafka: fencing, positions, refusals, and each record once for who reads committed ones.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use keylane_effects::{
    Database, DatabaseConfig, EndedAs, Outbox, OutboxRow, Position, Relay, RelayConfig, RelaySenders,
    SendError, StreamKey, open, record_row,
};
use keylane_engine::{Fence, OutgoingRecord, TopicId};
use keylane_kafka::{BootTime, KafkaRelay, NewTopic};
use rdkafka::ClientConfig;
use rdkafka::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tempfile::TempDir;
use tokio::runtime::Handle;

use crate::Stage;
use crate::support::letters::everything;
use crate::support::{PATIENCE, unique};

const POSITIONS: &str = "_keylane.relay";

fn relay(stage: &Stage) -> KafkaRelay {
    KafkaRelay::new(&stage.cluster.config(), "shop", PATIENCE)
}

fn record(topic: &str, key: &str, value: Vec<u8>) -> OutgoingRecord {
    let key = Some(Bytes::from(key.to_owned()));
    OutgoingRecord { topic: topic.to_owned(), key, value: Some(value.into()), headers: Vec::new() }
}

fn at(batch: i64) -> Position {
    Position { numbering: -7, batch }
}

fn values(stage: &Stage, topic: &str, partitions: i32) -> Vec<String> {
    let sent = everything(&stage.cluster, topic, partitions);
    sent.iter().map(|one| String::from_utf8_lossy(one.payload().unwrap_or_default()).into_owned()).collect()
}

/// A producer of nobody's, in the middle of a transaction under this id.
fn in_a_transaction(stage: &Stage, id: &str) -> BaseProducer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &stage.cluster.bootstrap).set("transactional.id", id);
    let producer: BaseProducer = config.create().unwrap();
    producer.init_transactions(PATIENCE).unwrap();
    producer.begin_transaction().unwrap();
    producer
}

fn write(producer: &BaseProducer, topic: &str, key: &str, value: &str) {
    producer.send(BaseRecord::to(topic).key(key).payload(value)).map_err(|(error, _)| error).unwrap();
    producer.flush(PATIENCE).unwrap();
}

pub async fn whoever_comes_later_sends_and_knows_what_was_sent(stage: &Stage) {
    let (topic, database) = (stage.cluster.topic(1).await, unique("database"));
    let relay = relay(stage);
    let (mut first, position) = relay.open(&database).await.unwrap();
    assert_eq!(position, None);
    first.send(vec![record(&topic, "k", b"1".to_vec())], at(1)).await.unwrap();
    let (mut second, position) = relay.open(&database).await.unwrap();
    assert_eq!(position, Some(at(1)));
    let refused = first.send(vec![record(&topic, "k", b"ghost".to_vec())], at(2)).await;
    assert_eq!(refused, Err(SendError::Superseded));
    second.send(vec![record(&topic, "k", b"2".to_vec())], at(2)).await.unwrap();
    let (_, position) = relay.open(&unique("database")).await.unwrap();
    assert_eq!(position, None, "another database's");
    assert_eq!(values(stage, &topic, 1), ["1", "2"]);
}

pub async fn a_transaction_that_was_left_open_is_never_seen(stage: &Stage) {
    let (topic, database) = (stage.cluster.topic(1).await, unique("database"));
    let relay = relay(stage);
    drop(relay.open(&database).await.unwrap());
    let died = in_a_transaction(stage, &format!("keylane.shop.{database}.relay"));
    write(&died, &topic, "k", "ghost");
    let key = format!(r#"{{"database":"{database}"}}"#);
    write(&died, POSITIONS, &key, r#"{"version":1,"numbering":-7,"batch":1}"#);
    let (mut next, position) = relay.open(&database).await.unwrap();
    assert_eq!(position, None);
    next.send(vec![record(&topic, "k", b"1".to_vec())], at(1)).await.unwrap();
    died.commit_transaction(PATIENCE).unwrap_err();
    assert_eq!(values(stage, &topic, 1), ["1"]);
}

pub async fn another_outboxs_open_transaction_hides_no_position(stage: &Stage) {
    let (topic, database) = (stage.cluster.topic(1).await, unique("database"));
    let relay = Arc::new(relay(stage));
    let (mut first, _) = relay.open(&database).await.unwrap();
    let stranger = in_a_transaction(stage, &unique("keylane.shop.stranger"));
    write(&stranger, POSITIONS, r#"{"database":"stranger"}"#, "{}");
    first.send(vec![record(&topic, "k", b"1".to_vec())], at(1)).await.unwrap();
    let second = tokio::spawn({
        let (relay, database) = (relay.clone(), database.clone());
        async move { relay.open(&database).await.map(|(_, position)| position) }
    });
    // Longer than reading to the end would take; what is tested is that it has not given an answer.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!second.is_finished(), "what lies behind the open transaction cannot be read yet");
    stranger.commit_transaction(PATIENCE).unwrap();
    assert_eq!(second.await.unwrap(), Ok(Some(at(1))));
}

/// The position is looked for from the end of its topic backwards; a tombstone forgets it.
pub async fn a_position_far_back_is_found(stage: &Stage) {
    let (relay, database) = (relay(stage), unique("database"));
    let (mut way, _) = relay.open(&database).await.unwrap();
    way.send(Vec::new(), at(1)).await.unwrap();
    way.send(Vec::new(), at(2)).await.unwrap();
    let mut config = ClientConfig::new();
    let others: BaseProducer = config.set("bootstrap.servers", &stage.cluster.bootstrap).create().unwrap();
    for number in 0..6_000 {
        let key = format!(r#"{{"database":"other-{number}"}}"#);
        others.send(BaseRecord::to(POSITIONS).key(&key).payload("{}")).map_err(|(error, _)| error).unwrap();
    }
    others.flush(PATIENCE).unwrap();
    let (_, position) = relay.open(&database).await.unwrap();
    assert_eq!(position, Some(at(2)));
    let key = format!(r#"{{"database":"{database}"}}"#);
    let tombstone: BaseRecord<'_, str, str> = BaseRecord::to(POSITIONS).key(&key);
    others.send(tombstone).map_err(|(error, _)| error).unwrap();
    others.flush(PATIENCE).unwrap();
    let (_, position) = relay.open(&database).await.unwrap();
    assert_eq!(position, None);
}

pub async fn records_and_topics_that_are_at_fault_are_named(stage: &Stage) {
    let (topic, database) = (stage.cluster.topic(1).await, unique("database"));
    let small = unique("small");
    let mut settings = NewTopic::new(&small, 1);
    settings.settings.insert("max.message.bytes".to_owned(), "20000".to_owned());
    stage.cluster.admin().create_topics(&[settings]).await.unwrap();
    let (mut way, _) = relay(stage).open(&database).await.unwrap();
    let missing = unique("missing");
    let records = vec![record(&topic, "k", b"1".to_vec()), record(&missing, "k", b"1".to_vec())];
    let answer = way.send(records, at(1)).await;
    let Err(SendError::Refused { topics, records, reason }) = answer else { panic!("{answer:?}") };
    assert_eq!((topics, records), (vec![missing.clone()], Vec::new()));
    assert!(reason.contains(&missing), "{reason}");

    // Nothing that could be made smaller.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    })
    .take(40_000)
    .collect();
    let records = vec![record(&topic, "k", b"1".to_vec()), record(&small, "k", noise)];
    let answer = way.send(records, at(1)).await;
    let Err(SendError::Refused { topics, records, reason }) = answer else { panic!("{answer:?}") };
    assert_eq!((topics.len(), records), (0, vec![1]), "{reason}");
    let records = vec![record(&topic, "k", b"1".to_vec()), record(&small, "k", b"1".to_vec())];
    way.send(records, at(1)).await.unwrap();
    assert_eq!((values(stage, &topic, 1), values(stage, &small, 1).len()), (vec!["1".to_owned()], 1));
}

/// A handler's database with an outbox, written by runs of one event each.
struct Shop {
    database: Arc<dyn Database>,
    fence: Fence,
    written: i64,
    topic: String,
    _folder: TempDir,
}

impl Shop {
    async fn new(stage: &Stage) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = open(&DatabaseConfig::sqlite(&folder.path().join("shop.db"))).await.unwrap();
        let key = StreamKey {
            fleet: "shop".to_owned(),
            handler: "accounting".to_owned(),
            topic: "tasks".to_owned(),
            topic_id: TopicId::new([3; 16]),
            partition: 0,
        };
        database.settle_start(&key, &[(0, 0)]).await.unwrap();
        let fence = database.take(&key, PATIENCE).await.unwrap().fence;
        Self { database, fence, written: 0, topic: stage.cluster.topic(3).await, _folder: folder }
    }

    fn outbox(&self) -> Arc<dyn Outbox> {
        self.database.clone().outbox()
    }

    /// A run of this many events, each with one record.
    async fn write(&mut self, events: i64) {
        let numbers = self.written..self.written + events;
        self.written += events;
        let row = |number: i64| -> OutboxRow {
            let value = format!("{number:06}").into_bytes();
            record_row(number, 0, &record(&self.topic, &format!("k{}", number % 7), value))
        };
        let rows: Vec<_> = numbers.clone().map(row).collect();
        let endings: Vec<_> = numbers.map(|number| (number, EndedAs::Done)).collect();
        let run = self.database.begin(&self.fence).await.unwrap();
        run.finish(&rows, &endings, PATIENCE).await.unwrap();
    }

    fn relay(&self, stage: &Stage, host: &str) -> Relay {
        let lease = Duration::from_millis(400);
        let config =
            RelayConfig { lease, ..RelayConfig::new("shop", host, "accounting", Arc::new(BootTime)) };
        Relay::start(&Handle::current(), self.outbox(), Arc::new(relay(stage)), None, config)
    }

    async fn emptied(&self) {
        let (outbox, until) = (self.outbox(), Instant::now() + PATIENCE);
        while outbox.counts().await.unwrap().records > 0 {
            assert!(Instant::now() < until, "the outbox is not emptied");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn check(&self, stage: &Stage) {
        let sent = everything(&stage.cluster, &self.topic, 3);
        let mut all = Vec::new();
        let mut last = std::collections::BTreeMap::new();
        for message in &sent {
            let value = String::from_utf8(message.payload().unwrap().to_vec()).unwrap();
            let before = last.insert(message.key().unwrap().to_vec(), value.clone());
            assert!(before.as_ref().is_none_or(|before| *before < value), "{before:?} before {value}");
            all.push(value);
        }
        all.sort_unstable();
        let expected: Vec<String> = (0..self.written).map(|number| format!("{number:06}")).collect();
        assert_eq!(all, expected);
    }
}

/// Relays are killed at any moment, also in the middle of a transaction, which goes on behind their backs.
pub async fn whoever_is_killed_each_record_is_seen_once(stage: &Stage) {
    let mut shop = Shop::new(stage).await;
    for round in 0..12_u64 {
        let relay = shop.relay(stage, &format!("host-{round}"));
        for part in 0..10 {
            shop.write(40).await;
            tokio::time::sleep(Duration::from_millis(5 + (round * 13 + part * 7) % 40)).await;
        }
        drop(relay);
    }
    let last = shop.relay(stage, "last");
    shop.emptied().await;
    last.stop().await;
    shop.check(stage);
}

/// Two that both want to relay: one does, and what it sends is once.
pub async fn two_relays_send_once(stage: &Stage) {
    let mut shop = Shop::new(stage).await;
    let relays = [shop.relay(stage, "one"), shop.relay(stage, "other")];
    for _ in 0..50 {
        shop.write(40).await;
    }
    shop.emptied().await;
    for relay in relays {
        relay.stop().await;
    }
    shop.check(stage);
}
