//! A handler in cuts whose records are refused: that stops the events they are of, or their partition for a while,
//! and nobody else.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use keylane_engine::{LaneRule, Policy};
use keylane_kafka::{Admin, ConsumerConfig, NewTopic, Start};

use super::copier::{ASTRAY, Copier, LARGE, dead_letters_of};
use super::cuts::{committed, origin, produce, scene, stop, value};
use super::letters::everything;
use super::{Cluster, consumer, unique, until};

/// Waits for what takes longer than anything else here.
async fn at_length(holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(120), "not in time");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// With one slot and one lane a run has many events, and the refused one stands behind others.
pub async fn a_record_that_no_topic_takes_fails_its_event_in_the_midst_of_a_run(cluster: &Cluster) {
    let (topic, config, mut copier) = scene(cluster, 1).await;
    (copier.slots, copier.lanes) = (1, LaneRule::Partition);
    let mut values = ["a"; 30];
    (values[11], values[17]) = (LARGE, LARGE);
    produce(cluster, &topic, 0, &values);
    let intake = copier.intake(cluster, config.clone());
    until("all is committed", || committed(cluster, &config, &topic, 0) == 30).await;
    let letters = everything(cluster, &dead_letters_of(&copier.to), 1);
    assert_eq!(letters.iter().map(value).collect::<Vec<_>>(), [LARGE, LARGE]);
    let copies = everything(cluster, &copier.to, 2);
    let origins: BTreeSet<_> = copies.iter().map(origin).collect();
    assert_eq!((copies.len(), origins.len()), (28, 28), "each once");
    stop(intake).await;
}

/// Between the tries the other partitions go on; when they are over, what comes later for that topic waits for
/// nothing any more.
pub async fn a_topic_that_is_not_there_holds_up_its_own_partition_alone(cluster: &Cluster) {
    let (topic, config, copier) = scene(cluster, 2).await;
    produce(cluster, &topic, 0, &["a", ASTRAY, "a"]);
    let intake = copier.intake(cluster, config.clone());
    for round in 1..=3 {
        produce(cluster, &topic, 1, &["a"; 10]);
        until("the other partition", || committed(cluster, &config, &topic, 1) == round * 10).await;
    }
    let letters = || everything(cluster, &dead_letters_of(&copier.to), 1).len();
    assert_eq!((committed(cluster, &config, &topic, 0), letters()), (0, 0), "the topic may come yet");
    at_length(|| committed(cluster, &config, &topic, 0) == 3).await;
    let begun = Instant::now();
    for round in 1..=4 {
        produce(cluster, &topic, 0, &[ASTRAY]);
        at_length(|| committed(cluster, &config, &topic, 0) == 3 + round).await;
    }
    assert!(begun.elapsed() < Duration::from_secs(60), "each waited: {:?}", begun.elapsed());
    assert_eq!((letters(), everything(cluster, &copier.to, 2).len()), (5, 32));
    stop(intake).await;
}

/// A letter is not given up: its partition waits until its topic is there, and the others go on.
pub async fn a_letter_whose_topic_is_not_there_holds_up_its_own_partition_alone(cluster: &Cluster) {
    let (topic, to) = (cluster.topic(2).await, cluster.topic(2).await);
    let config = consumer(&unique("group"), &topic, Start::Earliest);
    let config = ConsumerConfig { cut_interval: Some(Duration::from_millis(50)), ..config };
    let mut copier = Copier::new(&to);
    copier.policy = Policy { attempts_max: 1, ..copier.policy };
    // The first of its lane: what stands before a letter may be cut by itself.
    copier.reject(0, 0);
    produce(cluster, &topic, 0, &["a"; 10]);
    let intake = copier.intake(cluster, config.clone());
    for round in 1..=3 {
        produce(cluster, &topic, 1, &["a"; 10]);
        until("the other partition", || committed(cluster, &config, &topic, 1) == round * 10).await;
    }
    assert_eq!(committed(cluster, &config, &topic, 0), 0);
    let letters = NewTopic::new(dead_letters_of(&to), 1);
    Admin::new(&cluster.config()).unwrap().create_topics(&[letters]).await.unwrap();
    until("its letter is there", || committed(cluster, &config, &topic, 0) == 10).await;
    let letters = everything(cluster, &dead_letters_of(&to), 1).len();
    assert_eq!((letters, everything(cluster, &to, 2).len()), (1, 39));
    stop(intake).await;
}
