//! What the tests of this room share: a broker, a foreign client, and a handler that notes what it sees.
//!
//! The broker is the embedded one, or whatever `KEYLANE_TEST_BOOTSTRAP` names: topics and groups carry
//! names that no two tests share.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "each test file uses its part, and a failed expectation is to end the test"
)]

pub mod between;
pub mod clock;
pub mod commits;
pub mod copier;
pub mod cuts;
pub mod database;
pub mod doubts;
pub mod handover;
pub mod leases;
pub mod letters;
pub mod meters;
pub mod moving;
pub mod positions;
mod recorder;
pub mod refusals;
pub mod rude;
pub mod starts;
pub mod takes;
pub mod topics;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use keylane_devbroker::{Broker, BrokerOptions};
use keylane_kafka::{Admin, ConsumerConfig, Health, Intake, KafkaConfig, NewTopic, Start};
use rdkafka::admin::{AdminOptions, NewPartitions};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio::runtime::Handle;
use tokio::sync::watch;

pub use recorder::Recorder;

/// Tests on the dev broker, one for each of these scenes.
#[allow(unused_macros, reason = "each test file uses its part")]
macro_rules! on_the_dev_broker {
    ($scenes:ident: $($scene:ident),+) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $scene() {
                support::$scenes::$scene(&support::Cluster::start().await).await;
            }
        )+
    };
}
#[allow(unused_imports, reason = "each test file uses its part")]
pub(crate) use on_the_dev_broker;

/// The longest any condition is waited for: a rebalance takes seconds, everything else far less.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// A broker to talk to.
pub struct Cluster {
    pub bootstrap: String,
    _broker: Option<Broker>,
}

impl Cluster {
    pub async fn start() -> Self {
        if let Ok(bootstrap) = std::env::var("KEYLANE_TEST_BOOTSTRAP") {
            return Self { bootstrap, _broker: None };
        }
        let broker = Broker::start(BrokerOptions::default()).await.unwrap();
        Self { bootstrap: broker.bootstrap(), _broker: Some(broker) }
    }

    /// One that a test started by itself.
    pub fn at(bootstrap: &str) -> Self {
        Self { bootstrap: bootstrap.to_owned(), _broker: None }
    }

    pub fn config(&self) -> KafkaConfig {
        KafkaConfig::new(&self.bootstrap)
    }

    pub fn admin(&self) -> Admin {
        Admin::new(&self.config()).unwrap()
    }

    pub async fn topic(&self, partitions: i32) -> String {
        let name = unique("topic");
        self.admin().create_topics(&[NewTopic::new(&name, partitions)]).await.unwrap();
        name
    }

    /// Gives a topic more partitions.
    pub async fn grow(&self, topic: &str, partitions: usize) {
        let grown = [NewPartitions::new(topic, partitions)];
        let results = topics::admin(self).create_partitions(&grown, &AdminOptions::new()).await.unwrap();
        results.first().unwrap().as_ref().unwrap();
    }

    pub fn intake(&self, config: ConsumerConfig, recorder: &Recorder) -> Intake {
        let (owners, claims) = (recorder.owners(), recorder.claims());
        Intake::start(&self.config(), config, owners, claims, Handle::current()).unwrap()
    }

    fn foreign(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap);
        config
    }

    /// Writes records `from..to` to one partition, as a client that knows nothing of keylane.
    pub fn produce(&self, topic: &str, partition: i32, numbers: std::ops::Range<u32>) {
        let producer: BaseProducer = self.foreign().create().unwrap();
        for number in numbers {
            let (key, value) = (format!("key-{number}"), number.to_string());
            producer
                .send(BaseRecord::to(topic).partition(partition).key(&key).payload(&value))
                .map_err(|(error, _)| error)
                .unwrap();
        }
        producer.flush(PATIENCE).unwrap();
    }

    /// A consumer of the group that does not join it.
    pub fn member(&self, group: &str) -> BaseConsumer {
        self.foreign().set("group.id", group).create().unwrap()
    }

    /// What the group has committed.
    pub fn committed_offset(&self, group: &str, topic: &str, partition: i32) -> Option<i64> {
        self.committed(group, topic, partition).map(|(offset, _)| offset)
    }

    /// What the group has committed, and the metadata beside it.
    pub fn committed(&self, group: &str, topic: &str, partition: i32) -> Option<(i64, String)> {
        let mut list = TopicPartitionList::new();
        list.add_partition(topic, partition);
        let list = self.member(group).committed_offsets(list, PATIENCE).unwrap();
        let elements = list.elements();
        let element = elements.first().unwrap();
        match element.offset() {
            Offset::Offset(offset) => Some((offset, element.metadata().to_owned())),
            _ => None,
        }
    }

    /// Commits as a foreign tool would, while the group has no members.
    pub fn commit(&self, group: &str, topic: &str, partition: i32, offset: i64, metadata: &str) {
        let mut list = TopicPartitionList::new();
        let mut element = list.add_partition(topic, partition);
        element.set_offset(Offset::Offset(offset)).unwrap();
        element.set_metadata(metadata);
        self.member(group).commit(&list, CommitMode::Sync).unwrap();
    }

    /// How many records one partition holds.
    pub fn end_of(&self, topic: &str, partition: i32) -> usize {
        let (onlooker, give_up) = (self.member("onlooker"), Instant::now() + PATIENCE);
        loop {
            match onlooker.fetch_watermarks(topic, partition, PATIENCE) {
                Ok((_, end)) => return usize::try_from(end).unwrap(),
                // A broker that has just started leads nothing yet.
                Err(error) => assert!(Instant::now() < give_up, "{topic}[{partition}] has no end: {error}"),
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Everything in one partition, from its beginning.
    pub fn read(&self, topic: &str, partition: i32, records: usize) -> Vec<rdkafka::message::OwnedMessage> {
        let consumer = self.member(&unique("reader"));
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
        consumer.assign(&list).unwrap();
        let until = Instant::now() + PATIENCE;
        let mut found = Vec::new();
        while found.len() < records {
            assert!(Instant::now() < until, "only {} of {records} records", found.len());
            if let Some(message) = consumer.poll(Duration::from_millis(100)) {
                found.push(message.unwrap().detach());
            }
        }
        found
    }
}

/// A consumer of one topic with short times.
pub fn consumer(group: &str, topic: &str, start: Start) -> ConsumerConfig {
    let mut config = ConsumerConfig::new(group, vec![topic.to_owned()]);
    config.start = start;
    config.commit_interval = Duration::from_millis(100);
    config.session_timeout = Duration::from_secs(6);
    config.heartbeat = Duration::from_millis(300);
    config
}

/// A name that no other test uses, not even of an earlier run on the same cluster.
pub fn unique(what: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    format!("{what}-{now:x}-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Waits until it is true.
pub async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let give_up = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < give_up, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until health is as wanted, and answers it.
pub async fn until_health(
    health: &mut watch::Receiver<Health>,
    what: &str,
    is_so: impl FnMut(&Health) -> bool,
) -> Health {
    let waited =
        tokio::time::timeout(PATIENCE, health.wait_for(is_so)).await.map(|told| told.unwrap().clone());
    waited.unwrap_or_else(|_| panic!("not in time: {what}; health is {}", *health.borrow()))
}

pub async fn until_assigned(intake: &Intake, wanted: usize) {
    let mut health = intake.health();
    until_health(
        &mut health,
        "assigned",
        |told| matches!(told, Health::Assigned { partitions, waiting: 0, .. } if *partitions == wanted),
    )
    .await;
}
