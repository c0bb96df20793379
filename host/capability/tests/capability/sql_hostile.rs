//! Statements and calls that are meant to harm: each is contained, and the next event of the handler is well.

use std::time::{Duration, Instant};

use keylane_capability::Prepared;
use keylane_capability::bindings::keylane::handler::sql::Error;

use crate::support::{Surroundings, at_event, commit, execute, kept, query};

const TABLES: &str = "
    CREATE TABLE t (a UNIQUE ON CONFLICT ROLLBACK);
    CREATE TABLE u (a UNIQUE);
    CREATE TABLE alarm (a);
    CREATE TRIGGER alarm BEFORE INSERT ON alarm BEGIN SELECT RAISE(ROLLBACK, 'rung'); END;
";
const ENDLESS: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n";

/// The event that follows must work, and nothing of the one before may be there.
async fn next_event_is_well(surroundings: &Surroundings, prepared: &Prepared) {
    let (mut state, run) = at_event(prepared, 2).await;
    execute(&mut state, "INSERT INTO u VALUES ('next')", &[]).await.unwrap();
    commit(&run, 2, &state.outbox().unwrap()).await.unwrap();
    assert_eq!(surroundings.read("SELECT a FROM u").await, [[kept("next")]]);
}

async fn doomed_by(statement: &str) -> Error {
    let surroundings = Surroundings::new(TABLES);
    let prepared = surroundings.prepared().await;
    let (mut state, run) = at_event(&prepared, 1).await;
    execute(&mut state, "INSERT INTO u VALUES ('before')", &[]).await.unwrap();
    let error = query(&mut state, statement, &[]).await.unwrap_err();
    assert_eq!(execute(&mut state, "INSERT INTO u VALUES ('after')", &[]).await, Err(Error::Aborted));
    assert!(state.outbox().is_err());
    if let Some(transaction) = run.take() {
        transaction.rollback().await;
    }
    next_event_is_well(&surroundings, &prepared).await;
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
async fn a_statement_that_rolls_back_is_noticed() {
    assert_eq!(doomed_by("INSERT INTO alarm VALUES (1)").await, Error::Refused("rung".to_owned()));
    let error = doomed_by("INSERT INTO t VALUES (1), (1)").await;
    assert_eq!(error, Error::Refused("UNIQUE constraint failed: t.a".to_owned()));
}

#[tokio::test]
async fn the_hosts_tables_other_files_and_settings_are_out_of_reach() {
    for statement in [
        "SELECT * FROM keylane_claim",
        "DELETE FROM \u{feff}keylane_outbox",
        "ATTACH DATABASE '/etc/passwd' AS p",
        "PRAGMA synchronous = OFF",
        "UPDATE sqlite_master SET sql = 'CREATE TABLE t (a)'",
        "SELECT fts3_tokenizer('simple')",
        "SELECT 1 /* \0 */",
    ] {
        assert!(matches!(doomed_by(statement).await, Error::Refused(_)), "{statement}");
    }
}

#[tokio::test]
async fn a_statement_that_wants_too_much_memory_fails_alone() {
    let error = doomed_by("SELECT length(hex(zeroblob(450000000)))").await;
    assert!(matches!(error, Error::Limit(_)), "{error:?}");
}

#[tokio::test]
async fn an_endless_statement_is_stopped_at_its_deadline() {
    let mut surroundings = Surroundings::new(TABLES);
    surroundings.manifest.limits.host_call = Duration::from_millis(200);
    let (mut state, run) = at_event(&surroundings.prepared().await, 1).await;
    let asked = Instant::now();
    let stopped = query(&mut state, ENDLESS, &[]).await;
    assert!(matches!(&stopped, Err(Error::Unavailable(said)) if said.contains("200ms")), "{stopped:?}");
    assert!(asked.elapsed() < Duration::from_secs(30));
    assert!(state.take_host_time() >= Duration::from_millis(200));
    assert!(state.outbox().is_err());
    drop(run);
    surroundings.manifest.limits.host_call = Duration::from_secs(20);
    next_event_is_well(&surroundings, &surroundings.prepared().await).await;
}

#[tokio::test]
async fn a_call_dropped_in_a_statement_leaves_nothing_that_could_be_committed() {
    let surroundings = Surroundings::new(TABLES);
    let prepared = surroundings.prepared().await;
    let (mut state, run) = at_event(&prepared, 1).await;
    execute(&mut state, "INSERT INTO u VALUES ('before')", &[]).await.unwrap();
    let dropped = tokio::time::timeout(Duration::from_millis(50), query(&mut state, ENDLESS, &[])).await;
    assert!(dropped.is_err(), "the statement was to be endless");
    assert!(run.take().is_none());
    next_event_is_well(&surroundings, &prepared).await;
}

#[tokio::test]
async fn a_dropped_instance_leaves_the_transaction_where_it_is() {
    let surroundings = Surroundings::new(TABLES);
    let prepared = surroundings.prepared().await;
    let (mut state, run) = at_event(&prepared, 1).await;
    execute(&mut state, "INSERT INTO u VALUES ('before')", &[]).await.unwrap();
    drop(state);
    let transaction = run.take().expect("the run owns it");
    transaction.rollback().await;
    next_event_is_well(&surroundings, &prepared).await;
}
