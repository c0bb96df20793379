//! The polling thread's work on cuts, done by hand, so that the group goes on just where it would do harm.

use std::sync::Arc;

use keylane_devbroker::{Broker, BrokerOptions};
use keylane_engine::{
    Attempt, DeadLetter, DeadLetters, Filter, HandlerEngine, HandlerOptions, HostBudget, InboxLimits,
    LaneRule, Outcome, OutgoingRecord, Owners, Policy, PublishError, RunControl, RunReport, Runner, Untyped,
};
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::KafkaError as ClientError;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

use super::*;
use crate::boot_clock::BootTime;
use crate::intake::commits::closed::ClosedTopics;
use crate::intake::group::Change;
use crate::intake::life::Making;
use crate::intake::look::looks;
use crate::intake::poller::{Failure, Poller};
use crate::intake::shared::Shared;
use crate::{Admin, ConsumerConfig, Health, KafkaConfig, NewTopic};

/// The longest that anything is waited for.
const PATIENCE: Duration = Duration::from_secs(40);
/// How long owners get on in one turn.
const STEP: Duration = Duration::from_millis(5);
const SOURCE: &str = "source";
const OUTPUTS: &str = "outputs";
const GROUP: &str = "group";

/// What the thread works on. Clients come before the broker, and that before what it runs on.
struct Stage {
    poller: Poller,
    partitions: i32,
    /// The owners get on where this is driven.
    owners: Runtime,
    broker: Broker,
    _outside: Runtime,
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

impl DeadLetters for Copier {
    async fn bury(&self, letter: DeadLetter) -> Result<(), PublishError> {
        panic!("nothing is to die here: {letter:?}")
    }
}

fn owners(runtime: &Runtime) -> Arc<dyn Owners> {
    let type_header = "ce_type".to_owned();
    let options = HandlerOptions {
        name: "copier".to_owned(),
        filter: Filter { types: BTreeSet::new(), type_header, untyped: Untyped::Handle },
        lanes: LaneRule::Key,
        policy: Policy::default(),
        slots: 4,
        inbox: InboxLimits::default(),
        budget: HostBudget::new(64 * 1024 * 1024),
        stuck_after: PATIENCE,
    };
    let form = Arc::new(|letter: &DeadLetter| -> OutgoingRecord { panic!("not to die: {letter:?}") });
    Arc::new(HandlerEngine::in_cuts(
        options,
        Arc::new(Copier),
        Arc::new(Copier),
        form,
        runtime.handle().clone(),
    ))
}

impl Stage {
    /// A partition that is owned, with an event that has ended and is not cut. The owners go on by themselves, or
    /// only while the stage waits for them.
    fn new(by_themselves: bool) -> Self {
        Self::of(1, by_themselves)
    }

    /// The same of so many partitions.
    fn of(partitions: i32, by_themselves: bool) -> Self {
        let outside = Runtime::new().unwrap();
        let broker = outside.block_on(Broker::start(BrokerOptions::default())).unwrap();
        let kafka = KafkaConfig::new(broker.bootstrap());
        let topics = [NewTopic::new(SOURCE, partitions), NewTopic::new(OUTPUTS, 1)];
        outside.block_on(Admin::new(&kafka).unwrap().create_topics(&topics)).unwrap();
        let mut inside =
            if by_themselves { Builder::new_multi_thread() } else { Builder::new_current_thread() };
        let inside = inside.enable_all().build().unwrap();
        let mut config = ConsumerConfig::new(GROUP, vec![SOURCE.to_owned()]);
        config.cut_interval = Some(STEP);
        config.heartbeat = Duration::from_millis(300);
        config.drain_limit = Duration::from_secs(5);
        let shared = Arc::new(Shared::new());
        let (_looker, looks) = looks(shared.doorbell.clone());
        let (health, _nobody_asks) = watch::channel(Health::Stopped);
        let (clock, owners) = (Arc::new(BootTime), owners(&inside));
        let making = Making { kafka, config, health, owners, claims: None, clock, shared };
        let poller = making.poller(making.lookout(), looks).unwrap();
        let mut stage = Self { poller, partitions, owners: inside, broker, _outside: outside };
        stage.until("the partition and the producer", |stage| {
            stage.serve();
            stage.commit();
            stage.poller.feeds.len() == usize::try_from(partitions).unwrap()
                && stage.cuts().cutter.is_open()
                && stage.cuts().is_resting()
        });
        let producer: BaseProducer = stage.client().create().unwrap();
        for partition in 0..partitions {
            let record = BaseRecord::<(), _>::to(SOURCE).partition(partition).payload("v");
            producer.send(record).map_err(|(error, _)| error).unwrap();
        }
        producer.flush(PATIENCE).unwrap();
        stage.until("the events have ended", |stage| {
            stage.serve();
            stage.poller.feeds.iter().all(|feed| feed.inbox.is_stirred())
        });
        stage
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.broker.bootstrap()).set("group.id", GROUP);
        config
    }

    fn feed(&self) -> &Feed {
        self.poller.feeds.first().unwrap()
    }

    fn cuts(&mut self) -> &mut Cuts {
        self.poller.parts.commits.cuts.as_mut().unwrap()
    }

    /// One turn of the thread and some time for the owners, but no commit.
    fn serve(&mut self) {
        let poller = &mut self.poller;
        well(poller.serve_client());
        for change in std::mem::take(&mut poller.changes) {
            well(poller.answer(change));
        }
        poller.parts.topics.turn(Instant::now());
        well(poller.drop_what_was_set_back());
        well(poller.settle_waiting());
        poller.serve_feeds();
        self.owners.block_on(async { tokio::time::sleep(STEP).await });
    }

    /// The other half of a turn.
    fn commit(&mut self) {
        let now = Instant::now();
        let waits = self.poller.is_due_to_settle(now);
        self.poller.parts.commits.hold_cuts_off(waits);
        self.poller.parts.commits.turn(self.poller.feeds.iter(), now);
    }

    fn until(&mut self, what: &str, mut is_so: impl FnMut(&mut Self) -> bool) {
        let give_up = Instant::now() + PATIENCE;
        while !is_so(self) {
            assert!(Instant::now() < give_up, "not in time: {what}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// How far the group is, of all partitions together.
    fn committed(&self) -> i64 {
        let member: BaseConsumer = self.client().create().unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition_range(SOURCE, 0, self.partitions - 1);
        let list = member.committed_offsets(list, PATIENCE).unwrap();
        let offset = |offset| if let Offset::Offset(offset) = offset { offset } else { 0 };
        list.elements().iter().map(|element| offset(element.offset())).sum()
    }

    /// How many outputs a reader of committed transactions sees.
    fn seen(&self) -> usize {
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

    fn until_it_is_cut(&mut self) {
        self.until("it is cut", |stage| {
            stage.serve();
            stage.commit();
            stage.committed() == 1
        });
    }
}

fn well<T>(step: Result<T, Failure>) -> T {
    step.unwrap_or_else(|failure| panic!("{failure}"))
}

/// The metadata comes first: the owners are asked, the group goes on, and what they tell then is sent as the member
/// that asked. The coordinator refuses that, whatever is still owned, and the next cut has it.
#[test]
fn a_cut_is_sent_as_the_member_that_it_was_begun_by() {
    let mut stage = Stage::new(false);
    stage.until("the owner is asked", |stage| {
        stage.commit();
        matches!(stage.cuts().step, Step::Asking(_))
    });
    let mut other = stage.client();
    let other: BaseConsumer =
        other.set("partition.assignment.strategy", "cooperative-sticky").create().unwrap();
    other.subscribe(&[SOURCE]).unwrap();
    stage.until("the group's next generation", |stage| {
        let _nothing_for_it = other.poll(Duration::ZERO);
        well(stage.poller.serve_client());
        !stage.poller.changes.is_empty()
    });
    assert_eq!(stage.poller.feeds.len(), 1);
    // Now the owner answers.
    stage.serve();
    stage.until("the cut is sent", |stage| {
        stage.commit();
        matches!(stage.cuts().step, Step::Sending(_))
    });
    stage.until("its end", |stage| {
        stage.commit();
        !matches!(stage.cuts().step, Step::Sending(_))
    });
    let trouble = stage.cuts().trouble.clone().unwrap_or_default();
    assert!(trouble.contains("generation"), "its end: {trouble:?}");
    assert_eq!((stage.committed(), stage.seen()), (0, 0));
    stage.until_it_is_cut();
    assert_eq!(stage.seen(), 1);
}

/// Of what is in doubt only the group's offsets tell. Were it cut once more because the group asks for the
/// partition just then, it could be there twice.
#[test]
fn of_a_partition_in_doubt_nothing_is_cut_when_it_is_given_up() {
    let mut stage = Stage::new(true);
    let (partition, token) = (stage.feed().partition.clone(), stage.feed().token);
    stage.cuts().set_back.insert(partition.clone(), "nobody knows".to_owned());
    stage.cuts().owed.insert(token);
    // Nor is the membership proven by what was known before.
    stage.poller.parts.commits.last_sent = None;
    stage.commit();
    assert!(stage.poller.parts.commits.sent.is_empty() && stage.cuts().is_resting());
    well(stage.poller.answer(Change::Revoked { partitions: vec![partition.clone()], lost: false }));
    assert!(stage.poller.feeds.is_empty() && stage.cuts().set_back.is_empty());
    assert_eq!((stage.committed(), stage.seen()), (0, 0));
    stage.poller.waiting.insert(partition);
    stage.until_it_is_cut();
    assert_eq!(stage.seen(), 1);
}

/// A commit that nobody answered may be carried out yet. Were that behind a cut, it would set the group back.
#[test]
fn no_cut_overtakes_a_commit_that_went_astray() {
    let mut stage = Stage::new(true);
    let commits = &mut stage.poller.parts.commits;
    (commits.astray, commits.next_at) = (true, Instant::now() + PATIENCE);
    commits.last_sent = Some(commits.lease.now());
    for _ in 0..20 {
        stage.serve();
        stage.commit();
        assert!(stage.cuts().is_resting() && stage.feed().inbox.is_stirred());
    }
    stage.poller.parts.commits.next_at = Instant::now();
    stage.until_it_is_cut();
    assert!(!stage.poller.parts.commits.astray, "another one was acknowledged first");
    assert_eq!(stage.seen(), 1);
}

/// What has ended is not left behind for that when the partition is given up.
#[test]
fn before_a_last_cut_a_commit_that_went_astray_is_made_up_for() {
    let mut stage = Stage::new(true);
    let partition = stage.feed().partition.clone();
    let commits = &mut stage.poller.parts.commits;
    (commits.astray, commits.next_at) = (true, Instant::now() + PATIENCE);
    well(stage.poller.answer(Change::Revoked { partitions: vec![partition], lost: false }));
    assert_eq!((stage.committed(), stage.seen()), (1, 1));
}

/// With a record for a silent partition everybody may wait: none is sent before it is time to try again.
#[test]
fn nothing_is_sent_to_a_silent_topic_before_its_time() {
    let mut stage = Stage::new(true);
    let (partition, now) = (stage.feed().partition.clone(), Instant::now());
    stage.cuts().closed.note_silence(OUTPUTS, "no leader", PATIENCE, now);
    stage.until("its partition waits", |stage| {
        stage.serve();
        stage.commit();
        stage.cuts().closed.keeps(&partition, now)
    });
    assert_eq!((stage.committed(), stage.seen()), (0, 0));
    // Its time has come.
    stage.cuts().closed = ClosedTopics::default();
    stage.until_it_is_cut();
    assert_eq!(stage.seen(), 1);
}

/// Behind cuts that failed, as brokers that are too slow make them, what has ended is cut in parts.
#[test]
fn behind_failures_less_is_cut_at_once() {
    let mut stage = Stage::of(2, true);
    (0..64).for_each(|_| stage.cuts().halve());
    let (before, mut parts) = (stage.cuts().halved, Vec::new());
    stage.until("all is cut", |stage| {
        stage.serve();
        stage.commit();
        if let Step::Sending(sending) = &stage.cuts().step {
            parts.push(sending.parts.len());
        }
        stage.committed() == 2
    });
    assert!(!parts.is_empty() && parts.iter().all(|parts| *parts == 1), "{parts:?}");
    assert_eq!(stage.seen(), 2);
    assert!(stage.cuts().halved < before, "it grows again");
}

/// A call of the client library that never returns: the partitions go to others, and whoever watches the process is
/// told that a new one is needed.
#[test]
fn a_transaction_that_hangs_gives_the_partitions_up() {
    let mut stage = Stage::new(true);
    let hanging = |took: Duration| Sending {
        begun: Instant::now().checked_sub(took).unwrap(),
        at: Duration::ZERO,
        bytes: 0,
        parts: Vec::new(),
    };
    let limit = stage.cuts().hangs_after;
    stage.cuts().step = Step::Sending(hanging(limit / 2));
    assert!(stage.poller.parts.commits.hanging_cut().is_none(), "slow is not hanging");
    stage.cuts().step = Step::Sending(hanging(limit + STEP));
    let shared = stage.poller.parts.shared.clone();
    std::thread::spawn(move || {
        std::thread::sleep(PATIENCE / 2);
        shared.ask_to_stop(Instant::now());
    });
    let Err(Failure::ForGood(reason)) = stage.poller.run() else { panic!("it goes on for ever") };
    assert!(reason.contains("hangs in the Kafka client"), "{reason}");
}
