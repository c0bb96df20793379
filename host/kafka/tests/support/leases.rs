//! The proof of life where brokers answer: what has one keeps its partitions.

use std::sync::Arc;
use std::time::Duration;

use keylane_kafka::{ConsumerConfig, Intake, Start};
use tokio::runtime::Handle;

use super::clock::TurnedClock;
use super::{Cluster, PATIENCE, Recorder, consumer, meters, unique, until, until_assigned};

const LIMIT: Duration = Duration::from_secs(5);
/// Of the tests' consumers.
pub const SESSION: Duration = Duration::from_secs(6);

/// An intake whose lease counts by this clock.
pub fn start(
    cluster: &Cluster,
    config: ConsumerConfig,
    recorder: &Recorder,
    clock: &Arc<TurnedClock>,
) -> Intake {
    let (owners, claims) = (recorder.owners(), recorder.claims());
    Intake::start_with(&cluster.config(), config, owners, claims, Handle::current(), clock.clone()).unwrap()
}

pub async fn an_idle_host_keeps_its_partitions(cluster: &Cluster) {
    meters::install();
    let (topic, group) = (cluster.topic(1).await, unique("group"));
    let (recorder, clock) = (Recorder::new(), TurnedClock::new());
    let intake = start(cluster, consumer(&group, &topic, Start::Earliest), &recorder, &clock);
    until_assigned(&intake, 1).await;
    let label = format!("group={group}");
    let commits = || meters::count("keylane_kafka_commits_total", &[&label, "outcome=ok"]);
    for _ in 0..6 {
        let before = commits();
        clock.turn_on(SESSION * 2 / 5);
        until("another proof of life", || commits() > before).await;
    }
    assert_eq!(recorder.assignments(), 1, "six times two fifths of a session, and never given up");
    assert_eq!(meters::count("keylane_kafka_leases_expired_total", &[&label]), 0);
    let idle = commits();
    // Many commit intervals pass, and by the clock no time at all: nothing is to be said.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(commits(), idle, "unchanged progress is not committed all the time");
    assert!(intake.stop(LIMIT).await.committed);
}

pub async fn a_long_drain_keeps_the_proof_of_life(cluster: &Cluster) {
    meters::install();
    let (topic, group) = (cluster.topic(1).await, unique("group"));
    let (recorder, clock) = (Recorder::new(), TurnedClock::new());
    cluster.produce(&topic, 0, 0..1);
    recorder.close(0);
    let intake = start(cluster, consumer(&group, &topic, Start::Earliest), &recorder, &clock);
    until("the event at work", || recorder.begun() == 1).await;
    let stopping = tokio::spawn(intake.stop(PATIENCE));
    let label = format!("group={group}");
    let commits = || meters::count("keylane_kafka_commits_total", &[&label, "outcome=ok"]);
    for _ in 0..4 {
        let before = commits();
        clock.turn_on(SESSION * 2 / 5);
        until("another proof of life", || commits() > before).await;
    }
    recorder.open(0);
    let farewell = stopping.await.unwrap();
    assert!(farewell.drained && farewell.committed, "{farewell:?}");
    assert_eq!(recorder.count(), 1, "what ran was not broken off");
    assert_eq!(cluster.committed_offset(&group, &topic, 0), Some(1));
}
