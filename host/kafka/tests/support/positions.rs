//! Positions that are checked by the leader of what was read.

use std::time::Duration;

use keylane_engine::LogPosition;
use keylane_kafka::{Health, Start};

use super::database::Database;
use super::{Cluster, Recorder, consumer, unique, until, until_health};

const LIMIT: Duration = Duration::from_secs(5);

/// Claims may follow the floor without a gap. What the leader is asked about is the floor, so that reading begins
/// there, and what has ended above is passed over.
pub async fn what_is_read_again_by_a_check_is_passed_over(cluster: &Cluster) {
    let (topic, group, database) = (cluster.topic(1).await, unique("group"), Database::new());
    let recorder = Recorder::beside(&database);
    let config = || consumer(&group, &topic, Start::Earliest);
    cluster.produce(&topic, 0, 0..600);
    let intake = cluster.intake(config(), &recorder);
    until("the events", || database.effects_count() == 600).await;
    assert!(intake.stop(LIMIT).await.committed);
    database.change(0, |stream| {
        let place = stream.position.unwrap();
        assert_eq!(place.offset, 600);
        stream.position = Some(LogPosition { offset: 4, ..place });
        (stream.floor, stream.claims) = (Some(4), (4..600).collect());
    });
    let intake = cluster.intake(config(), &recorder);
    cluster.produce(&topic, 0, 600..605);
    until("what came since", || database.effects_count() == 605).await;
    assert_eq!(database.effects(0), (0..605).collect::<Vec<_>>());
    assert_eq!(recorder.all_begun().last().unwrap().restored.base, 600);
    assert!(intake.stop(LIMIT).await.committed);
}

/// Behind the last record there were markers when it was read. Whoever writes there now is not passed over: the
/// log was cut. And where no leader is known the floor alone is compared with the log.
pub async fn a_record_where_none_was_stops_its_partition(cluster: &Cluster) {
    let (topic, group, database) = (cluster.topic(2).await, unique("group"), Database::new());
    let recorder = Recorder::beside(&database);
    let config = || consumer(&group, &topic, Start::Earliest);
    for partition in 0..2 {
        cluster.produce(&topic, partition, 0..10);
    }
    let intake = cluster.intake(config(), &recorder);
    until("the events", || database.effects_count() == 20).await;
    assert!(intake.stop(LIMIT).await.committed);
    database.change(0, |stream| {
        let place = stream.position.unwrap();
        stream.position = Some(LogPosition { offset: 7, ..place });
    });
    database.change(1, |stream| (stream.floor, stream.position) = (Some(12), None));
    let intake = cluster.intake(config(), &recorder);
    let both = |told: &Health| matches!(told, Health::Assigned { faulted, .. } if faulted.len() == 2);
    let told = until_health(&mut intake.health(), "both faults", both).await.to_string();
    assert!(told.contains("was cut below offset 10 and written on"), "{told}");
    assert!(told.contains("a record at 7, where none was read"), "{told}");
    assert!(told.contains("offset 12 is not in the log"), "{told}");
    intake.stop(LIMIT).await;
}
