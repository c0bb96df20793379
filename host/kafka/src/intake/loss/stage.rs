//! A broker with a topic that retention has cut, and a polling thread's work to be done by hand.

use std::sync::Arc;
use std::time::{Duration, Instant};

use keylane_devbroker::{Broker, BrokerOptions};
use keylane_engine::{Attempt, HandlerEngine, LogPosition, Outcome, Owners, RunControl, RunReport, Runner};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::super::life::Making;
use super::super::look::looks;
use super::super::shared::Shared;
use super::super::testing::{NobodyDies, PATIENCE, options};
use super::{Failure, Poller};
use crate::boot_clock::BootTime;
use crate::config::Lost;
use crate::{Admin, ConsumerConfig, Health, KafkaConfig, NewTopic};

/// More than a broker beside us needs for a fetch and its answer.
const TIME_TO_REFUSE: Duration = Duration::from_secs(2);

/// What the thread works on.
pub(super) struct Stage {
    pub(super) poller: Poller,
    pub(super) topic: String,
    _broker: Broker,
}

/// Ends every event at once.
struct Done;

impl Runner for Done {
    async fn run(&self, attempts: Vec<Attempt>, _: RunControl) -> RunReport {
        vec![Outcome::Done; attempts.len()].into()
    }
}

fn owners() -> Arc<dyn Owners> {
    Arc::new(HandlerEngine::new(
        options("done"),
        Arc::new(Done),
        Arc::new(NobodyDies),
        None,
        Handle::current(),
    ))
}

/// Ten records of which the first six are gone, and a group whose commit is at the third.
async fn cut(kafka: &KafkaConfig, group: &str, topic: &str) {
    Admin::new(kafka).unwrap().create_topics(&[NewTopic::new(topic, 1)]).await.unwrap();
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", &kafka.bootstrap).set("group.id", group);
    let producer: BaseProducer = client.create().unwrap();
    for _ in 0..10 {
        producer.send(BaseRecord::<(), _>::to(topic).partition(0).payload("v")).map_err(|(e, _)| e).unwrap();
    }
    producer.flush(PATIENCE).unwrap();
    let at = |offset| {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, 0, Offset::Offset(offset)).unwrap();
        list
    };
    let member: BaseConsumer = client.create().unwrap();
    member.commit(&at(2), CommitMode::Sync).unwrap();
    let admin: AdminClient<DefaultClientContext> = client.create().unwrap();
    let done = admin.delete_records(&at(6), &AdminOptions::new()).await.unwrap();
    done.elements().first().unwrap().error().unwrap();
}

impl Stage {
    pub(super) async fn new(topic: &str, lost: Lost) -> Self {
        let broker = Broker::start(BrokerOptions::default()).await.unwrap();
        let (kafka, topic) = (KafkaConfig::new(broker.bootstrap()), topic.to_owned());
        let mut config = ConsumerConfig::new("group", vec![topic.clone()]);
        config.lost = lost;
        cut(&kafka, &config.group, &topic).await;
        let shared = Arc::new(Shared::new());
        let (_looker, looks) = looks(shared.doorbell.clone());
        let (health, _nobody_asks) = watch::channel(Health::Stopped);
        let making = Making {
            kafka,
            config,
            health,
            owners: owners(),
            claims: None,
            clock: Arc::new(BootTime),
            shared,
        };
        Self { poller: making.poller(making.lookout(), looks).unwrap(), topic, _broker: broker }
    }

    /// One turn, but for partitions in trouble.
    pub(super) fn turn(&mut self) {
        let poller = &mut self.poller;
        well(poller.serve_client());
        for change in std::mem::take(&mut poller.changes) {
            well(poller.answer(change));
        }
        poller.parts.topics.turn(Instant::now());
        well(poller.settle_waiting());
        poller.check_positions();
        poller.serve_feeds();
        poller.parts.commits.turn(poller.feeds.iter(), Instant::now());
    }

    /// Takes the partition, and comes to the check of its position only when the broker's refusal is there, as a
    /// thread does that others keep from running.
    pub(super) async fn until_refused(&mut self) {
        self.until("the partition", |stage| {
            stage.turn();
            !stage.poller.feeds.is_empty()
        })
        .await;
        let feed = self.poller.feeds.first_mut().unwrap();
        feed.check_at(LogPosition { offset: feed.next, leader_epoch: 0 }, feed.next);
        tokio::time::sleep(TIME_TO_REFUSE).await;
    }

    /// Looks at the partition in trouble.
    pub(super) fn see_to_trouble(&mut self) {
        well(self.poller.see_to_trouble());
    }

    /// Goes on until everything is known of the partition's trouble, and nothing is decided.
    pub(super) async fn until_known(&mut self) {
        self.until("the trouble", |stage| {
            stage.turn();
            stage.poller.feeds.iter().any(|feed| feed.trouble.is_some())
        })
        .await;
        // Asks.
        self.see_to_trouble();
        self.until("the answers", |stage| {
            stage.poller.parts.topics.turn(Instant::now());
            let (feed, topics) = (stage.poller.feeds.first().unwrap(), &stage.poller.parts.topics);
            topics.edges(&feed.partition).is_some() && topics.id_of(&feed.partition.topic).is_some()
        })
        .await;
    }

    /// Waits until it is so.
    pub(super) async fn until(&mut self, what: &str, mut is_so: impl FnMut(&mut Self) -> bool) {
        let give_up = Instant::now() + PATIENCE;
        while !is_so(self) {
            assert!(Instant::now() < give_up, "not in time: {what}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn well<T>(step: Result<T, Failure>) -> T {
    step.unwrap_or_else(|failure| panic!("{failure}"))
}
