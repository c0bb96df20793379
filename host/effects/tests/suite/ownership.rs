//! Ownership: who holds the epoch writes, nobody else does; starts are settled once.

use std::time::Duration;

use keylane_effects::{BeginError, DatabaseError, EndedAs, StreamKey};
use keylane_engine::TopicId;
use keylane_engine::{Epoch, Fence};

use super::{Ground, LONG, commit_event, did, kept, key, owner, take};

const TABLE: &str = "CREATE TABLE t (a BIGINT)";

/// The former owner's epoch is refused for runs and for pruning.
pub async fn a_former_epoch_is_refused(ground: &Ground) {
    let (here, there) = (&*ground.here, &*ground.there);
    let former = owner(here, TABLE).await;
    let taken = take(there).await;
    assert_eq!(taken.fence.stream, former.stream);
    assert_eq!(taken.fence.epoch.count, former.epoch.count + 1);
    assert!(matches!(here.begin(&former).await.err(), Some(BeginError::NotOwner)));
    assert!(matches!(here.raise_floor(&former, 5, None).await, Err(BeginError::NotOwner)));
    commit_event(there, &taken.fence, 0).await;
    assert_eq!(kept(there).await, [0]);
}

/// Counts repeat after a restore: the right count with another random number is refused.
pub async fn a_count_without_its_random_number_is_refused(ground: &Ground) {
    let database = &*ground.here;
    let fence = owner(database, TABLE).await;
    let epoch = Epoch { nonce: fence.epoch.nonce ^ 1, ..fence.epoch };
    let forged = Fence { epoch, ..fence };
    assert!(matches!(database.begin(&forged).await.err(), Some(BeginError::NotOwner)));
    let again = take(database).await.fence.epoch;
    assert_ne!(again.nonce, fence.epoch.nonce);
}

/// A take waits for an open run of the former owner and sees what it committed.
pub async fn a_take_waits_for_the_open_run_and_reads_its_claims(ground: &Ground) {
    let (here, there) = (&*ground.here, &*ground.there);
    let fence = owner(here, TABLE).await;
    let run = here.begin(&fence).await.unwrap();
    let run = did(here, run, "INSERT INTO t VALUES (1)", Vec::new()).await;
    let finishing = async {
        // Long enough for the take to be waiting; were it not waiting by then, it would wait all the same.
        tokio::time::sleep(Duration::from_millis(300)).await;
        let claims = [(9, EndedAs::Skipped), (4, EndedAs::Done), (7, EndedAs::DeadLettered)];
        run.finish(&[], &claims, LONG).await.unwrap();
        std::time::Instant::now()
    };
    let taking = async {
        let taken = take(there).await;
        (taken, std::time::Instant::now())
    };
    let (finished, (taken, taken_at)) = tokio::join!(finishing, taking);
    assert!(taken_at >= finished - Duration::from_millis(200), "the take did not wait");
    assert_eq!((taken.floor, taken.ended), (Some(0), vec![4, 7, 9]));
    assert!(matches!(here.begin(&fence).await.err(), Some(BeginError::NotOwner)));
}

/// Nothing is settled before it is settled, and then once: others hear what stands.
pub async fn a_start_is_settled_once(ground: &Ground) {
    let (here, there) = (&*ground.here, &*ground.there);
    assert_eq!(take(here).await.floor, None);
    let both = tokio::join!(
        here.settle_start(&key(), &[(0, 10), (1, 11)]),
        there.settle_start(&key(), &[(0, 20), (1, 21)])
    );
    let (one, other) = (both.0.unwrap(), both.1.unwrap());
    assert_eq!(one, other);
    assert!(one == [(0, 10), (1, 11)].into() || one == [(0, 20), (1, 21)].into(), "{one:?} is a mixture");
    assert_eq!(take(there).await.floor, one.get(&0).copied());
    let mut added = one.clone();
    added.insert(2, 0);
    let settled = there.settle_start(&key(), &[(0, 30), (1, 31), (2, 32)]).await.unwrap();
    assert_eq!(settled, added, "an added partition starts at 0");
}

/// A topic made again under its name starts at 0; another handler's is not affected.
pub async fn a_topic_made_again_starts_at_0(ground: &Ground) {
    let database = &*ground.here;
    database.settle_start(&key(), &[(0, 10)]).await.unwrap();
    let mut again = key();
    again.topic_id = TopicId::new([8; 16]);
    assert_eq!(database.settle_start(&again, &[(0, 99)]).await.unwrap(), [(0, 0)].into());
    let mut other = key();
    other.handler = "other".to_owned();
    assert_eq!(database.settle_start(&other, &[(0, 99)]).await.unwrap(), [(0, 99)].into());
    assert_eq!(database.settle_start(&key(), &[(0, 1)]).await.unwrap(), [(0, 10)].into());
}

/// A fleet that was renamed has no progress under its new name. It is told so, instead of doing everything again;
/// what it adopts it goes on with, and hosts that run on under the former name are overtaken and then refused.
pub async fn a_renamed_fleet_is_refused_until_it_adopts_the_progress(ground: &Ground) {
    let (here, there) = (&*ground.here, &*ground.there);
    let former = owner(here, TABLE).await;
    commit_event(here, &former, 0).await;
    let renamed = StreamKey { fleet: "renamed".to_owned(), ..key() };
    assert_eq!(there.take(&renamed, LONG).await.unwrap().floor, None);
    for _ in 0..2 {
        let refused = there.settle_start(&renamed, &[(0, 0)]).await.unwrap_err();
        assert!(matches!(refused, DatabaseError::OtherFleet { .. }) && !refused.can_retry(), "{refused:?}");
        let said = refused.to_string();
        assert!(said.contains("\"fleet\"") && said.contains("\"renamed\""), "{said}");
        assert!(said.contains("keylane adopt"), "{said}");
    }
    let other = StreamKey { handler: "other".to_owned(), ..renamed.clone() };
    assert_eq!(there.settle_start(&other, &[(0, 9)]).await.unwrap(), [(0, 9)].into(), "another handler's");

    there.adopt_progress("handler", "renamed").await.unwrap();
    assert_eq!(there.settle_start(&renamed, &[(0, 7)]).await.unwrap(), [(0, 0)].into());
    let taken = there.take(&renamed, LONG).await.unwrap();
    assert_eq!((taken.floor, taken.ended), (Some(0), vec![0]));
    assert!(matches!(here.begin(&former).await.err(), Some(BeginError::NotOwner)));
    assert_eq!(here.take(&key(), LONG).await.unwrap().floor, None);
    let refused = here.settle_start(&key(), &[(0, 0)]).await.unwrap_err();
    assert!(matches!(refused, DatabaseError::OtherFleet { .. }), "{refused:?}");

    // The former name has left a number without progress, which must not be in a third one's way.
    there.adopt_progress("handler", "third").await.unwrap();
    let third = StreamKey { fleet: "third".to_owned(), ..key() };
    assert_eq!(there.settle_start(&third, &[(0, 7)]).await.unwrap(), [(0, 0)].into());
    assert_eq!(there.take(&third, LONG).await.unwrap().ended, [0]);
}

/// Both hosts see the same database, and it keeps its identity.
pub async fn the_identity_is_the_databases_own(ground: &Ground) {
    assert_eq!(ground.here.identity(), ground.there.identity());
    assert_eq!(ground.here.identity().database.len(), 32);
}

/// A database is the one of the first Kafka cluster that used it.
pub async fn another_cluster_is_refused(ground: &Ground) {
    ground.here.bind_cluster("one").await.unwrap();
    ground.there.bind_cluster("one").await.unwrap();
    let refused = ground.there.bind_cluster("two").await.unwrap_err();
    assert!(matches!(refused, DatabaseError::OtherCluster { .. }) && !refused.can_retry(), "{refused:?}");
    let said = refused.to_string();
    assert!(said.contains("\"one\"") && said.contains("\"two\""), "{said}");
    ground.here.bind_cluster("one").await.unwrap();
}
