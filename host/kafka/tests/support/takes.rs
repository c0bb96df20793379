//! Partitions of a handler with a write database: taken there before they are read, and where the database
//! says.

use std::time::Duration;

use keylane_engine::ClaimsError;
use keylane_kafka::{Health, Start};
use rdkafka::admin::{AdminOptions, NewPartitions};

use super::clock::TurnedClock;
use super::database::Database;
use super::leases::{SESSION, start};
use super::topics::{admin, make_anew};
use super::{Cluster, Recorder, consumer, unique, until, until_assigned, until_health};

const LIMIT: Duration = Duration::from_secs(5);

fn offsets(to: i64) -> Vec<i64> {
    (0..to).collect()
}

/// The commit is a report: whatever it is set to, or if it is gone, the database says where to go on.
pub async fn no_commit_of_the_group_moves_the_progress(cluster: &Cluster) {
    let (topic, group, database) = (cluster.topic(1).await, unique("group"), Database::new());
    let config = || consumer(&group, &topic, Start::Earliest);
    cluster.produce(&topic, 0, 0..10);
    let recorder = Recorder::beside(&database);
    let intake = cluster.intake(config(), &recorder);
    let report = (10, database.payload());
    until("the report", || cluster.committed(&group, &topic, 0) == Some(report.clone())).await;
    assert!(intake.stop(LIMIT).await.committed);
    for (offset, metadata) in [(3, ""), (8, "another tool's words"), (10, "")] {
        cluster.commit(&group, &topic, 0, offset, metadata);
        let intake = cluster.intake(config(), &recorder);
        until("the report", || cluster.committed(&group, &topic, 0) == Some(report.clone())).await;
        assert!(intake.stop(LIMIT).await.committed);
        assert_eq!(recorder.all_begun().last().unwrap().restored.base, 10);
    }
    // As after the group's offsets have expired.
    let other = unique("group");
    cluster.produce(&topic, 0, 10..12);
    let intake = cluster.intake(consumer(&other, &topic, Start::Latest), &recorder);
    until("the rest", || cluster.committed_offset(&other, &topic, 0) == Some(12)).await;
    assert!(intake.stop(LIMIT).await.committed);
    assert_eq!(database.effects(0), offsets(12));
    assert!(recorder.all_begun().iter().all(|begun| begun.fence.is_some()));
}

pub async fn the_database_settles_all_starts_at_once(cluster: &Cluster) {
    let (topic, group, database) = (cluster.topic(4).await, unique("group"), Database::new());
    for partition in 0..4 {
        cluster.produce(&topic, partition, 0..5);
    }
    let config = || consumer(&group, &topic, Start::Latest);
    let (first, second) = (Recorder::beside(&database), Recorder::beside(&database));
    let one = cluster.intake(config(), &first);
    let other = cluster.intake(config(), &second);
    until_assigned(&one, 2).await;
    until_assigned(&other, 2).await;
    let offers = database.offers();
    assert_eq!(offers.first().unwrap(), &[(0, 5), (1, 5), (2, 5), (3, 5)], "{offers:?}");
    assert!(one.stop(LIMIT).await.committed && other.stop(LIMIT).await.committed);
    // Written while nobody listens, and the group's commits are not what tells where to begin.
    cluster.produce(&topic, 2, 5..8);
    let intake = cluster.intake(consumer(&unique("group"), &topic, Start::Latest), &first);
    until("what came since the first start", || database.effects_count() == 3).await;
    assert_eq!(database.effects(2), [5, 6, 7]);
    assert!(intake.stop(LIMIT).await.committed);
}

pub async fn a_partition_added_later_is_taken_from_its_beginning(cluster: &Cluster) {
    let (topic, group, database) = (cluster.topic(1).await, unique("group"), Database::new());
    cluster.produce(&topic, 0, 0..5);
    let recorder = Recorder::beside(&database);
    let intake = cluster.intake(consumer(&group, &topic, Start::Latest), &recorder);
    until_assigned(&intake, 1).await;
    let more = [NewPartitions::new(&topic, 2)];
    let made = admin(cluster).create_partitions(&more, &AdminOptions::new()).await.unwrap();
    made.into_iter().next().unwrap().unwrap();
    cluster.produce(&topic, 1, 0..4);
    until("the new partition from its beginning", || database.effects(1) == offsets(4)).await;
    assert!(database.effects(0).is_empty(), "the old one still starts where it was settled");
    assert!(intake.stop(LIMIT).await.committed);
}

/// A handler that gets a database goes on where it was without one.
pub async fn what_was_committed_without_a_database_is_gone_on_from(cluster: &Cluster) {
    let (topic, group, database) = (cluster.topic(3).await, unique("group"), Database::new());
    for partition in 0..3 {
        cluster.produce(&topic, partition, 0..10);
    }
    cluster.commit(&group, &topic, 0, 4, "");
    cluster.commit(&group, &topic, 1, 10, "");
    let recorder = Recorder::beside(&database);
    let intake = cluster.intake(consumer(&group, &topic, Start::Latest), &recorder);
    until("the rest", || database.effects_count() == 16).await;
    let offered = [(0, 4), (1, 10), (2, 0)];
    assert!(database.offers().iter().all(|offer| *offer == offered), "one without a commit was added later");
    assert_eq!((database.effects(0), database.effects(2)), ((4..10).collect(), offsets(10)));
    assert!(intake.stop(LIMIT).await.committed);
}

/// What was done since the backup is as if it had not been: the group's commit, which was made beside this
/// database, is not gone on from, and neither is the end of the topic where it is now.
pub async fn a_database_set_back_to_before_its_first_event_loses_none(cluster: &Cluster) {
    let (topic, group, database) = (cluster.topic(2).await, unique("group"), Database::new());
    let recorder = Recorder::beside(&database);
    let config = || consumer(&group, &topic, Start::Latest);
    let intake = cluster.intake(config(), &recorder);
    until_assigned(&intake, 2).await;
    cluster.produce(&topic, 0, 0..10);
    until("the report", || cluster.committed(&group, &topic, 0) == Some((10, database.payload()))).await;
    assert!(intake.stop(LIMIT).await.committed);
    database.set_back();
    let intake = cluster.intake(config(), &recorder);
    until("all events again", || database.effects(0) == offsets(10)).await;
    assert_eq!(database.offers().last().unwrap(), &[(0, 0), (1, 0)]);
    assert!(intake.stop(LIMIT).await.committed);
}

pub async fn a_commit_beside_another_database_is_refused(cluster: &Cluster) {
    let (topic, group) = (cluster.topic(2).await, unique("group"));
    let (database, other) = (Database::new(), Database::new());
    let config = || consumer(&group, &topic, Start::Earliest);
    let recorder = Recorder::beside(&database);
    let intake = cluster.intake(config(), &recorder);
    until_assigned(&intake, 2).await;
    until("reports", || cluster.committed(&group, &topic, 1) == Some((0, database.payload()))).await;
    assert!(intake.stop(LIMIT).await.committed);
    cluster.produce(&topic, 0, 0..3);
    cluster.produce(&topic, 1, 0..3);

    // The wrong one knows nothing yet: it must not settle anything, nor be written to.
    let mistaken = Recorder::beside(&other);
    let intake = cluster.intake(config(), &mistaken);
    let both = |told: &Health| matches!(told, Health::Assigned { faulted, .. } if faulted.len() == 2);
    let told = until_health(&mut intake.health(), "both refused", both).await.to_string();
    assert!(told.contains(database.id()) && told.contains(other.id()), "{told}");
    let looks = intake.looker().look().await;
    assert!(looks.iter().all(|look| look.phase == "faulted" && look.fault.is_some()), "{looks:?}");
    intake.stop(LIMIT).await;
    assert!(other.offers().is_empty() && other.takes() == 0 && mistaken.assignments() == 0);

    // One partition's commit alone does not stop the other.
    cluster.commit(&group, &topic, 0, 0, &other.payload());
    let intake = cluster.intake(config(), &recorder);
    let one = |told: &Health| matches!(told, Health::Assigned { faulted, .. } if faulted.len() == 1);
    until_health(&mut intake.health(), "one refused", one).await;
    until("the other partition", || database.effects(1) == offsets(3)).await;
    assert!(database.effects(0).is_empty());
    intake.stop(LIMIT).await;
    assert_eq!(cluster.committed(&group, &topic, 0), Some((0, other.payload())), "left for the operator");
}

/// While the database is away nothing is read and nobody is charged; health says why.
pub async fn a_database_that_is_away_is_waited_for(cluster: &Cluster) {
    let (topic, group, database) = (cluster.topic(2).await, unique("group"), Database::new());
    cluster.produce(&topic, 0, 0..5);
    let away = || Some(ClaimsError::Unavailable("connection refused".to_owned()));
    database.fail(away());
    let recorder = Recorder::beside(&database);
    let intake = cluster.intake(consumer(&group, &topic, Start::Earliest), &recorder);
    let waits = |told: &Health| matches!(told, Health::Assigned { waiting: 2, database: Some(_), .. });
    let told = until_health(&mut intake.health(), "the reason", waits).await.to_string();
    assert!(told.contains("connection refused"), "{told}");
    assert_eq!(recorder.assignments(), 0);
    database.fail(None);
    until("the events", || database.effects(0) == offsets(5)).await;
    until_assigned(&intake, 2).await;

    // It goes away while an event is at work, and comes back.
    database.fail(away());
    cluster.produce(&topic, 0, 5..8);
    until_health(&mut intake.health(), "the reason", |told| {
        matches!(told, Health::Assigned { waiting: 1, database: Some(_), .. })
    })
    .await;
    database.fail(None);
    until("the rest", || database.effects(0) == offsets(8)).await;
    until_assigned(&intake, 2).await;
    let told = intake.health().borrow().to_string();
    assert_eq!(told, "2 partitions");
    assert!(intake.stop(LIMIT).await.committed);
}

/// The polling thread goes on while a take hangs: the group is answered, and the take is given up with its
/// partition.
pub async fn a_revoked_partition_drops_its_take(cluster: &Cluster) {
    let (topic, group, database) = (cluster.topic(2).await, unique("group"), Database::new());
    for partition in 0..2 {
        cluster.produce(&topic, partition, 0..5);
    }
    let config = || consumer(&group, &topic, Start::Earliest);
    let (first, second) = (Recorder::beside(&database), Recorder::beside(&database));
    first.connection().close();
    let one = cluster.intake(config(), &first);
    // Both partitions wait for the settling of their topic, and later each for its take.
    until("a question that hangs", || first.connection().waiting() == 1).await;
    let other = cluster.intake(config(), &second);
    until_assigned(&other, 1).await;
    until("its events", || database.effects_count() == 5).await;
    assert!(one.pulse().turn_age().unwrap() < Duration::from_secs(5), "the thread turns");
    first.connection().open();
    until_assigned(&one, 1).await;
    until("all events", || database.effects_count() == 10).await;

    first.connection().close();
    assert!(other.stop(LIMIT).await.committed);
    until("the take of what is new", || first.connection().waiting() == 1).await;
    let (takes, third) = (database.takes(), Recorder::beside(&database));
    let last = cluster.intake(config(), &third);
    until_assigned(&last, 1).await;
    until("the dropped take", || first.connection().waiting() == 0).await;
    first.connection().open();
    cluster.produce(&topic, 0, 5..7);
    cluster.produce(&topic, 1, 5..7);
    until("the later events", || database.effects_count() == 14).await;
    assert_eq!(database.takes(), takes + 1, "what was given up takes nothing away");
    assert_eq!((database.effects(0), database.effects(1)), (offsets(7), offsets(7)));
    assert!(one.stop(LIMIT).await.committed && last.stop(LIMIT).await.committed);
}

/// A take that is answered when the proof of life is out counts for nothing.
pub async fn a_take_that_outlives_the_lease_is_repeated(cluster: &Cluster) {
    let (topic, group, database) = (cluster.topic(1).await, unique("group"), Database::new());
    cluster.produce(&topic, 0, 0..5);
    let (recorder, clock) = (Recorder::beside(&database), TurnedClock::new());
    let config = || consumer(&group, &topic, Start::Earliest);
    let intake = start(cluster, config(), &recorder, &clock);
    until("the events", || database.effects_count() == 5).await;
    assert!(intake.stop(LIMIT).await.committed);
    let takes = database.takes();
    recorder.connection().close();
    let intake = start(cluster, config(), &recorder, &clock);
    until("the take that hangs", || recorder.connection().waiting() == 1).await;
    clock.turn_on(SESSION);
    recorder.connection().open();
    until_assigned(&intake, 1).await;
    assert_eq!(database.takes(), takes + 2);
    assert_eq!(recorder.assignments(), 2, "no owner begins without proof");
    cluster.produce(&topic, 0, 5..6);
    until("the next event", || database.effects(0) == offsets(6)).await;
    assert!(intake.stop(LIMIT).await.committed);
}

/// What the database says of the former topic says nothing of the new one.
pub async fn a_topic_made_anew_during_its_take_is_taken_under_its_new_id(cluster: &Cluster) {
    let (topic, group, database) = (cluster.topic(1).await, unique("group"), Database::new());
    cluster.produce(&topic, 0, 0..5);
    let recorder = Recorder::beside(&database);
    let config = || consumer(&group, &topic, Start::Latest);
    let intake = cluster.intake(config(), &recorder);
    until_assigned(&intake, 1).await;
    assert!(intake.stop(LIMIT).await.committed);
    recorder.connection().close();
    let intake = cluster.intake(config(), &recorder);
    until("the take that hangs", || recorder.connection().waiting() == 1).await;
    make_anew(cluster, &topic).await;
    cluster.produce(&topic, 0, 100..108);
    // Longer than the ids are believed.
    tokio::time::sleep(Duration::from_secs(6)).await;
    recorder.connection().open();
    until("all of the new topic", || database.effects(0) == offsets(8)).await;
    let begun = recorder.all_begun();
    assert_eq!(begun.len(), 2, "the take of the former topic came to nothing");
    assert_ne!(begun.first().unwrap().topic_id, begun.last().unwrap().topic_id);
    assert!(intake.stop(LIMIT).await.committed);
}

/// A partition that another one took is dropped and taken anew, and its events happen once.
pub async fn an_overtaken_partition_is_taken_anew(cluster: &Cluster) {
    let (topic, group, database) = (cluster.topic(2).await, unique("group"), Database::new());
    let recorder = Recorder::beside(&database);
    cluster.produce(&topic, 0, 0..5);
    let intake = cluster.intake(consumer(&group, &topic, Start::Earliest), &recorder);
    until("the first events", || database.effects_count() == 5).await;
    until_assigned(&intake, 2).await;
    for round in 1..4 {
        database.overtake(0);
        let from = u32::try_from(database.effects_count()).unwrap();
        cluster.produce(&topic, 0, from..from + 5);
        until("the events under the new epoch", || database.effects(0) == offsets(5 * (round + 1))).await;
    }
    let begun = recorder.all_begun();
    let of = |partition| begun.iter().filter(|one| one.partition.partition == partition).count();
    assert_eq!((of(0), of(1)), (4, 1), "the other partition goes on under its first owner");
    assert!(intake.stop(LIMIT).await.committed);
    assert_eq!(cluster.committed(&group, &topic, 0), Some((20, database.payload())));
}

/// A commit of the database that was not acknowledged has gone through: its events are not repeated.
pub async fn after_a_commit_in_doubt_the_claims_tell(cluster: &Cluster) {
    let (topic, group, database) = (cluster.topic(1).await, unique("group"), Database::new());
    let recorder = Recorder::beside(&database);
    let intake = cluster.intake(consumer(&group, &topic, Start::Earliest), &recorder);
    until_assigned(&intake, 1).await;
    database.lose_acknowledgements(2);
    cluster.produce(&topic, 0, 0..30);
    until("everything, once", || database.effects_count() == 30).await;
    until("the report", || cluster.committed_offset(&group, &topic, 0) == Some(30)).await;
    assert_eq!(database.effects(0), offsets(30));
    assert!(recorder.assignments() > 1);
    assert!(intake.stop(LIMIT).await.committed);
}

/// A log that ends before what the database has as ended was cut. Nothing is read that claims of other
/// records would hide.
pub async fn a_log_that_ends_before_the_claims_stops_its_partition(cluster: &Cluster) {
    let (topic, group, database) = (cluster.topic(3).await, unique("group"), Database::new());
    let recorder = Recorder::beside(&database);
    let config = || consumer(&group, &topic, Start::Earliest);
    for partition in 0..3 {
        cluster.produce(&topic, partition, 0..10);
    }
    let intake = cluster.intake(config(), &recorder);
    until("the events", || database.effects_count() == 30).await;
    assert!(intake.stop(LIMIT).await.committed);
    // One that ended far above, a floor above the end, and one where claims just reach the end.
    database.change(0, |stream| stream.claims.extend([14]));
    database.change(1, |stream| stream.floor = Some(12));
    database.change(2, |stream| {
        stream.floor = Some(4);
        stream.claims = (6..10).collect();
    });
    let intake = cluster.intake(config(), &recorder);
    let two = |told: &Health| matches!(told, Health::Assigned { faulted, .. } if faulted.len() == 2);
    let told = until_health(&mut intake.health(), "both faults", two).await.to_string();
    assert!(told.contains("up to offset 14 have ended, but the log ends at 10"), "{told}");
    assert!(told.contains("up to offset 11 have ended, but the log ends at 10"), "{told}");
    assert!(told.contains("in the handler's database") && !told.contains("reset-offsets"), "{told}");
    for partition in 0..2 {
        cluster.produce(&topic, partition, 10..20);
    }
    let twice = [0, 1, 2, 3, 4, 4, 5, 5, 6, 7, 8, 9];
    until("what had not ended of the third", || database.effects(2) == twice).await;
    assert_eq!((database.effects(0).len(), database.effects(1).len()), (10, 10));
    intake.stop(LIMIT).await;
}

/// More than are taken at once.
pub async fn many_partitions_are_all_taken(cluster: &Cluster) {
    let (topic, group, database) = (cluster.topic(40).await, unique("group"), Database::new());
    let recorder = Recorder::beside(&database);
    let intake = cluster.intake(consumer(&group, &topic, Start::Earliest), &recorder);
    until_assigned(&intake, 40).await;
    assert_eq!((database.takes(), database.offers().len()), (40, 1));
    assert!(intake.stop(LIMIT).await.committed);
    recorder.connection().close();
    let intake = cluster.intake(consumer(&group, &topic, Start::Earliest), &recorder);
    until("as many takes as there may be at once", || recorder.connection().waiting() == 16).await;
    recorder.connection().open();
    until_assigned(&intake, 40).await;
    assert!(intake.stop(LIMIT).await.committed);
}

/// What the database refuses is for an operator, and goes on when it no longer does.
pub async fn what_the_database_refuses_is_told_as_a_fault(cluster: &Cluster) {
    let (topic, group, database) = (cluster.topic(1).await, unique("group"), Database::new());
    cluster.produce(&topic, 0, 0..3);
    database.fail(Some(ClaimsError::Refused("it belongs to another cluster".to_owned())));
    let recorder = Recorder::beside(&database);
    let intake = cluster.intake(consumer(&group, &topic, Start::Earliest), &recorder);
    let told = until_health(
        &mut intake.health(),
        "the refusal",
        |told| matches!(told, Health::Assigned { waiting: 0, faulted, .. } if faulted.len() == 1),
    )
    .await;
    assert!(told.to_string().contains("another cluster"), "{told}");
    database.fail(None);
    until("the events", || database.effects(0) == offsets(3)).await;
    until_assigned(&intake, 1).await;
    assert!(intake.stop(LIMIT).await.committed);
}

/// Neither a stop nor a drop waits for a take.
pub async fn a_take_that_hangs_holds_no_goodbye_up(cluster: &Cluster) {
    let (topic, group, database) = (cluster.topic(1).await, unique("group"), Database::new());
    let recorder = Recorder::beside(&database);
    let config = || consumer(&group, &topic, Start::Earliest);
    recorder.connection().close();
    for drops in [false, true] {
        let intake = cluster.intake(config(), &recorder);
        until("a question that hangs", || recorder.connection().waiting() == 1).await;
        if drops {
            drop(intake);
        } else {
            let farewell = intake.stop(LIMIT).await;
            assert!(farewell.drained && farewell.left, "{farewell:?}");
        }
        until("the question given up", || recorder.connection().waiting() == 0).await;
    }
    recorder.connection().open();
    let intake = cluster.intake(config(), &recorder);
    until_assigned(&intake, 1).await;
    assert!(intake.stop(LIMIT).await.committed);
}
