//! Values by key: part of the run as its statements are, and out of the reach of a guest's SQL.

use std::time::Duration;

use keylane_effects::{
    EndedAs, FinishError, KeyAsk, KeyRequest, KeyRow, RunTransaction, StatementError, StatementLimits,
};

use super::{Ground, LONG, execute, heard, owner, take};

const TABLE: &str = "CREATE TABLE t (a BIGINT NOT NULL UNIQUE)";
const BYTES_MAX: usize = 1_000;

/// Asks something of the bucket `seen` that must succeed.
async fn ask(run: Box<dyn RunTransaction>, ask: KeyAsk) -> (Vec<KeyRow>, Box<dyn RunTransaction>) {
    let request = KeyRequest { bucket: "seen".to_owned(), ask };
    run.keyvalue(request, LONG).await.unwrap()
}

fn get(keys: &[&str]) -> KeyAsk {
    let keys = keys.iter().map(|key| key.as_bytes().to_vec()).collect();
    KeyAsk::Get { keys, for_change: false, bytes_max: BYTES_MAX }
}

fn put(pairs: &[(&str, &str)]) -> KeyAsk {
    KeyAsk::Put(
        pairs.iter().map(|(key, value)| (key.as_bytes().to_vec(), value.as_bytes().to_vec())).collect(),
    )
}

fn delete(keys: &[&str]) -> KeyAsk {
    KeyAsk::Delete(keys.iter().map(|key| key.as_bytes().to_vec()).collect())
}

fn list(after: Option<&str>, keys_max: usize) -> KeyAsk {
    KeyAsk::List { after: after.map(|after| after.as_bytes().to_vec()), keys_max }
}

/// As text, sorted by key; a list has no values.
fn told(mut rows: Vec<KeyRow>) -> Vec<(String, Option<String>)> {
    rows.sort_by(|left, right| left.key.cmp(&right.key));
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    rows.into_iter().map(|row| (text(row.key), row.value.map(text))).collect()
}

fn pair(key: &str, value: &str) -> (String, Option<String>) {
    (key.to_owned(), Some(value.to_owned()))
}

/// What a run sets it reads itself; others read it when the run is committed, and never when it is not.
pub async fn values_are_part_of_the_run(ground: &Ground) {
    let database = &*ground.here;
    let fence = owner(database, TABLE).await;
    let run = database.begin(&fence).await.unwrap();
    let (_, run) = ask(run, put(&[("a", "1"), ("b", "2"), ("a b", "")])).await;
    let (_, run) = ask(run, put(&[("a", "3")])).await;
    let (_, run) = ask(run, delete(&["b", "none"])).await;
    let (rows, run) = ask(run, get(&["b", "a", "a b", "none"])).await;
    assert_eq!(told(rows), [pair("a", "3"), pair("a b", "")]);
    run.finish(&[], &[(0, EndedAs::Done)], LONG).await.unwrap();

    let run = database.begin(&fence).await.unwrap();
    let (_, run) = ask(run, put(&[("a", "lost")])).await;
    run.rollback().await;

    let fence = take(&*ground.there).await.fence;
    let run = ground.there.begin(&fence).await.unwrap();
    let (rows, run) = ask(run, get(&["a", "b"])).await;
    assert_eq!(told(rows), [pair("a", "3")]);
    let request = KeyRequest { bucket: "other".to_owned(), ask: get(&["a"]) };
    let (rows, run) = run.keyvalue(request, LONG).await.unwrap();
    assert_eq!(rows, [], "a bucket's keys are its own");
    run.rollback().await;
}

/// Pages come in order; an answer that weighs too much is refused and dooms its event.
pub async fn pages_and_batches_are_bounded(ground: &Ground) {
    let database = &*ground.here;
    let fence = owner(database, TABLE).await;
    let run = database.begin(&fence).await.unwrap();
    let (rows, run) = ask(run, list(None, 10)).await;
    assert_eq!(rows, []);
    let heavy = "x".repeat(BYTES_MAX / 2);
    let (_, run) = ask(run, put(&[("c", &heavy), ("a", &heavy), ("b", "")])).await;
    let (rows, run) = ask(run, list(None, 2)).await;
    assert_eq!(told(rows), [("a".to_owned(), None), ("b".to_owned(), None)]);
    let (rows, run) = ask(run, list(Some("b"), 2)).await;
    assert_eq!(told(rows), [("c".to_owned(), None)]);
    let (rows, run) = ask(run, get(&["a", "b", "c"])).await;
    assert_eq!(rows.len(), 3, "as much as is allowed");
    let mut run = run;
    for nothing in [get(&[]), put(&[]), delete(&[])] {
        let rows;
        (rows, run) = ask(run, nothing).await;
        assert_eq!(rows, []);
    }
    run.rollback().await;

    let fence = take(database).await.fence;
    let run = database.begin(&fence).await.unwrap();
    let (_, run) = ask(run, put(&[("c", &heavy), ("a", &heavy), ("b", "y")])).await;
    let request = KeyRequest { bucket: "seen".to_owned(), ask: get(&["a", "b", "c"]) };
    let failed = run.keyvalue(request, LONG).await.err().unwrap();
    assert!(matches!(heard(&failed), StatementError::Limit(_)), "{failed:?}");
    assert!(failed.transaction.is_none(), "without a savepoint the run is undone");
}

/// A guest's own SQL neither reads nor writes them.
pub async fn guests_statements_do_not_reach_them(ground: &Ground) {
    let database = &*ground.here;
    let fence = owner(database, TABLE).await;
    let run = database.begin(&fence).await.unwrap();
    let (_, run) = ask(run, put(&[("a", "1")])).await;
    run.finish(&[], &[(0, EndedAs::Done)], LONG).await.unwrap();
    for table in ["keylane_keyvalue", "keylane.keyvalue"] {
        for text in [
            format!("SELECT * FROM {table}"),
            format!("DELETE FROM {table}"),
            format!("INSERT INTO {table} VALUES ('seen', 'b', 'c')"),
            format!("INSERT INTO t SELECT count(*) FROM {table}"),
        ] {
            let run = database.begin(&fence).await.unwrap();
            // It is refused also in the run that has just used the bucket itself.
            let (_, run) = ask(run, get(&["a"])).await;
            if database.check(&text, &[], &StatementLimits::default()).is_err() {
                run.rollback().await;
                continue;
            }
            let failed = execute(database, run, &text, Vec::new()).await.err();
            assert!(
                matches!(failed.as_ref().map(heard), Some(StatementError::Refused(_))),
                "{text}: {failed:?}"
            );
        }
    }
}

/// Keys and values are bytes, whatever they look like.
pub async fn values_of_any_bytes_come_back(ground: &Ground) {
    let database = &*ground.here;
    let fence = owner(database, TABLE).await;
    let run = database.begin(&fence).await.unwrap();
    let key = b"'); DROP TABLE keylane.keyvalue; --\0\xff".to_vec();
    let value: Vec<u8> = (0..=255).collect();
    let (_, run) = ask(run, KeyAsk::Put(vec![(key.clone(), value.clone())])).await;
    let (rows, run) =
        ask(run, KeyAsk::Get { keys: vec![key.clone()], for_change: true, bytes_max: BYTES_MAX }).await;
    assert_eq!(rows, [KeyRow { key, value: Some(value) }]);
    run.rollback().await;
}

/// With savepoints a failed event's values go, and a failed step can be undone to the savepoint.
pub async fn a_failed_event_leaves_no_value(ground: &Ground) {
    let database = &*ground.here;
    let fence = owner(database, TABLE).await;
    let run = database.begin(&fence).await.unwrap();
    let ((), run) = run.savepoint().await.unwrap();
    let (_, run) = ask(run, put(&[("a", "1")])).await;
    let ((), run) = run.savepoint().await.unwrap();
    let (_, run) = ask(run, put(&[("a", "2"), ("b", "2")])).await;
    let failed = execute(database, run, "INSERT INTO nowhere VALUES (1)", Vec::new()).await.err().unwrap();
    let run = failed.transaction.unwrap();
    let request = KeyRequest { bucket: "seen".to_owned(), ask: get(&["a"]) };
    let failed = run.keyvalue(request, LONG).await.err().unwrap();
    assert_eq!(heard(&failed), &StatementError::Aborted);
    let ((), run) = failed.transaction.unwrap().rollback_to_savepoint().await.unwrap();
    let (rows, run) = ask(run, get(&["a", "b"])).await;
    assert_eq!(told(rows), [pair("a", "1")]);
    let (_, run) = ask(run, put(&[("c", "3")])).await;
    let ((), run) = run.savepoint().await.unwrap();
    run.finish(&[], &[(0, EndedAs::Done), (2, EndedAs::Done)], LONG).await.unwrap();
    let run = database.begin(&fence).await.unwrap();
    let (rows, run) = ask(run, get(&["a", "b", "c"])).await;
    assert_eq!(told(rows), [pair("a", "1"), pair("c", "3")]);
    run.rollback().await;
}

/// Each key takes a moment, and all of a call together longer than it may: `slowed` makes setting a value slow.
pub async fn a_late_call_is_stopped(ground: &Ground, slowed: impl AsyncFnOnce()) {
    slowed().await;
    let database = &*ground.here;
    let fence = owner(database, TABLE).await;
    for savepoint in [false, true] {
        let mut run = database.begin(&fence).await.unwrap();
        if savepoint {
            ((), run) = run.savepoint().await.unwrap();
        }
        let many = (0..100).map(|key| (vec![key], b"1".to_vec())).collect();
        let request = KeyRequest { bucket: "seen".to_owned(), ask: KeyAsk::Put(many) };
        let failed = run.keyvalue(request, Duration::from_millis(500)).await.err().unwrap();
        let said = heard(&failed).to_string();
        assert!(matches!(heard(&failed), StatementError::Late(_)) && said.contains("500ms"), "{failed:?}");
        assert!(savepoint || failed.transaction.is_none(), "no savepoint stood");
        if let Some(run) = failed.transaction {
            let ((), run) = run.rollback_to_savepoint().await.unwrap();
            run.rollback().await;
        }
    }
    let run = database.begin(&fence).await.unwrap();
    let (_, run) = ask(run, put(&[("a", "1")])).await;
    let (rows, run) = ask(run, list(None, 200)).await;
    assert_eq!(told(rows), [("a".to_owned(), None)], "nothing of the late calls is left");
    run.rollback().await;
}

/// Runs that change one number at once, as two partitions do: each waits for the other or is redone.
pub async fn numbers_that_runs_change_at_once_add_up(ground: &Ground) {
    let fence = owner(&*ground.here, TABLE).await;
    let mut other = super::key();
    other.partition = 1;
    ground.there.settle_start(&other, &[(1, 0)]).await.unwrap();
    let fences =
        [(&ground.here, fence), (&ground.there, ground.there.take(&other, LONG).await.unwrap().fence)];
    let counted = fences.map(|(database, fence)| async move {
        for offset in 0..10 {
            loop {
                let run = database.begin(&fence).await.unwrap();
                let keys = vec![b"n".to_vec()];
                let request = KeyRequest {
                    bucket: "seen".to_owned(),
                    ask: KeyAsk::Get { keys, for_change: true, bytes_max: BYTES_MAX },
                };
                let Ok((rows, run)) = run.keyvalue(request, LONG).await else { continue };
                let stands = told(rows).pop().and_then(|(_, value)| value).unwrap_or_default();
                let next = (stands.parse::<i64>().unwrap_or(0) + 1).to_string();
                let request = KeyRequest { bucket: "seen".to_owned(), ask: put(&[("n", &next)]) };
                let Ok((_, run)) = run.keyvalue(request, LONG).await else { continue };
                match run.finish(&[], &[(offset, EndedAs::Done)], LONG).await {
                    Ok(()) => break,
                    Err(FinishError::Conflict(_)) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }
    });
    let [one, two] = counted;
    tokio::join!(one, two);
    let run = ground.here.begin(&fence).await.unwrap();
    let (rows, run) = ask(run, get(&["n"])).await;
    assert_eq!(told(rows), [pair("n", "20")]);
    run.rollback().await;
}
