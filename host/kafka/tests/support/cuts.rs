//! A handler in cuts: records, dead letters and progress become real together, once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use keylane_engine::{Policy, Then};
use keylane_kafka::{Admin, ConsumerConfig, GroupProtocol, Health, Intake, NewTopic, Start};
use rdkafka::Message;
use rdkafka::message::OwnedMessage;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::copier::{ASTRAY, Copier, LARGE, dead_letters_of};
use super::letters::everything;
use super::topics::make_anew;
use super::{Cluster, PATIENCE, consumer, unique, until, until_assigned, until_health};

const LIMIT: Duration = Duration::from_secs(10);

/// A source of so many partitions, and a copier to a topic of two.
pub async fn scene(cluster: &Cluster, partitions: i32) -> (String, ConsumerConfig, Copier) {
    let (topic, to) = (cluster.topic(partitions).await, cluster.topic(2).await);
    let letters = NewTopic::new(dead_letters_of(&to), 1);
    Admin::new(&cluster.config()).unwrap().create_topics(&[letters]).await.unwrap();
    let config = consumer(&unique("group"), &topic, Start::Earliest);
    let config = ConsumerConfig { cut_interval: Some(Duration::from_millis(50)), ..config };
    (topic, config, Copier::new(&to))
}

pub async fn stop(intake: Intake) {
    let farewell = intake.stop(LIMIT).await;
    assert!(farewell.committed, "{farewell:?}");
}

pub fn value(record: &OwnedMessage) -> String {
    String::from_utf8_lossy(record.payload().unwrap_or_default()).into_owned()
}

/// Partition and offset that a copy names.
pub fn origin(record: &OwnedMessage) -> (i32, i64) {
    let value = value(record);
    let (partition, offset) = value.split_once('/').unwrap();
    (partition.parse().unwrap(), offset.parse().unwrap())
}

/// Each event of the source is copied once, and those of one key and partition in their order.
pub fn assert_copied_once(cluster: &Cluster, to: &str, sources: &BTreeMap<i32, i64>) {
    let copies = everything(cluster, to, 2);
    let mut seen = BTreeSet::new();
    let mut last: BTreeMap<(Vec<u8>, i32), i64> = BTreeMap::new();
    for copy in &copies {
        let (partition, offset) = origin(copy);
        assert!(seen.insert((partition, offset)), "{partition}/{offset} is there twice");
        let key = (copy.key().unwrap_or_default().to_vec(), partition);
        let before = last.insert(key, offset);
        assert!(before.is_none_or(|before| before < offset), "{partition}/{offset} stands behind {before:?}");
    }
    let all: BTreeSet<(i32, i64)> =
        sources.iter().flat_map(|(partition, end)| (0..*end).map(|offset| (*partition, offset))).collect();
    let missing: Vec<_> = all.difference(&seen).collect();
    assert!(missing.is_empty() && seen.len() == all.len(), "missing: {missing:?}");
}

/// Records of few keys, so that lanes are long.
pub fn produce(cluster: &Cluster, topic: &str, partition: i32, values: &[&str]) {
    let mut config = rdkafka::ClientConfig::new();
    let producer: BaseProducer = config.set("bootstrap.servers", &cluster.bootstrap).create().unwrap();
    for (number, value) in values.iter().enumerate() {
        let key = format!("key-{}", number % 5);
        let record = BaseRecord::to(topic).partition(partition).key(&key).payload(*value);
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(PATIENCE).unwrap();
}

pub fn committed(cluster: &Cluster, config: &ConsumerConfig, topic: &str, partition: i32) -> i64 {
    cluster.committed_offset(&config.group, topic, partition).unwrap_or_default()
}

pub async fn each_event_leaves_its_record_once(cluster: &Cluster) {
    let (topic, config, copier) = scene(cluster, 2).await;
    for partition in 0..2 {
        produce(cluster, &topic, partition, &["a"; 500]);
    }
    let intake = copier.intake(cluster, config.clone());
    until("all is committed", || {
        (0..2).all(|partition| committed(cluster, &config, &topic, partition) == 500)
    })
    .await;
    assert_copied_once(cluster, &copier.to, &BTreeMap::from([(0, 500), (1, 500)]));
    let farewell = intake.stop(LIMIT).await;
    assert!(farewell.drained && farewell.committed, "{farewell:?}");
}

pub async fn what_a_stop_leaves_is_gone_on_from(cluster: &Cluster) {
    let (topic, config, mut copier) = scene(cluster, 1).await;
    copier.policy.run_events_max = 1;
    produce(cluster, &topic, 0, &["a"; 50]);
    copier.hold(0, 3);
    let intake = copier.intake(cluster, config.clone());
    // 3 and those behind it in its lane wait: 40 others end.
    until("the others are copied", || everything(cluster, &copier.to, 2).len() == 40).await;
    let farewell = intake.stop(Duration::from_millis(200)).await;
    assert!(farewell.committed && !farewell.drained, "{farewell:?}");
    assert_eq!(committed(cluster, &config, &topic, 0), 3, "the rest stands beside the offset");
    copier.release(0, 3);
    let before = copier.begun().len();
    let intake = copier.intake(cluster, config.clone());
    until("all is committed", || committed(cluster, &config, &topic, 0) == 50).await;
    assert_copied_once(cluster, &copier.to, &BTreeMap::from([(0, 50)]));
    stop(intake).await;
    let again: BTreeSet<_> = copier.begun().into_iter().skip(before).collect();
    let of_its_key: BTreeSet<_> = (3..50).step_by(5).map(|offset| (0, offset)).collect();
    assert_eq!(again, of_its_key, "what had ended is not begun again");
}

pub async fn a_dead_letter_is_written_once_with_the_progress(cluster: &Cluster) {
    let (topic, config, copier) = scene(cluster, 1).await;
    produce(cluster, &topic, 0, &["a"; 20]);
    copier.reject(0, 7);
    let intake = copier.intake(cluster, config.clone());
    until("all is committed", || committed(cluster, &config, &topic, 0) == 20).await;
    let letters = everything(cluster, &dead_letters_of(&copier.to), 1);
    assert_eq!(letters.iter().map(value).collect::<Vec<_>>(), ["a"]);
    assert_eq!(everything(cluster, &copier.to, 2).len(), 19);
    stop(intake).await;
}

pub async fn a_record_that_no_topic_takes_fails_its_event_alone(cluster: &Cluster) {
    let (topic, config, copier) = scene(cluster, 2).await;
    let mut values = ["a"; 30];
    values[11] = LARGE;
    produce(cluster, &topic, 0, &values);
    produce(cluster, &topic, 1, &["a"; 30]);
    let intake = copier.intake(cluster, config.clone());
    until("all is committed", || {
        (0..2).all(|partition| committed(cluster, &config, &topic, partition) == 30)
    })
    .await;
    let letters = everything(cluster, &dead_letters_of(&copier.to), 1);
    assert_eq!(letters.iter().map(value).collect::<Vec<_>>(), [LARGE]);
    let copies = everything(cluster, &copier.to, 2);
    let origins: BTreeSet<_> = copies.iter().map(origin).collect();
    assert_eq!((copies.len(), origins.len()), (59, 59), "each once");
    assert!(!origins.contains(&(0, 11)));
    stop(intake).await;
}

/// Where the policy wants an operator, the key of the event waits for one, and the others go on.
pub async fn a_record_that_no_topic_takes_follows_the_policy(cluster: &Cluster) {
    let (topic, config, mut copier) = scene(cluster, 1).await;
    copier.policy = Policy { then: Then::PauseLane, ..copier.policy };
    let mut values = ["a"; 30];
    values[11] = LARGE;
    produce(cluster, &topic, 0, &values);
    let intake = copier.intake(cluster, config.clone());
    // 11, 16, 21 and 26 are of one key.
    until("the others", || everything(cluster, &copier.to, 2).len() == 26).await;
    until("they are committed", || committed(cluster, &config, &topic, 0) == 11).await;
    until("the partition is taken anew", || copier.assignments() == 2).await;
    assert!(everything(cluster, &dead_letters_of(&copier.to), 1).is_empty());
    stop(intake).await;
}

/// What was refused was of an event of the former topic. The one at its offset in the new topic is another.
pub async fn what_was_refused_is_forgotten_with_its_topic(cluster: &Cluster) {
    let (topic, config, mut copier) = scene(cluster, 1).await;
    copier.policy = Policy { then: Then::PauseLane, ..copier.policy };
    produce(cluster, &topic, 0, &["a", "a", LARGE]);
    let intake = copier.intake(cluster, config.clone());
    until("the others are copied", || everything(cluster, &copier.to, 2).len() == 2).await;
    until("the partition is taken anew", || copier.assignments() == 2).await;
    make_anew(cluster, &topic).await;
    until("the new topic is taken", || copier.assignments() == 3).await;
    produce(cluster, &topic, 0, &["b"; 10]);
    until("all of it is copied", || everything(cluster, &copier.to, 2).len() == 12).await;
    until("all of it is committed", || committed(cluster, &config, &topic, 0) == 10).await;
    stop(intake).await;
}

/// A topic that is not there holds the handler up for a while, since it may come; not for ever.
pub async fn a_topic_that_is_not_there_fails_its_events_in_the_end(cluster: &Cluster) {
    let (topic, config, copier) = scene(cluster, 1).await;
    let mut values = ["a"; 20];
    values[3] = ASTRAY;
    values[9] = ASTRAY;
    produce(cluster, &topic, 0, &values);
    let intake = copier.intake(cluster, config.clone());
    let mut health = intake.health();
    let told = |told: &Health| matches!(told, Health::Assigned { cuts: Some(_), .. });
    let told = until_health(&mut health, "the trouble is told", told).await.to_string();
    assert!(told.contains("there is no such topic"), "{told}");
    // Other keys may have been cut before; 3 and what stands behind it in its lane cannot be.
    let before: BTreeSet<_> = everything(cluster, &copier.to, 2).iter().map(origin).collect();
    assert!((3..20).step_by(5).all(|offset| !before.contains(&(0, offset))), "{before:?}");
    assert!(everything(cluster, &dead_letters_of(&copier.to), 1).is_empty(), "it is not given up yet");
    let is_committed = || committed(cluster, &config, &topic, 0) == 20;
    tokio::time::timeout(Duration::from_secs(120), async {
        while !is_committed() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .unwrap();
    assert_eq!(everything(cluster, &copier.to, 2).len(), 18);
    let letters = everything(cluster, &dead_letters_of(&copier.to), 1);
    assert_eq!(letters.iter().map(value).collect::<Vec<_>>(), [ASTRAY, ASTRAY]);
    until_assigned(&intake, 1).await;
    stop(intake).await;
}

/// Members come and go while records come: each is copied once, in order.
pub async fn members_come_and_go(cluster: &Cluster, group_protocol: GroupProtocol) {
    const ROUNDS: i64 = 6;
    let (topic, config, copier) = scene(cluster, 4).await;
    let config = ConsumerConfig { group_protocol, ..config };
    let first = copier.intake(cluster, config.clone());
    until_assigned(&first, 4).await;
    let mut ends = BTreeMap::new();
    let mut other = None;
    for round in 1..=ROUNDS {
        for partition in 0..4 {
            produce(cluster, &topic, partition, &["a"; 200]);
            ends.insert(partition, round * 200);
        }
        match other.take() {
            None => other = Some(copier.intake(cluster, config.clone())),
            // One says goodbye, the next is only dropped.
            Some(member) if round % 4 == 0 => drop(member),
            Some(member) => drop(member.stop(LIMIT).await),
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let all = || (0..4).all(|partition| committed(cluster, &config, &topic, partition) == ROUNDS * 200);
    until("all is committed", all).await;
    assert_copied_once(cluster, &copier.to, &ends);
    stop(first).await;
}

pub async fn members_of_a_classic_group_come_and_go(cluster: &Cluster) {
    members_come_and_go(cluster, GroupProtocol::Classic).await;
}

/// A host that does not handle anything keeps its partitions, and commits nothing new by itself.
pub async fn an_idle_host_keeps_its_partitions_without_a_transaction(cluster: &Cluster) {
    let (topic, config, copier) = scene(cluster, 1).await;
    produce(cluster, &topic, 0, &["a"; 5]);
    let intake = copier.intake(cluster, config.clone());
    until("all is committed", || committed(cluster, &config, &topic, 0) == 5).await;
    // Longer than a session.
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert_eq!(copier.assignments(), 1, "the lease was never out");
    produce(cluster, &topic, 0, &["a"; 5]);
    until("the rest", || committed(cluster, &config, &topic, 0) == 10).await;
    assert_copied_once(cluster, &copier.to, &BTreeMap::from([(0, 10)]));
    stop(intake).await;
}
