//! Statements that are meant to harm: each is contained, and the next event of the handler is well.

use std::time::{Duration, Instant};

use keylane_capability::GuestState;
use keylane_capability::bindings::keylane::handler::sql::Error;

use crate::support::{Surroundings, event, execute, finish, query, text};

const TABLES: &str = "
    CREATE TABLE t (a UNIQUE ON CONFLICT ROLLBACK);
    CREATE TABLE u (a UNIQUE);
    CREATE TABLE alarm (a);
    CREATE TRIGGER alarm BEFORE INSERT ON alarm BEGIN SELECT RAISE(ROLLBACK, 'rung'); END;
    CREATE VIRTUAL TABLE search USING fts4(body);
";
const ENDLESS: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n";

/// The event that follows must work, and nothing of the one before may be there.
async fn next_event_is_well(surroundings: &Surroundings, state: &mut GuestState) {
    state.begin(&event(2));
    execute(state, "INSERT INTO u VALUES ('next')", &[]).await.unwrap();
    finish(state).await.unwrap();
    assert_eq!(surroundings.read("SELECT a FROM u").await, [[text("next")]]);
}

async fn doomed_by(statement: &str) -> Error {
    let surroundings = Surroundings::new(TABLES);
    let mut state = surroundings.prepared().await.state();
    state.begin(&event(1));
    execute(&mut state, "INSERT INTO u VALUES ('before')", &[]).await.unwrap();
    let error = query(&mut state, statement, &[]).await.unwrap_err();
    assert_eq!(execute(&mut state, "INSERT INTO u VALUES ('after')", &[]).await, Err(Error::Aborted));
    assert!(state.commit().await.is_err());
    next_event_is_well(&surroundings, &mut state).await;
    error
}

#[tokio::test]
async fn ending_the_transaction_is_refused() {
    for statement in ["COMMIT", "ROLLBACK", "SELECT 1; COMMIT", "INSERT OR ROLLBACK INTO u VALUES ('before')"]
    {
        assert!(matches!(doomed_by(statement).await, Error::Refused(_)), "{statement}");
    }
}

#[tokio::test]
async fn a_trigger_that_rolls_back_is_noticed() {
    assert_eq!(doomed_by("INSERT INTO alarm VALUES (1)").await, Error::Refused("rung".to_owned()));
}

#[tokio::test]
async fn a_constraint_that_rolls_back_is_noticed() {
    let error = doomed_by("INSERT INTO t VALUES (1), (1)").await;
    assert_eq!(error, Error::Refused("UNIQUE constraint failed: t.a".to_owned()));
}

#[tokio::test]
async fn other_files_and_settings_are_out_of_reach() {
    for statement in [
        "ATTACH DATABASE '/etc/passwd' AS p",
        "PRAGMA synchronous = OFF",
        "SELECT * FROM pragma_database_list",
        "VACUUM INTO 'copy.db'",
        "DELETE FROM \"_sqlx_migrations\"",
        "SELECT fts3_tokenizer('simple')",
    ] {
        assert!(matches!(doomed_by(statement).await, Error::Refused(_)), "{statement}");
    }
}

/// SQLite takes a byte-order mark for a blank, so that the name behind it is the host's own.
#[tokio::test]
async fn a_byte_order_mark_hides_no_name() {
    for statement in
        ["DELETE FROM \u{feff}_sqlx_migrations", "INSERT OR \u{feff}ROLLBACK INTO u VALUES ('before')"]
    {
        assert!(matches!(doomed_by(statement).await, Error::Refused(_)), "{statement}");
    }
}

/// SQLite reads no further than a NUL, and its driver would ask it for the rest again and again.
#[tokio::test]
async fn a_nul_does_not_keep_the_driver_busy() {
    for statement in ["SELECT 1 /* \0 */", "SELECT 1 -- \0"] {
        let answer = tokio::time::timeout(Duration::from_secs(60), doomed_by(statement)).await;
        assert!(matches!(answer, Ok(Error::Refused(_))), "{statement:?}: {answer:?}");
    }
}

#[tokio::test]
async fn a_statement_that_wants_too_much_memory_fails_alone() {
    let error = doomed_by("SELECT length(hex(zeroblob(450000000)))").await;
    assert!(matches!(error, Error::Limit(_)), "{error:?}");
}

#[tokio::test]
async fn an_answer_that_is_too_large_to_copy_fails_alone() {
    // The driver's thread may die of this one; its connection is then replaced.
    let error = doomed_by("SELECT hex(zeroblob(80000000))").await;
    assert!(matches!(error, Error::Limit(_) | Error::Unavailable(_)), "{error:?}");
}

#[tokio::test]
async fn the_schema_cannot_be_written() {
    let error = doomed_by("UPDATE sqlite_master SET sql = 'CREATE TABLE t (a)'").await;
    assert_eq!(error, Error::Refused("table sqlite_master may not be modified".to_owned()));
}

#[tokio::test]
async fn an_endless_statement_is_stopped_at_its_deadline() {
    let mut surroundings = Surroundings::new(TABLES);
    surroundings.manifest.limits.host_call = Duration::from_millis(200);
    let mut state = surroundings.prepared().await.state();
    state.begin(&event(1));
    let asked = Instant::now();
    let stopped = query(&mut state, ENDLESS, &[]).await;
    let said = "the statement took longer than 200ms (host-call)";
    assert_eq!(stopped, Err(Error::Unavailable(said.to_owned())));
    assert!(asked.elapsed() < Duration::from_secs(10));
    assert!(state.take_host_time() >= Duration::from_millis(200));
    assert!(state.commit().await.is_err());
    surroundings.manifest.limits.host_call = Duration::from_secs(20);
    next_event_is_well(&surroundings, &mut surroundings.prepared().await.state()).await;
}

#[tokio::test]
async fn a_cancelled_call_cannot_be_committed_and_frees_the_writer() {
    let surroundings = Surroundings::new(TABLES);
    let mut state = surroundings.prepared().await.state();
    state.begin(&event(1));
    execute(&mut state, "INSERT INTO u VALUES ('before')", &[]).await.unwrap();
    let cancelled = tokio::time::timeout(Duration::from_millis(50), query(&mut state, ENDLESS, &[])).await;
    assert!(cancelled.is_err(), "the statement was to be endless");
    let ended = state.commit().await.map(|_| ()).unwrap_err();
    assert!(ended.to_string().contains("a statement was cancelled"), "{ended}");
    next_event_is_well(&surroundings, &mut state).await;
}

#[tokio::test]
async fn a_dropped_instance_takes_its_transaction_with_it() {
    let surroundings = Surroundings::new(TABLES);
    let prepared = surroundings.prepared().await;
    let mut state = prepared.state();
    state.begin(&event(1));
    execute(&mut state, "INSERT INTO u VALUES ('before')", &[]).await.unwrap();
    drop(state);
    next_event_is_well(&surroundings, &mut prepared.state()).await;
}
