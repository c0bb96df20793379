//! The one writer of a database: events wait for it in turn, for a bounded time.

use std::time::Duration;

use keylane_capability::bindings::keylane::handler::sql::Error;
use sqlx::{Connection, Executor};

use crate::support::{Surroundings, event, execute, finish, text};

const TABLE: &str = "CREATE TABLE t (a);";

#[tokio::test]
async fn an_event_waits_for_the_writer_and_its_wait_is_host_time() {
    let surroundings = Surroundings::new(TABLE);
    let prepared = surroundings.prepared().await;
    let (mut first, mut second) = (prepared.state(), prepared.state());
    first.begin(&event(1));
    second.begin(&event(2));
    execute(&mut first, "INSERT INTO t VALUES ('first')", &[]).await.unwrap();
    let clock = second.host_clock();
    let waiter = tokio::spawn(async move {
        let inserted = execute(&mut second, "INSERT INTO t VALUES ('second')", &[]).await;
        (inserted, finish(&mut second).await.is_ok(), second.take_host_time())
    });
    // The wait shows from outside while it lasts.
    while clock.spent() < Duration::from_millis(20) {
        tokio::task::yield_now().await;
    }
    assert!(!waiter.is_finished());
    finish(&mut first).await.unwrap();
    let (inserted, committed, waited) = waiter.await.unwrap();
    assert_eq!((inserted, committed), (Ok(1), true));
    assert!(waited >= Duration::from_millis(20));
    assert_eq!(
        surroundings.read("SELECT a FROM t ORDER BY rowid").await,
        [[text("first")], [text("second")]]
    );
}

#[tokio::test]
async fn a_wait_that_is_too_long_is_told() {
    let mut surroundings = Surroundings::new(TABLE);
    surroundings.database.writer_wait = Duration::from_millis(30);
    let prepared = surroundings.prepared().await;
    let (mut first, mut second) = (prepared.state(), prepared.state());
    first.begin(&event(1));
    second.begin(&event(2));
    execute(&mut first, "INSERT INTO t VALUES (1)", &[]).await.unwrap();
    let Err(Error::Unavailable(said)) = execute(&mut second, "INSERT INTO t VALUES (2)", &[]).await else {
        panic!("the second event got the writer");
    };
    assert!(said.starts_with("other events kept the writer of sqlite://"), "{said}");
    finish(&mut first).await.unwrap();
}

#[tokio::test]
async fn a_lock_of_another_process_is_waited_for_and_then_told() {
    let mut surroundings = Surroundings::new(TABLE);
    surroundings.database.lock_wait = Duration::from_millis(30);
    let mut state = surroundings.prepared().await.state();
    let mut foreign = sqlx::SqliteConnection::connect(&surroundings.database.url).await.unwrap();
    foreign.execute("BEGIN IMMEDIATE").await.unwrap();
    state.begin(&event(1));
    let blocked = execute(&mut state, "INSERT INTO t VALUES (1)", &[]).await;
    assert_eq!(blocked, Err(Error::Unavailable("database is locked".to_owned())));
    foreign.execute("ROLLBACK").await.unwrap();
    state.begin(&event(1));
    execute(&mut state, "INSERT INTO t VALUES (1)", &[]).await.unwrap();
    finish(&mut state).await.unwrap();
}
