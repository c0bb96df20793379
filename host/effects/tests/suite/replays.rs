//! An operator's replay: the owner is overtaken, and what stands from the offset on is handled again under the next
//! number.

use std::time::Duration;

use keylane_effects::{BeginError, Database, EndedAs, ReplayError, ReplayRequest, Replayed, StreamKey};
use keylane_engine::LogPosition;

use super::{Ground, LONG, commit_event, did, kept, key, owner, take};

const TABLE: &str = "CREATE TABLE t (a BIGINT)";
/// After this who has begun is taken to be waiting.
const APART: Duration = Duration::from_millis(250);

/// Of the suite's partition, from this offset on.
fn from(from: i64) -> ReplayRequest {
    let StreamKey { fleet, handler, topic, partition, .. } = key();
    ReplayRequest { fleet, handler, topic, partition, from, skip: false, number: None }
}

/// The same, as a replay with this number.
fn meant(number: i64, request: ReplayRequest) -> ReplayRequest {
    ReplayRequest { number: Some(number), ..request }
}

async fn replayed(database: &dyn Database, request: &ReplayRequest) -> Replayed {
    database.replay(request, LONG).await.unwrap()
}

/// What had ended at or above the offset is done again, by whoever takes the partition next; the former number stays
/// as it was, and nobody writes under it.
pub async fn what_had_ended_is_done_again_under_the_next_number(ground: &Ground) {
    let (here, there) = (&*ground.here, &*ground.there);
    let former = owner(here, TABLE).await;
    for offset in 0..4 {
        commit_event(here, &former, offset).await;
    }
    let position = LogPosition { offset: 2, leader_epoch: 7 };
    here.raise_floor(&former, 2, Some(position)).await.unwrap();
    assert_eq!((former.replay, take(here).await.position), (0, Some(position)));
    let former = take(here).await.fence;

    let told = replayed(there, &meant(1, from(1))).await;
    assert_eq!(told, Replayed { replay: 1, floor: 2, ended_to: 4, again: 3, skipped: 0 });
    let twice = there.replay(&meant(1, from(1)), LONG).await;
    assert_eq!(twice, Err(ReplayError::Meanwhile { next: 2 }), "the same said twice is done once");
    assert!(matches!(here.begin(&former).await.err(), Some(BeginError::NotOwner)));
    assert!(matches!(here.raise_floor(&former, 4, None).await, Err(BeginError::NotOwner)));
    assert_eq!(here.ended(&former, &[0, 1, 2, 3, 4]).await.unwrap(), [0, 1, 2, 3]);

    let taken = take(here).await;
    assert_eq!((taken.floor, taken.ended, taken.position), (Some(1), vec![], None));
    assert_eq!(taken.fence.replay, 1);
    assert_ne!(taken.fence.stream, former.stream);
    commit_event(here, &taken.fence, 1).await;
    assert_eq!(kept(here).await, [0, 1, 1, 2, 3]);
    assert_eq!(there.settle_start(&key(), &[(0, 9), (1, 9)]).await.unwrap(), [(0, 1), (1, 0)].into());
    let later = take(there).await;
    assert_eq!((later.fence.stream, later.ended), (taken.fence.stream, vec![1]));

    // Once more, and for a fleet that was renamed.
    assert_eq!(replayed(there, &meant(2, from(0))).await.replay, 2);
    here.adopt_progress("handler", "renamed").await.unwrap();
    let renamed = here.take(&StreamKey { fleet: "renamed".to_owned(), ..key() }, LONG).await.unwrap();
    assert_eq!((renamed.fence.replay, renamed.floor), (2, Some(0)));
}

/// What is open when the operator comes is waited for, and counts.
pub async fn the_open_run_is_waited_for(ground: &Ground) {
    let (here, there) = (&*ground.here, &*ground.there);
    let fence = owner(here, TABLE).await;
    let run = here.begin(&fence).await.unwrap();
    let run = did(here, run, "INSERT INTO t VALUES (0)", Vec::new()).await;
    let finishing = async {
        tokio::time::sleep(APART).await;
        run.finish(&[], &[(0, EndedAs::Done)], LONG).await.unwrap();
    };
    let request = meant(1, from(0));
    let ((), told) = tokio::join!(finishing, replayed(there, &request));
    assert_eq!((told.ended_to, told.again), (1, 1));
    assert_eq!((kept(there).await, take(there).await.ended), (vec![0], vec![]));
}

/// What would never be handled is passed over only where the operator says so; a look changes nothing.
pub async fn nothing_is_passed_over_without_a_word(ground: &Ground) {
    let (here, there) = (&*ground.here, &*ground.there);
    let fence = owner(here, TABLE).await;
    for offset in [0, 1, 4] {
        commit_event(here, &fence, offset).await;
    }
    let refused = there.replay(&from(4), LONG).await.unwrap_err();
    assert_eq!(refused, ReplayError::Skips { from: 4, floor: 0, offsets: 2 });
    let elsewhere = ReplayRequest { partition: 1, ..from(0) };
    let unknown = there.replay(&elsewhere, LONG).await.unwrap_err();
    assert!(matches!(unknown, ReplayError::NoProgress { partition: 1, .. }), "{unknown:?}");
    let other = ReplayRequest { topic: "other".to_owned(), ..from(0) };
    assert!(matches!(there.replay(&other, LONG).await, Err(ReplayError::NoProgress { .. })));
    assert_eq!(replayed(there, &from(0)).await.again, 3);
    commit_event(here, &fence, 5).await;
    assert_eq!(take(here).await.ended, [0, 1, 4, 5], "nothing has happened so far");

    // What lies below had ended, though the floor says it of none.
    assert_eq!(replayed(there, &meant(1, from(2))).await.again, 2);
    let skip = ReplayRequest { skip: true, ..meant(2, from(7)) };
    assert_eq!(
        replayed(there, &skip).await,
        Replayed { replay: 2, floor: 2, ended_to: 2, again: 0, skipped: 5 }
    );
    assert_eq!(take(here).await.floor, Some(7));
}

/// Whoever takes the partition while the operator is at it takes the new number, or is overtaken.
pub async fn a_take_beside_a_replay_keeps_no_former_number(ground: &Ground) {
    let (here, there) = (&*ground.here, &*ground.there);
    let mut fence = owner(here, TABLE).await;
    for number in 1..=4 {
        let (request, run) = (meant(number, from(0)), here.begin(&fence).await.unwrap());
        // Both wait for the open run, the take behind the replay; did they not, it would be a round for nothing.
        let ending = async {
            tokio::time::sleep(2 * APART).await;
            run.rollback().await;
        };
        let taking = async {
            tokio::time::sleep(APART).await;
            take(here).await
        };
        let ((), told, taken) = tokio::join!(ending, there.replay(&request, LONG), taking);
        assert_eq!(told.unwrap().replay, number);
        let begun = here.begin(&taken.fence).await.ok();
        let writes = begun.is_some();
        if let Some(run) = begun {
            run.rollback().await;
        }
        let latest = take(there).await.fence;
        assert_eq!(latest.replay, number);
        assert!(!writes || taken.fence.stream == latest.stream, "a former number is written under");
        fence = latest;
    }
}
