//! Values by key while runs see what others have committed meanwhile.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use keylane_effects::{
    Database, DatabaseConfig, Isolation, KeyAsk, KeyRequest, RunTransaction, StepError, open,
};
use keylane_engine::Fence;

use crate::ground::{Ground, LONG, begin, finish, migrate, take};

/// Long enough for a statement that waits for nothing.
const MOMENT: Duration = Duration::from_millis(500);

/// Asks something of the bucket that must succeed; answers the value of the last key.
async fn ask(run: Box<dyn RunTransaction>, ask: KeyAsk) -> (Option<String>, Box<dyn RunTransaction>) {
    let request = KeyRequest { bucket: "seen".to_owned(), ask };
    let (mut rows, run) = run.keyvalue(request, LONG).await.unwrap();
    let value = rows.pop().and_then(|row| row.value);
    (value.map(|value| String::from_utf8(value).unwrap()), run)
}

fn get(key: &str, for_change: bool) -> KeyAsk {
    KeyAsk::Get { keys: vec![key.as_bytes().to_vec()], for_change, bytes_max: 1_000 }
}

fn put(pairs: &[(&str, &str)]) -> KeyAsk {
    let pair = |(key, value): &(&str, &str)| (key.as_bytes().to_vec(), value.as_bytes().to_vec());
    KeyAsk::Put(pairs.iter().map(pair).collect())
}

fn delete(keys: &[&str]) -> KeyAsk {
    KeyAsk::Delete(keys.iter().map(|key| key.as_bytes().to_vec()).collect())
}

async fn stands(database: &dyn Database, fence: &Fence, key: &str) -> Option<String> {
    let (value, run) = ask(begin(database, fence).await, get(key, false)).await;
    run.rollback().await;
    value
}

async fn read_committed(ground: &Ground<'_>) -> (Arc<dyn Database>, Fence) {
    let config = DatabaseConfig { isolation: Isolation::ReadCommitted, ..ground.config() };
    let database = open(&config).await.unwrap();
    migrate(database.as_ref(), "CREATE TABLE t (a int)").await;
    let fence = take(database.as_ref()).await;
    (database, fence)
}

/// What one run asks and commits.
async fn alone(run: Box<dyn RunTransaction>, what: KeyAsk) {
    let (_, run) = ask(run, what).await;
    finish(run, &[]).await.unwrap();
}

/// One run reads a value and is about to change it; another one sets or deletes it meanwhile. Answers what stands in
/// the end.
async fn amid_a_change(ground: &Ground<'_>, other: KeyAsk) -> Option<String> {
    let (database, fence) = read_committed(ground).await;
    let database = database.as_ref();
    alone(begin(database, &fence).await, put(&[("k", "5")])).await;
    let (value, changing) = ask(begin(database, &fence).await, get("k", true)).await;
    assert_eq!(value.as_deref(), Some("5"));
    let mut other = pin!(alone(begin(database, &fence).await, other));
    let ended = tokio::time::timeout(MOMENT, &mut other).await;
    assert!(ended.is_err(), "it did not wait for the run that is about to change the value");
    tokio::join!(alone(changing, put(&[("k", "6")])), other);
    stands(database, &fence, "k").await
}

pub async fn what_is_set_amid_a_change_is_not_lost(ground: &Ground<'_>) {
    let stands = amid_a_change(ground, put(&[("a", "1"), ("k", "100")])).await;
    assert_eq!(stands.as_deref(), Some("100"), "it came after the change");
}

pub async fn what_is_deleted_amid_a_change_is_not_lost(ground: &Ground<'_>) {
    assert_eq!(amid_a_change(ground, delete(&["a", "k"])).await, None, "it came after the change");
}

/// What another run has set, and not committed yet, is waited for before it is changed.
pub async fn what_is_under_way_is_read_before_a_change(ground: &Ground<'_>) {
    let (database, fence) = read_committed(ground).await;
    let database = database.as_ref();
    for (former, other, expected) in
        [("5", put(&[("k", "100")]), Some("100".to_owned())), ("5", delete(&["k"]), None)]
    {
        alone(begin(database, &fence).await, put(&[("k", former)])).await;
        let (_, setting) = ask(begin(database, &fence).await, other).await;
        let mut changing = pin!(ask(begin(database, &fence).await, get("k", true)));
        let read = tokio::time::timeout(MOMENT, &mut changing).await;
        assert!(read.is_err(), "it did not wait for the run that has changed the value");
        finish(setting, &[]).await.unwrap();
        let (value, changing) = changing.await;
        assert_eq!(value, expected);
        changing.rollback().await;
    }
}

/// Where there was no value there is no row to wait for: who wanted to change it is done again, although a savepoint
/// stands. In another order nothing is in the way.
pub async fn what_is_set_amid_a_change_of_nothing_is_not_lost(ground: &Ground<'_>) {
    let (database, fence) = read_committed(ground).await;
    let database = database.as_ref();
    let (_, changing) = begin(database, &fence).await.savepoint().await.unwrap();
    let (value, changing) = ask(changing, get("k", true)).await;
    assert_eq!(value, None);
    alone(begin(database, &fence).await, put(&[("k", "100")])).await;
    let request = KeyRequest { bucket: "seen".to_owned(), ask: put(&[("a", "1"), ("k", "6")]) };
    let failed = changing.keyvalue(request, LONG).await.err().unwrap();
    assert!(matches!(failed.error, StepError::Conflict(_)), "{failed:?}");
    assert!(failed.transaction.is_none(), "the whole run is done again");
    let (value, changing) = ask(begin(database, &fence).await, get("k", true)).await;
    assert_eq!(value.as_deref(), Some("100"));
    alone(changing, put(&[("a", "1"), ("k", "106")])).await;
    assert_eq!(stands(database, &fence, "k").await.as_deref(), Some("106"));

    let (_, changing) = ask(begin(database, &fence).await, get("none", true)).await;
    alone(begin(database, &fence).await, delete(&["none"])).await;
    let (_, changing) = ask(changing, put(&[("none", "1"), ("a", "2")])).await;
    alone(changing, put(&[("none", "2")])).await;
    assert_eq!(stands(database, &fence, "none").await.as_deref(), Some("2"));
}

/// A run that found nothing deletes nothing: what another one has set since came after it.
pub async fn what_is_set_amid_a_deletion_of_nothing_is_not_lost(ground: &Ground<'_>) {
    let (database, fence) = read_committed(ground).await;
    let database = database.as_ref();
    let (_, changing) = ask(begin(database, &fence).await, get("k", true)).await;
    alone(begin(database, &fence).await, put(&[("k", "100")])).await;
    let (_, changing) = ask(changing, delete(&["k"])).await;
    let (value, changing) = ask(changing, get("k", true)).await;
    assert_eq!(value.as_deref(), Some("100"));
    alone(changing, put(&[("k", "101")])).await;
    assert_eq!(stands(database, &fence, "k").await.as_deref(), Some("101"));
}

/// What an event did not find is there again when that event was undone: setting it stands in nobody's way.
pub async fn an_undone_event_has_found_nothing_missing(ground: &Ground<'_>) {
    let (database, fence) = read_committed(ground).await;
    let database = database.as_ref();
    let (_, run) = begin(database, &fence).await.savepoint().await.unwrap();
    let (_, run) = ask(run, put(&[("k", "1")])).await;
    let (_, run) = run.savepoint().await.unwrap();
    let (_, run) = ask(run, delete(&["k"])).await;
    let (value, run) = ask(run, get("k", true)).await;
    assert_eq!(value, None);
    let (_, run) = run.rollback_to_savepoint().await.unwrap();
    alone(run, put(&[("k", "2")])).await;
    assert_eq!(stands(database, &fence, "k").await.as_deref(), Some("2"));
}
