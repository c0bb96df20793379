//! Partitions of a handler with a write database that move between members, while others take them away in
//! the database as well.

use std::time::Duration;

use keylane_engine::ClaimsError;
use keylane_kafka::{ConsumerConfig, GroupProtocol, Start};

use super::database::Database;
use super::{Cluster, Recorder, consumer, unique, until, until_assigned};

const LIMIT: Duration = Duration::from_secs(5);
const PARTITIONS: i32 = 4;
const ROUNDS: u32 = 3;
/// Of each partition, in each half of a round.
const EVENTS: u32 = 10;

/// Each event happens once, whoever has its partition, and however often it is overtaken, or the database
/// goes away.
pub async fn members_come_and_go_and_each_event_happens_once(
    cluster: &Cluster,
    group_protocol: GroupProtocol,
) {
    let (topic, database) = (cluster.topic(PARTITIONS).await, Database::new());
    let plain = consumer(&unique("group"), &topic, Start::Earliest);
    let config = ConsumerConfig { group_protocol, drain_limit: Duration::from_millis(500), ..plain };
    let steady = Recorder::beside(&database);
    let one = cluster.intake(config.clone(), &steady);
    until_assigned(&one, 4).await;
    let mut written = 0;
    let mut write = |database: &Database| {
        for partition in 0..PARTITIONS {
            cluster.produce(&topic, partition, written..written + EVENTS);
        }
        written += EVENTS;
        // Somebody who slept through its own replacement.
        database.overtake(i32::try_from(written).unwrap() % PARTITIONS);
        written
    };
    for _round in 0..ROUNDS {
        let passing = Recorder::beside(&database);
        // Events that wait, so that runs are out when partitions move.
        steady.close(0);
        write(&database);
        let other = cluster.intake(config.clone(), &passing);
        until_assigned(&other, 2).await;
        database.fail(Some(ClaimsError::Unavailable("connection refused".to_owned())));
        let so_far = write(&database);
        tokio::time::sleep(Duration::from_millis(300)).await;
        database.fail(None);
        steady.open(0);
        let expected: Vec<i64> = (0..i64::from(so_far)).collect();
        for partition in 0..PARTITIONS {
            until("all events so far", || database.effects(partition) == expected).await;
        }
        assert!(other.stop(LIMIT).await.left);
        until_assigned(&one, 4).await;
    }
    assert!(one.stop(LIMIT).await.committed);
    for partition in 0..PARTITIONS {
        assert_eq!(database.effects(partition), (0..i64::from(written)).collect::<Vec<_>>());
    }
}
