//! Topics that take nothing, beside some that do: on the client library's mock cluster, where a test takes a
//! partition's leader away.

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::mocking::{MockCluster, MockCoordinator};
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use super::*;
use keylane_engine::TopicPartition;

const GROUP: &str = "group";
/// What the brokers are given for a transaction.
const LIMIT: Duration = Duration::from_secs(4);
/// Cuts of which one is to be quick.
const TRIES: usize = 20;
/// More producers than a test lets go of.
const PRODUCERS: u64 = 10;

/// A group's way to two brokers, of which one has everything but a topic.
struct Stage {
    mock: MockCluster<'static, DefaultProducerContext>,
    way: Way,
    consumer: BaseConsumer,
}

impl Stage {
    fn new() -> Self {
        let mock = MockCluster::new(2).unwrap();
        for (topic, broker) in [("source", 1), ("here", 1), ("silent", 2)] {
            mock.create_topic(topic, 1, 1).unwrap();
            mock.partition_leader(topic, 0, Some(broker)).unwrap();
        }
        let kafka = KafkaConfig::new(mock.bootstrap_servers());
        let way = Way::new(&kafka, GROUP, LIMIT).unwrap();
        for left in 0..PRODUCERS {
            let coordinator = MockCoordinator::Transaction(format!("{}.{left}", way.name));
            mock.coordinator(coordinator, 1).unwrap();
        }
        mock.coordinator(MockCoordinator::Group(GROUP.to_owned()), 1).unwrap();
        let mut config = rdkafka::ClientConfig::new();
        config.set("bootstrap.servers", mock.bootstrap_servers()).set("group.id", GROUP);
        Self { way, consumer: config.create().unwrap(), mock }
    }

    /// One cut, with a record for each of these topics.
    fn cut(&mut self, topics: &[&str]) -> CutEnd {
        let record = |topic: &&str| OutgoingRecord {
            topic: (*topic).to_owned(),
            key: None,
            value: Some(b"v".as_slice().into()),
            headers: Vec::new(),
        };
        let partition = TopicPartition { topic: "source".into(), partition: 0 };
        self.way.carry_out(&Cut {
            metadata: self.consumer.group_metadata().unwrap(),
            offsets: vec![Handed { partition, offset: 1, payload: "".into(), leader_epoch: None }],
            records: vec![topics.iter().map(record).collect()],
        })
    }

    fn is_committed(&mut self, topics: &[&str]) {
        let end = self.cut(topics);
        assert!(matches!(end, CutEnd::Committed), "{topics:?}: {end:?}");
    }

    /// The quickest of some cuts, up to the first that takes less than the limit. Where the machine has other work,
    /// many a cut is slow.
    fn quickest(&mut self, limit: Duration, mut before_each: impl FnMut(&Self)) -> Duration {
        let mut quickest = Duration::MAX;
        for _ in 0..TRIES {
            before_each(self);
            let begun = Instant::now();
            self.is_committed(&["here"]);
            quickest = quickest.min(begun.elapsed());
            if quickest < limit {
                break;
            }
        }
        quickest
    }

    /// What of such a cut was not taken, for silence alone, and why.
    fn silent(&mut self, topics: &[&str]) -> (Vec<(usize, String)>, String) {
        let end = self.cut(topics);
        let CutEnd::Refused(refused) = end else { panic!("{topics:?}: {end:?}") };
        assert!(refused.iter().all(|one| one.fault == Fault::Silence), "{refused:?}");
        let reason = refused.first().unwrap().reason.clone();
        (refused.into_iter().map(|one| (one.place.unwrap(), one.topic)).collect(), reason)
    }
}

#[test]
fn a_partition_without_a_leader_is_told_as_its_topics_silence() {
    let mut stage = Stage::new();
    stage.is_committed(&["here", "silent"]);
    // The brokers do not know yet that it is gone, so that only time tells.
    stage.mock.broker_down(2).unwrap();
    let id = stage.way.id();
    let (silent, reason) = stage.silent(&["here", "silent"]);
    assert_eq!(silent, [(1, "silent".to_owned())], "{reason}");
    assert_ne!(
        stage.way.id(),
        id,
        "brokers may be unable to end that transaction, and let it begin no other"
    );
    stage.is_committed(&["here"]);
    stage.mock.partition_leader("silent", 0, None).unwrap();
    let id = stage.way.id();
    let (silent, reason) = stage.silent(&["silent", "here", "silent"]);
    assert_eq!(silent, [(0, "silent".to_owned()), (2, "silent".to_owned())], "{reason}");
    assert!(reason.contains("no leader for the partitions [0]"), "now it is asked before: {reason}");
    assert_eq!(stage.way.id(), id, "no transaction had a part in it");
    stage.is_committed(&["here"]);
    stage.mock.broker_up(2).unwrap();
    stage.mock.partition_leader("silent", 0, Some(2)).unwrap();
    stage.is_committed(&["silent", "here"]);
}

/// Offsets that brokers take are an answer, too.
#[test]
fn a_silent_partition_is_told_by_its_own_record_alone() {
    let mut stage = Stage::new();
    stage.is_committed(&["silent"]);
    stage.mock.broker_down(2).unwrap();
    assert_eq!(stage.silent(&["silent"]).0, [(0, "silent".to_owned())]);
    // Seen just now, it is not asked for again: the transaction itself meets brokers that do not answer.
    stage.is_committed(&["here"]);
    stage.mock.broker_down(1).unwrap();
    let end = stage.cut(&["here"]);
    assert!(matches!(end, CutEnd::Failed(_) | CutEnd::InDoubt(_)), "brokers that answer nobody: {end:?}");
}

/// What the brokers have taken is heard of at once, and not when the client looks next, 100 ms later.
#[test]
fn a_cut_waits_for_the_brokers_alone() {
    const QUICK: Duration = Duration::from_millis(80);
    let mut stage = Stage::new();
    stage.is_committed(&["here"]);
    let quickest = stage.quickest(QUICK, |_| ());
    assert!(quickest < QUICK, "{quickest:?}");
}

/// While the markers of the transaction before are being written, brokers have the next one ask again. The client would
/// wait for 100 ms at first, and twice as long each further time.
#[test]
fn a_cut_right_behind_another_asks_again_soon() {
    const QUICK: Duration = Duration::from_millis(300);
    let mut stage = Stage::new();
    stage.is_committed(&["here"]);
    let not_yet = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS; 3];
    let quickest =
        stage.quickest(QUICK, |stage| stage.mock.request_errors(RDKafkaApiKey::AddOffsetsToTxn, &not_yet));
    assert!(quickest < QUICK, "{quickest:?}");
}
