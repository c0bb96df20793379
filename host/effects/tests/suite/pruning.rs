//! Pruning: the floor goes up, claims below it go, and a zombie cannot repeat what they stood for.

use keylane_effects::{BeginError, EndedAs, FinishError, PRUNE_CLAIMS_MAX};
use keylane_engine::LogPosition;

use super::{Ground, LONG, commit_event, did, kept, owner, take};

const TABLE: &str = "CREATE TABLE t (a BIGINT)";

/// Floor and claims move together; the floor never goes back and passes offsets without a claim.
pub async fn the_floor_rises_and_claims_go(ground: &Ground) {
    let database = &*ground.here;
    let fence = owner(database, TABLE).await;
    for offset in [0, 1, 3, 6] {
        commit_event(database, &fence, offset).await;
    }
    let pruned = database.raise_floor(&fence, 5, None).await.unwrap();
    assert_eq!((pruned.claims, pruned.floor, pruned.more), (3, 5, false));
    let back = database.raise_floor(&fence, 2, None).await.unwrap();
    assert_eq!((back.claims, back.floor, back.more), (0, 5, false));
    assert_eq!(database.ended(&fence, &[0, 2, 4, 5, 6, 7]).await.unwrap(), [0, 2, 4, 6]);
    let taken = take(database).await;
    assert_eq!((taken.floor, taken.ended), (Some(5), vec![6]));
}

/// The position moves with the floor, and only where the floor gets there: beside a lower floor it would say
/// that more has ended.
pub async fn a_position_is_kept_beside_the_floor(ground: &Ground) {
    let database = &*ground.here;
    let at = |offset, leader_epoch| Some(LogPosition { offset, leader_epoch });
    let fence = owner(database, TABLE).await;
    let count = PRUNE_CLAIMS_MAX + 5;
    let endings: Vec<_> = (0..count).map(|offset| (offset, EndedAs::Done)).collect();
    database.begin(&fence).await.unwrap().finish(&[], &endings, LONG).await.unwrap();
    assert!(database.raise_floor(&fence, count, at(count - 1, 4)).await.unwrap().more);
    let taken = take(database).await;
    assert_eq!(taken.position, None, "the floor is not there yet");
    assert!(!database.raise_floor(&taken.fence, count, at(count - 1, 4)).await.unwrap().more);
    database.raise_floor(&taken.fence, 3, at(3, 1)).await.unwrap();
    let taken = take(database).await;
    assert_eq!((taken.floor, taken.position), (Some(count), at(count - 1, 4)));
    database.raise_floor(&taken.fence, count + 1, None).await.unwrap();
    let taken = take(database).await;
    assert_eq!(taken.position, None, "the former one belongs to the former floor");
    database.raise_floor(&taken.fence, count + 2, at(count + 2, 5)).await.unwrap();
    assert_eq!(take(database).await.position, at(count + 2, 5));
}

/// Who dies between two batches leaves no place below records that have ended: the next owner would read them and
/// take the log for cut.
pub async fn a_batch_takes_the_former_position_away(ground: &Ground) {
    let database = &*ground.here;
    let at = |offset| Some(LogPosition { offset, leader_epoch: 4 });
    let fence = owner(database, TABLE).await;
    database.begin(&fence).await.unwrap().finish(&[], &[(0, EndedAs::Done)], LONG).await.unwrap();
    assert!(!database.raise_floor(&fence, 1, at(1)).await.unwrap().more);
    let taken = take(database).await;
    assert_eq!((taken.floor, taken.position), (Some(1), at(1)));
    let count = PRUNE_CLAIMS_MAX + 5;
    let endings: Vec<_> = (1..=count).map(|offset| (offset, EndedAs::Done)).collect();
    database.begin(&taken.fence).await.unwrap().finish(&[], &endings, LONG).await.unwrap();
    let first = database.raise_floor(&taken.fence, count + 1, at(count + 1)).await.unwrap();
    assert!(first.more);
    let taken = take(database).await;
    assert_eq!((taken.floor, taken.position), (Some(first.floor), None));
}

/// A batch is bounded; what is left is told.
pub async fn a_batch_is_bounded(ground: &Ground) {
    let database = &*ground.here;
    let fence = owner(database, TABLE).await;
    let count = PRUNE_CLAIMS_MAX + 5;
    let endings: Vec<_> = (0..count).rev().map(|offset| (offset * 2, EndedAs::Done)).collect();
    let run = database.begin(&fence).await.unwrap();
    run.finish(&[], &endings, LONG).await.unwrap();
    let first = database.raise_floor(&fence, count * 2, None).await.unwrap();
    assert_eq!((first.claims, first.more), (10_000, true));
    assert!(first.floor > (PRUNE_CLAIMS_MAX - 1) * 2 && first.floor <= PRUNE_CLAIMS_MAX * 2, "{first:?}");
    let second = database.raise_floor(&fence, count * 2, None).await.unwrap();
    assert_eq!((second.claims, second.floor, second.more), (5, count * 2, false));
    assert_eq!(take(database).await.ended, Vec::<i64>::new());
}

/// A host that was stopped before its transaction began cannot repeat an event whose claim is pruned.
pub async fn a_zombie_cannot_pass_a_pruned_claim(ground: &Ground) {
    let (here, there) = (&*ground.here, &*ground.there);
    let former = owner(here, TABLE).await;
    let taken = take(there).await.fence;
    commit_event(there, &taken, 0).await;
    there.raise_floor(&taken, 1, None).await.unwrap();
    assert!(matches!(here.begin(&former).await.err(), Some(BeginError::NotOwner)));
    assert_eq!(kept(there).await, [0]);
}

/// Neither can the owner itself, should it ever run one that lies below the floor.
pub async fn an_offset_below_the_floor_has_ended(ground: &Ground) {
    let database = &*ground.here;
    let fence = owner(database, TABLE).await;
    database.raise_floor(&fence, 3, None).await.unwrap();
    let run = database.begin(&fence).await.unwrap();
    let run = did(database, run, "INSERT INTO t VALUES (2)", Vec::new()).await;
    let finished = run.finish(&[], &[(5, EndedAs::Done), (2, EndedAs::Done)], LONG).await;
    assert!(matches!(finished, Err(FinishError::ClaimExists)), "{finished:?}");
    assert_eq!(kept(database).await, Vec::<i64>::new());
    assert_eq!(database.ended(&fence, &[2, 5]).await.unwrap(), [2]);
}
