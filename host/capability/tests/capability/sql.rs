//! A handler's database: transactions of an event, doomed events, values, limits.

use keylane_capability::bindings::keylane::handler::sql::{Error, HostDatabase};
use keylane_capability::{EffectsError, Value};

use crate::support::{Surroundings, event, execute, finish, query, text};

const TABLE: &str = "CREATE TABLE entries (id INTEGER PRIMARY KEY, worker TEXT UNIQUE, amount INTEGER);";

async fn insert(state: &mut keylane_capability::GuestState, worker: &str) -> Result<u64, Error> {
    execute(state, "INSERT INTO entries (worker, amount) VALUES ($1, $2)", &[text(worker), Value::Integer(5)])
        .await
}

#[tokio::test]
async fn statements_of_an_event_become_real_together_at_its_commit() {
    let surroundings = Surroundings::new(TABLE);
    let mut state = surroundings.prepared().await.state();
    state.begin(&event(1));
    assert_eq!(insert(&mut state, "ann").await, Ok(1));
    assert_eq!(insert(&mut state, "bob").await, Ok(1));
    let seen = query(&mut state, "SELECT count(*) AS n FROM entries", &[]).await.unwrap();
    assert_eq!((seen.columns, seen.rows), (vec!["n".to_owned()], vec![vec![Value::Integer(2)]]));
    assert!(surroundings.read("SELECT worker FROM entries").await.is_empty());
    let delivery = state.commit().await.unwrap();
    assert!(delivery.is_empty());
    assert_eq!(
        surroundings.read("SELECT worker FROM entries ORDER BY 1").await,
        [[text("ann")], [text("bob")]]
    );
}

#[tokio::test]
async fn a_rollback_takes_everything_back_and_the_next_event_goes_on() {
    let surroundings = Surroundings::new(TABLE);
    let mut state = surroundings.prepared().await.state();
    state.begin(&event(1));
    insert(&mut state, "ann").await.unwrap();
    state.rollback().await;
    state.begin(&event(2));
    insert(&mut state, "bob").await.unwrap();
    finish(&mut state).await.unwrap();
    assert_eq!(surroundings.read("SELECT worker FROM entries").await, [[text("bob")]]);
}

#[tokio::test]
async fn a_failed_statement_dooms_its_event_and_only_that() {
    let surroundings = Surroundings::new(TABLE);
    let prepared = surroundings.prepared().await;
    let (mut state, mut other) = (prepared.state(), prepared.state());
    state.begin(&event(1));
    insert(&mut state, "ann").await.unwrap();
    let failed = insert(&mut state, "ann").await;
    assert_eq!(failed, Err(Error::Refused("UNIQUE constraint failed: entries.worker".to_owned())));
    assert_eq!(insert(&mut state, "bob").await, Err(Error::Aborted));
    assert_eq!(query(&mut state, "SELECT 1", &[]).await, Err(Error::Aborted));

    // The writer is free for others although the doomed event has not ended.
    other.begin(&event(2));
    insert(&mut other, "cid").await.unwrap();
    finish(&mut other).await.unwrap();

    let ended = state.commit().await.map(|_| ()).unwrap_err();
    assert!(ended.can_retry());
    assert_eq!(
        ended.to_string(),
        "a statement on database \"ledger\" failed and the handler went on; all was rolled back: \
         UNIQUE constraint failed: entries.worker"
    );
    state.begin(&event(1));
    insert(&mut state, "dan").await.unwrap();
    finish(&mut state).await.unwrap();
    assert_eq!(
        surroundings.read("SELECT worker FROM entries ORDER BY 1").await,
        [[text("cid")], [text("dan")]]
    );
}

#[tokio::test]
async fn values_of_every_kind_come_back_as_they_went() {
    let table = "CREATE TABLE v (a, b BOOLEAN, c INTEGER, d REAL, e TEXT, f BLOB, g TEXT, h BLOB);";
    let surroundings = Surroundings::new(table);
    let mut state = surroundings.prepared().await.state();
    state.begin(&event(1));
    let values = vec![
        Value::Null,
        Value::Boolean(true),
        Value::Integer(i64::MIN),
        Value::Float(-0.5),
        text("Grüße; 'it''s'"),
        Value::Bytes(vec![0, 255, 0]),
        text(""),
        Value::Bytes(Vec::new()),
    ];
    let insert = "INSERT INTO v VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    assert_eq!(execute(&mut state, insert, &values).await, Ok(1));
    assert_eq!(query(&mut state, "SELECT * FROM v", &[]).await.unwrap().rows, [values]);
    // Without a declared type, SQLite answers a boolean as the integer it stores.
    let plain = query(&mut state, "SELECT $1, $2", &[Value::Boolean(true), Value::Float(f64::NAN)]).await;
    assert_eq!(plain.unwrap().rows, [[Value::Integer(1), Value::Null]]);
}

#[tokio::test]
async fn columns_are_named_even_without_rows() {
    let surroundings = Surroundings::new(TABLE);
    let mut state = surroundings.prepared().await.state();
    state.begin(&event(1));
    let none =
        query(&mut state, "SELECT id, amount AS sum FROM entries WHERE id = $1", &[Value::Integer(1)]).await;
    let none = none.unwrap();
    assert_eq!(none.columns, ["id", "sum"]);
    assert!(none.rows.is_empty());
}

#[tokio::test]
async fn changed_rows_are_counted_and_a_query_changes_none() {
    let surroundings = Surroundings::new(TABLE);
    let mut state = surroundings.prepared().await.state();
    state.begin(&event(1));
    for worker in ["ann", "bob", "cid"] {
        insert(&mut state, worker).await.unwrap();
    }
    assert_eq!(execute(&mut state, "UPDATE entries SET amount = 1", &[]).await, Ok(3));
    assert_eq!(execute(&mut state, "SELECT * FROM entries", &[]).await, Ok(0));
    let returning = "INSERT INTO entries (worker) VALUES ('dan') ON CONFLICT DO NOTHING RETURNING worker";
    assert_eq!(query(&mut state, returning, &[]).await.unwrap().rows, [[text("dan")]]);
}

#[tokio::test]
async fn more_rows_or_bytes_than_granted_are_over_a_limit() {
    let mut surroundings = Surroundings::new(TABLE);
    surroundings.limits.result_bytes = 1_000;
    surroundings.manifest.grants.sql.values_mut().for_each(|grant| grant.rows_max = 3);
    let mut state = surroundings.prepared().await.state();
    let many = |rows: i64| {
        format!(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) SELECT i FROM n"
        )
    };
    state.begin(&event(1));
    assert_eq!(query(&mut state, &many(3), &[]).await.unwrap().rows.len(), 3);
    let limit = |said: &str| Err(Error::Limit(said.to_owned()));
    let over = query(&mut state, &many(4), &[]).await;
    assert_eq!(over, limit("the query answers more than 3 rows (rows-max)"));
    state.begin(&event(2));
    let wide = query(&mut state, "SELECT printf('%.*c', 993, 'x')", &[]).await;
    assert_eq!(wide, limit("the query answers more than 1000 bytes"));
}

#[tokio::test]
async fn only_the_granted_name_can_be_opened() {
    let surroundings = Surroundings::new(TABLE);
    let mut state = surroundings.prepared().await.state();
    state.begin(&event(1));
    let Err(refused) = HostDatabase::open(&mut state, "other".to_owned()).await.unwrap() else {
        panic!("a database was opened that is not granted");
    };
    let said = "the manifest grants no database \"other\"; it grants \"ledger\"";
    assert_eq!(refused, Error::NotGranted(said.to_owned()));
    // That alone dooms nothing.
    insert(&mut state, "ann").await.unwrap();
    finish(&mut state).await.unwrap();
}

#[tokio::test]
async fn an_instance_cannot_hoard_handles() {
    let mut surroundings = Surroundings::new(TABLE);
    surroundings.limits.handles = 2;
    let mut state = surroundings.prepared().await.state();
    state.begin(&event(1));
    let mut open = async || HostDatabase::open(&mut state, "ledger".to_owned()).await.unwrap().map(|_| ());
    assert_eq!((open().await, open().await), (Ok(()), Ok(())));
    assert!(matches!(open().await, Err(Error::Limit(_))));
}

#[tokio::test]
async fn an_event_that_touches_nothing_ends_without_a_transaction() {
    let surroundings = Surroundings::new(TABLE);
    let prepared = surroundings.prepared().await;
    let (mut holder, mut state) = (prepared.state(), prepared.state());
    holder.begin(&event(1));
    insert(&mut holder, "ann").await.unwrap();
    state.begin(&event(2));
    assert!(state.commit().await.unwrap().is_empty());
    finish(&mut holder).await.unwrap();
}

#[tokio::test]
async fn a_commit_that_breaks_a_deferred_constraint_fails() {
    let surroundings = Surroundings::new(
        "CREATE TABLE a (id INTEGER PRIMARY KEY);
         CREATE TABLE b (a INTEGER REFERENCES a DEFERRABLE INITIALLY DEFERRED);",
    );
    let mut state = surroundings.prepared().await.state();
    state.begin(&event(1));
    execute(&mut state, "INSERT INTO b VALUES (1)", &[]).await.unwrap();
    let failed = state.commit().await.map(|_| ()).unwrap_err();
    assert!(
        matches!(&failed, EffectsError::Commit { reason, .. } if reason.contains("FOREIGN KEY")),
        "{failed}"
    );
    state.begin(&event(1));
    assert_eq!(query(&mut state, "SELECT * FROM b", &[]).await.unwrap().rows.len(), 0);
    execute(&mut state, "INSERT INTO a VALUES (1)", &[]).await.unwrap();
    finish(&mut state).await.unwrap();
}
