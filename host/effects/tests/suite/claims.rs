//! The engine's port to progress over the database: what the intake and the owner see of it.

use std::sync::Arc;

use keylane_effects::{ClaimsConfig, Database, EndedAs, HandlerClaims};
use keylane_engine::{
    Claims, ClaimsError, DeadLetter, Event, FailureClass, Fence, GapSet, LogPosition, OutgoingRecord,
    TopicId, TopicPartition,
};

use super::{Ground, LONG, kept, migrate};

const TABLE: &str = "CREATE TABLE t (a BIGINT)";
const ID: TopicId = TopicId::new([7; 16]);

/// A handler's, of this cluster.
pub fn claims(database: &Arc<dyn Database>, cluster: &str) -> HandlerClaims {
    let letters = Arc::new(|letter: &DeadLetter| OutgoingRecord {
        topic: "dead".to_owned(),
        key: letter.event.key.clone(),
        value: letter.event.value.clone(),
        headers: Vec::new(),
    });
    HandlerClaims::new(database.clone(), ClaimsConfig::new("fleet", "handler", cluster), letters)
}

fn partition() -> TopicPartition {
    TopicPartition { topic: "orders".into(), partition: 0 }
}

/// The letter of an event.
pub fn letter(offset: i64) -> DeadLetter {
    let event = Event {
        source: partition(),
        offset,
        timestamp: None,
        key: Some("key".into()),
        value: None,
        headers: Vec::new(),
    };
    let (class, reason) = (FailureClass::Retry, "it would not".to_owned());
    DeadLetter { event: Arc::new(event), attempts: 8, class, reason, first_failure_ms: 1 }
}

/// Takes a partition from its third event on.
pub async fn owner(claims: &HandlerClaims) -> Fence {
    claims.settle("orders", ID, &[(0, 3)]).await.unwrap();
    claims.take(&partition(), ID).await.unwrap().unwrap().fence
}

/// Nothing to hold before the start is settled; then the floor and what is claimed above it.
pub async fn a_partition_is_taken_where_it_stands(ground: &Ground) {
    let claims = claims(&ground.here, "cluster");
    assert_eq!(claims.database(), ground.here.identity().database);
    assert_eq!(claims.take(&partition(), ID).await.unwrap(), None);
    assert_eq!(claims.settle("orders", ID, &[(0, 3), (1, 9)]).await.unwrap(), [(0, 3), (1, 9)].into());
    let hold = claims.take(&partition(), ID).await.unwrap().unwrap();
    assert_eq!(hold.restored, GapSet::at(3));
    for offset in [3, 5, 6] {
        claims.skip(hold.fence, offset).await.unwrap();
    }
    let hold = claims.take(&partition(), ID).await.unwrap().unwrap();
    assert_eq!(hold.restored, GapSet { base: 4, ended: std::iter::once(5..7).collect() });
    let position = Some(LogPosition { offset: 6, leader_epoch: 2 });
    assert!(!claims.raise_floor(hold.fence, 7, position).await.unwrap());
    let hold = claims.take(&partition(), ID).await.unwrap().unwrap();
    assert_eq!((hold.restored, hold.position), (GapSet::at(7), position));
}

/// A letter that is buried again, or was done meanwhile, is left as it is.
pub async fn a_letter_is_buried_once(ground: &Ground) {
    migrate(&*ground.here, TABLE).await;
    let claims = claims(&ground.here, "cluster");
    let fence = owner(&claims).await;
    for offset in [4, 4] {
        claims.bury(fence, letter(offset)).await.unwrap();
    }
    assert_eq!(ground.here.ended(&fence, &[3, 4, 5]).await.unwrap(), [4], "a letter is an ending");
    super::commit_event(&*ground.there, &fence, 5).await;
    claims.bury(fence, letter(5)).await.unwrap();
    claims.skip(fence, 4).await.unwrap();
    assert_eq!(kept(&*ground.here).await, [5]);
    assert_eq!(ground.here.ended(&fence, &[3, 4, 5]).await.unwrap(), [4, 5]);
    let outbox = ground.here.clone().outbox().list(false, 10).await.unwrap();
    let left: Vec<_> = outbox.iter().map(|one| (one.row.event_offset, one.row.topic.as_str())).collect();
    assert_eq!(left, [(4, "dead")], "one record, and none of what was done");
}

/// The claims tell how each event ended, also where no run has ended it. `claimed` reads offsets and endings.
pub async fn an_ending_is_claimed_as_what_it_is(
    ground: &Ground,
    claimed: impl AsyncFnOnce() -> Vec<(i64, i64)>,
) {
    let claims = claims(&ground.here, "cluster");
    let fence = owner(&claims).await;
    claims.bury(fence, letter(4)).await.unwrap();
    claims.skip(fence, 5).await.unwrap();
    let run = ground.here.begin(&fence).await.unwrap();
    run.finish(&[], &[(6, EndedAs::Done)], LONG).await.unwrap();
    // Whoever comes later changes nothing.
    claims.skip(fence, 4).await.unwrap();
    claims.bury(fence, letter(5)).await.unwrap();
    let [done, dead_lettered, skipped] = [1, 2, 3];
    assert_eq!(claimed().await, [(4, dead_lettered), (5, skipped), (6, done)]);
}

/// A host that has been overtaken hears so and writes nothing.
pub async fn a_former_owner_ends_nothing(ground: &Ground) {
    let (here, there) = (claims(&ground.here, "cluster"), claims(&ground.there, "cluster"));
    let former = owner(&here).await;
    let own = owner(&there).await;
    assert_eq!(here.bury(former, letter(4)).await, Err(ClaimsError::NotOwner));
    assert_eq!(here.skip(former, 4).await, Err(ClaimsError::NotOwner));
    assert_eq!(here.raise_floor(former, 5, None).await, Err(ClaimsError::NotOwner));
    let run = ground.there.begin(&own).await.unwrap();
    run.finish(&[], &[(4, EndedAs::Done)], LONG).await.unwrap();
}

/// Offsets of another cluster mean other records.
pub async fn a_database_of_another_cluster_is_refused(ground: &Ground) {
    owner(&claims(&ground.here, "one")).await;
    let other = claims(&ground.there, "two");
    for refused in [
        other.take(&partition(), ID).await.map(drop),
        other.settle("orders", ID, &[(0, 0)]).await.map(drop),
        other.check_cluster().await,
    ] {
        assert!(matches!(&refused, Err(ClaimsError::Refused(said)) if said.contains("two")), "{refused:?}");
    }
}

/// Topics without ids would share their floors and claims.
pub async fn a_topic_without_an_id_is_refused(ground: &Ground) {
    let claims = claims(&ground.here, "cluster");
    for refused in [
        claims.settle("orders", TopicId::UNKNOWN, &[(0, 3)]).await.map(drop),
        claims.take(&partition(), TopicId::UNKNOWN).await.map(drop),
    ] {
        let is_clear = |said: &str| said.contains("\"orders\"") && said.contains("from 2.8 on");
        assert!(matches!(&refused, Err(ClaimsError::Refused(said)) if is_clear(said)), "{refused:?}");
    }
}
