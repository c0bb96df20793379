//! Commits: rows, outbox and claims together or not at all, and an unknown outcome is found out.

use std::time::Duration;

use keylane_effects::{EndedAs, FinishError, OutboxKind, OutboxRow, Value};

use super::{Ground, LONG, commit_event, did, kept, owner, take};

const TABLE: &str = "CREATE TABLE t (a BIGINT)";

/// An outbox row of an event.
pub fn output(event_offset: i64, ordinal: i32) -> OutboxRow {
    OutboxRow {
        event_offset,
        ordinal,
        kind: if ordinal == 0 { OutboxKind::Record } else { OutboxKind::Mail },
        topic: "out".to_owned(),
        key: Some(vec![0, 255]),
        value: (ordinal == 0).then(|| b"value".to_vec()),
        headers: vec![1, 2, 3],
    }
}

/// The second claim of an event undoes the whole run of it.
pub async fn an_event_is_claimed_once(ground: &Ground) {
    let database = &*ground.here;
    let fence = owner(database, TABLE).await;
    commit_event(database, &fence, 3).await;
    let run = database.begin(&fence).await.unwrap();
    let run = did(database, run, "INSERT INTO t VALUES (30)", Vec::new()).await;
    let endings = [(4, EndedAs::Done), (3, EndedAs::DeadLettered)];
    let finished = run.finish(&[output(4, 0)], &endings, LONG).await;
    assert!(matches!(finished, Err(FinishError::ClaimExists)), "{finished:?}");
    assert_eq!(kept(database).await, [3]);
    assert_eq!(database.ended(&fence, &[3, 4]).await.unwrap(), [3]);
    commit_event(database, &fence, 4).await;
    assert_eq!(take(database).await.ended, [3, 4]);
}

/// Many rows of the outbox, in any order, and a run without any statement.
pub async fn outputs_and_claims_need_no_statement(ground: &Ground) {
    let database = &*ground.here;
    let fence = owner(database, TABLE).await;
    let outbox: Vec<_> = (0..1_500).rev().flat_map(|offset| [output(offset, 1), output(offset, 0)]).collect();
    let endings: Vec<_> = (0..1_500).rev().map(|offset| (offset, EndedAs::Done)).collect();
    let run = database.begin(&fence).await.unwrap();
    run.finish(&outbox, &endings, LONG).await.unwrap();
    assert_eq!(take(database).await.ended.len(), 1_500);
    let fence = take(database).await.fence;
    database.begin(&fence).await.unwrap().finish(&[], &[], LONG).await.unwrap();
}

/// A run that is dropped, rolled back, or cancelled inside a statement leaves nothing and is in nobody's way.
pub async fn a_dropped_run_leaves_nothing(ground: &Ground) {
    let database = &*ground.here;
    let fence = owner(database, TABLE).await;
    let run = database.begin(&fence).await.unwrap();
    drop(did(database, run, "INSERT INTO t VALUES (1)", Vec::new()).await);
    let run = database.begin(&fence).await.unwrap();
    let run = did(database, run, "INSERT INTO t VALUES (2)", Vec::new()).await;
    run.rollback().await;
    let run = database.begin(&fence).await.unwrap();
    let run = did(database, run, "INSERT INTO t VALUES (3)", Vec::new()).await;
    let statement = super::checked(database, super::ENDLESS, &[]);
    let endless = run.query(statement, Vec::new(), super::LIMITS, LONG);
    assert!(tokio::time::timeout(Duration::from_millis(200), endless).await.is_err());
    commit_event(database, &fence, 4).await;
    assert_eq!(kept(database).await, [4]);
}

/// A commit that nobody hears the answer of: the claims say what became of it, and the rows agree.
pub async fn an_unknown_commit_is_found_out(ground: &Ground) {
    let database = &*ground.here;
    let fence = owner(database, TABLE).await;
    let mut expected = Vec::new();
    for offset in 0..30 {
        let run = database.begin(&fence).await.unwrap();
        let run = did(database, run, "INSERT INTO t VALUES ($1)", vec![Value::Integer(offset)]).await;
        let endings = [(offset, EndedAs::Done)];
        let patience = Duration::from_micros(u64::try_from(offset).unwrap() * 100);
        let heard = tokio::time::timeout(patience, run.finish(&[], &endings, LONG)).await;
        let ended = database.ended(&fence, &[offset]).await.unwrap();
        if let Ok(answer) = heard {
            assert!(answer.is_ok(), "{answer:?}");
            assert_eq!(ended, [offset]);
        }
        expected.extend(ended);
        assert_eq!(kept(database).await, expected);
    }
    assert_eq!(take(database).await.ended, expected);
}
