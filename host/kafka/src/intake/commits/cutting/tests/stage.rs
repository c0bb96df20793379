//! A broker, a member in cuts, and its polling thread's work to be done by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use keylane_devbroker::{Broker, BrokerOptions};
use keylane_engine::{
    Assignment, Attempt, BootClock, DeadLetter, HandlerEngine, Inbox, Lease, Outcome, OutgoingRecord, Owners,
    RunControl, RunReport, Runner,
};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError as ClientError;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

use super::super::{Cuts, Feed};
use crate::boot_clock::BootTime;
use crate::intake::life::Making;
use crate::intake::look::looks;
use crate::intake::poller::{Failure, Poller};
use crate::intake::shared::Shared;
use crate::intake::testing::{NobodyDies, PATIENCE, options};
use crate::{Admin, ConsumerConfig, Health, KafkaConfig, NewTopic};

/// How long owners get on in one turn.
pub(super) const STEP: Duration = Duration::from_millis(5);
pub(super) const SOURCE: &str = "source";
pub(super) const OUTPUTS: &str = "outputs";
pub(super) const GROUP: &str = "group";
/// No test takes so long.
pub(super) const TERM: Duration = Duration::from_secs(3_600);

/// The boot clock, which a test turns on.
#[derive(Default)]
pub(super) struct TurnedClock {
    ahead_ms: AtomicU64,
}

impl TurnedClock {
    pub(super) fn turn_on(&self, by: Duration) {
        self.ahead_ms.fetch_add(u64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

impl BootClock for TurnedClock {
    fn now(&self) -> Duration {
        BootTime.now() + Duration::from_millis(self.ahead_ms.load(Ordering::SeqCst))
    }
}

/// The owner of the first partition has a lease of its own, so that it alone can find that it has ended.
struct Apart {
    engine: HandlerEngine<Copier, NobodyDies>,
    lease: Arc<Lease>,
}

impl Owners for Apart {
    fn assign(&self, assignment: Assignment) -> Inbox {
        let own = (assignment.partition.partition == 0).then(|| self.lease.clone());
        let lease = own.unwrap_or_else(|| assignment.lease.clone());
        self.engine.assign(Assignment { lease, ..assignment })
    }
}

/// What the thread works on. Clients come before the broker, and that before what it runs on.
pub(super) struct Stage {
    pub(super) poller: Poller,
    /// The member's.
    pub(super) clock: Arc<TurnedClock>,
    /// That of the first partition's owner, and its clock.
    pub(super) first: (Arc<Lease>, Arc<TurnedClock>),
    partitions: i32,
    /// The owners get on where this is driven.
    owners: Runtime,
    pub(super) broker: Broker,
    outside: Runtime,
}

/// Gives out one record for each event.
struct Copier;

impl Runner for Copier {
    async fn run(&self, attempts: Vec<Attempt>, _: RunControl) -> RunReport {
        let topic = OUTPUTS.to_owned();
        let output = |attempt: &Attempt| OutgoingRecord {
            topic: topic.clone(),
            key: None,
            value: attempt.event.value.clone(),
            headers: Vec::new(),
        };
        let outputs = attempts.iter().map(|attempt| vec![output(attempt)]).collect();
        RunReport { outputs, ..vec![Outcome::Done; attempts.len()].into() }
    }
}

fn owners(runtime: &Runtime, lease: Arc<Lease>) -> Arc<dyn Owners> {
    let form = Arc::new(|letter: &DeadLetter| -> OutgoingRecord { panic!("not to die: {letter:?}") });
    let (copier, letters, runtime) = (Arc::new(Copier), Arc::new(NobodyDies), runtime.handle().clone());
    Arc::new(Apart {
        engine: HandlerEngine::in_cuts(options("copier"), copier, letters, form, runtime),
        lease,
    })
}

fn consumer(interval: Duration) -> ConsumerConfig {
    ConsumerConfig {
        cut_interval: Some(interval),
        heartbeat: Duration::from_millis(300),
        drain_limit: Duration::from_secs(5),
        ..ConsumerConfig::new(GROUP, vec![SOURCE.to_owned()])
    }
}

impl Stage {
    /// A partition that is owned, with an event that has ended and is not cut. The owners go on by themselves, or
    /// only while the stage waits for them.
    pub(super) fn new(by_themselves: bool) -> Self {
        Self::of(1, by_themselves, STEP)
    }

    /// The same of so many partitions, with so much time between two cuts.
    pub(super) fn of(partitions: i32, by_themselves: bool, interval: Duration) -> Self {
        let outside = Runtime::new().unwrap();
        let broker = outside.block_on(Broker::start(BrokerOptions::default())).unwrap();
        let kafka = KafkaConfig::new(broker.bootstrap());
        let topics = [NewTopic::new(SOURCE, partitions), NewTopic::new(OUTPUTS, 1)];
        outside.block_on(Admin::new(&kafka).unwrap().create_topics(&topics)).unwrap();
        let mut inside =
            if by_themselves { Builder::new_multi_thread() } else { Builder::new_current_thread() };
        let inside = inside.enable_all().build().unwrap();
        let (clock, its_clock) = (Arc::new(TurnedClock::default()), Arc::new(TurnedClock::default()));
        let lease = Arc::new(Lease::new(TERM, its_clock.clone()));
        lease.renew(lease.now());
        let shared = Arc::new(Shared::new());
        let (_looker, looks) = looks(shared.doorbell.clone());
        let (health, _nobody_asks) = watch::channel(Health::Stopped);
        let config = consumer(interval);
        let owners = owners(&inside, lease.clone());
        let making = Making { kafka, config, health, owners, claims: None, clock: clock.clone(), shared };
        let poller = making.poller(making.lookout(), looks).unwrap();
        let first = (lease, its_clock);
        let mut stage = Self { poller, clock, first, partitions, owners: inside, broker, outside };
        stage.take_all();
        (0..partitions).for_each(|partition| stage.produce(partition));
        stage.until("the events have ended", |stage| {
            stage.serve();
            stage.poller.feeds.iter().all(|feed| feed.inbox.is_stirred())
        });
        stage
    }

    /// Until all partitions are owned, and the producer of the cuts is there.
    fn take_all(&mut self) {
        let partitions = usize::try_from(self.partitions).unwrap();
        self.until("the partitions and the producer", |stage| {
            stage.serve();
            stage.commit();
            stage.poller.feeds.len() == partitions
                && stage.cuts().cutter.is_open()
                && stage.cuts().is_resting()
        });
    }

    /// Writes a record there.
    pub(super) fn produce(&self, partition: i32) {
        let producer: BaseProducer = self.client().create().unwrap();
        let record = BaseRecord::<(), _>::to(SOURCE).partition(partition).payload("v");
        producer.send(record).map_err(|(error, _)| error).unwrap();
        producer.flush(PATIENCE).unwrap();
    }

    /// Deletes a topic.
    pub(super) fn delete(&self, topic: &str) {
        let admin: AdminClient<DefaultClientContext> = self.client().create().unwrap();
        let (topics, options) = ([topic], AdminOptions::new());
        let deleted = self.outside.block_on(admin.delete_topics(&topics, &options)).unwrap();
        deleted.into_iter().for_each(|deleted| drop(deleted.unwrap()));
    }

    pub(super) fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.broker.bootstrap()).set("group.id", GROUP);
        config
    }

    pub(super) fn feed(&self) -> &Feed {
        self.poller.feeds.first().unwrap()
    }

    pub(super) fn cuts(&mut self) -> &mut Cuts {
        self.poller.parts.commits.cuts.as_mut().unwrap()
    }

    /// One turn of the thread and some time for the owners, but no commit.
    pub(super) fn serve(&mut self) {
        let poller = &mut self.poller;
        well(poller.serve_client());
        for change in std::mem::take(&mut poller.changes) {
            well(poller.answer(change));
        }
        poller.parts.topics.turn(Instant::now());
        well(poller.drop_what_expired());
        well(poller.drop_what_was_set_back());
        well(poller.settle_waiting());
        poller.serve_feeds();
        self.let_owners_on();
    }

    pub(super) fn let_owners_on(&self) {
        self.owners.block_on(async { tokio::time::sleep(STEP).await });
    }

    /// The other half of a turn.
    pub(super) fn commit(&mut self) {
        let now = Instant::now();
        let waits = self.poller.is_due_to_settle(now);
        self.poller.parts.commits.hold_cuts_off(waits);
        self.poller.parts.commits.turn(self.poller.feeds.iter(), now);
    }

    pub(super) fn until(&mut self, what: &str, mut is_so: impl FnMut(&mut Self) -> bool) {
        let give_up = Instant::now() + PATIENCE;
        while !is_so(self) {
            assert!(Instant::now() < give_up, "not in time: {what}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// How far the group is, of all partitions together.
    pub(super) fn committed(&self) -> i64 {
        let member: BaseConsumer = self.client().create().unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition_range(SOURCE, 0, self.partitions - 1);
        let list = member.committed_offsets(list, PATIENCE).unwrap();
        let offset = |offset| if let Offset::Offset(offset) = offset { offset } else { 0 };
        list.elements().iter().map(|element| offset(element.offset())).sum()
    }

    /// How many outputs a reader of committed transactions sees.
    pub(super) fn seen(&self) -> usize {
        let mut config = self.client();
        config.set("isolation.level", "read_committed").set("enable.partition.eof", "true");
        let reader: BaseConsumer = config.create().unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(OUTPUTS, 0, Offset::Beginning).unwrap();
        reader.assign(&list).unwrap();
        let (give_up, mut seen) = (Instant::now() + PATIENCE, 0);
        loop {
            assert!(Instant::now() < give_up, "the outputs have no end");
            match reader.poll(Duration::from_millis(100)) {
                Some(Err(ClientError::PartitionEOF(_))) => return seen,
                Some(record) => {
                    record.unwrap();
                    seen += 1;
                }
                None => {}
            }
        }
    }

    pub(super) fn until_it_is_cut(&mut self) {
        self.until_cut(1);
    }

    /// So many events.
    pub(super) fn until_cut(&mut self, events: i64) {
        self.until("all is cut", |stage| {
            stage.serve();
            stage.commit();
            stage.committed() == events
        });
    }
}

pub(super) fn well<T>(step: Result<T, Failure>) -> T {
    step.unwrap_or_else(|failure| panic!("{failure}"))
}
