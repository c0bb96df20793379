//! A handler's databases as a guest meets them: statements in the run's transaction, doomed events, values,
//! limits, and databases that it may only read. What a statement may say is the databases' own suite's.

use std::sync::Arc;
use std::time::{Duration, Instant};

use keylane_capability::bindings::keylane::handler::sql::{Error, HostDatabase, Value};
use keylane_capability::{Capabilities, EffectsError, GuestState, OpenDatabase, Prepared, elsewhere_most};
use keylane_effects::{
    LATE_GRACE, ReadDatabase, ResultLimits, Rows, Statement, StatementError, StatementLimits, Value as Kept,
};
use keylane_engine::Boxed;

use crate::support::{
    HANDLER, REPORTS, Surroundings, TOPIC_ID, at_event, commit, event, execute, execute_on, kept, query,
    query_on, text,
};

/// A database that gives no answer to a query.
struct Silent {
    inner: Arc<dyn ReadDatabase>,
    /// When it is past its deadline for so long it is told that it is late, as drivers do; else never.
    late: Option<Duration>,
}

impl ReadDatabase for Silent {
    fn check(
        &self,
        text: &str,
        parameters: &[Kept],
        limits: &StatementLimits,
    ) -> Result<Statement, StatementError> {
        self.inner.check(text, parameters, limits)
    }

    fn query(
        &self,
        _statement: Statement,
        _parameters: Vec<Kept>,
        _limits: ResultLimits,
        deadline: Duration,
    ) -> Boxed<'_, Result<Rows, StatementError>> {
        Box::pin(async move {
            match self.late {
                Some(late) => tokio::time::sleep(deadline + late).await,
                None => std::future::pending().await,
            }
            Err(StatementError::Late("it does not hear that it is to stop".to_owned()))
        })
    }
}

const TABLE: &str = "CREATE TABLE entries (id INTEGER PRIMARY KEY, worker TEXT UNIQUE, amount INTEGER);";

async fn insert(state: &mut GuestState, worker: &str) -> Result<u64, Error> {
    let row = [text(worker), Value::Integer(5)];
    execute(state, "INSERT INTO entries (worker, amount) VALUES ($1, $2)", &row).await
}

#[tokio::test]
async fn statements_of_a_run_become_real_together_at_its_commit() {
    let surroundings = Surroundings::new(TABLE);
    let prepared = surroundings.prepared().await;
    let (mut state, run) = at_event(&prepared, 1).await;
    assert_eq!(insert(&mut state, "ann").await, Ok(1));
    assert_eq!(state.outbox().unwrap(), []);
    state.begin(&event(2), TOPIC_ID, Some(&run));
    assert_eq!(insert(&mut state, "bob").await, Ok(1));
    let seen = query(&mut state, "SELECT count(*) AS n FROM entries", &[]).await.unwrap();
    assert_eq!((seen.columns, seen.rows), (vec!["n".to_owned()], vec![vec![Value::Integer(2)]]));
    assert_eq!(state.outbox().unwrap(), []);
    assert!(surroundings.read("SELECT worker FROM entries").await.is_empty());
    commit(&run, 2, &[]).await.unwrap();
    let workers = surroundings.read("SELECT worker FROM entries ORDER BY 1").await;
    assert_eq!(workers, [[kept("ann")], [kept("bob")]]);
}

#[tokio::test]
async fn a_failed_statement_dooms_its_event_whatever_the_handler_makes_of_it() {
    let surroundings = Surroundings::new(TABLE);
    let prepared = surroundings.prepared().await;
    let (mut state, run) = at_event(&prepared, 1).await;
    insert(&mut state, "ann").await.unwrap();
    let failed = insert(&mut state, "ann").await;
    assert_eq!(failed, Err(Error::Refused("UNIQUE constraint failed: entries.worker".to_owned())));
    assert_eq!(insert(&mut state, "bob").await, Err(Error::Aborted));
    assert_eq!(query(&mut state, "SELECT 1", &[]).await, Err(Error::Aborted));
    assert_eq!(query_on(&mut state, REPORTS, "SELECT 1", &[]).await, Err(Error::Aborted));
    let ended = state.outbox().unwrap_err();
    assert_eq!(
        ended.to_string(),
        "a statement on database \"ledger\" failed and the handler went on; all is undone: \
         UNIQUE constraint failed: entries.worker"
    );
    assert!(run.take().is_none(), "nothing is left that could be committed");
    // The writer is free, and the next event is well.
    let (mut state, run) = at_event(&prepared, 2).await;
    insert(&mut state, "cid").await.unwrap();
    commit(&run, 2, &state.outbox().unwrap()).await.unwrap();
    assert_eq!(surroundings.read("SELECT worker FROM entries").await, [[kept("cid")]]);
}

#[tokio::test]
async fn a_statement_that_is_refused_unseen_dooms_its_event_too() {
    let surroundings = Surroundings::new(TABLE);
    let (mut state, _run) = at_event(&surroundings.prepared().await, 1).await;
    assert!(matches!(query(&mut state, "COMMIT", &[]).await, Err(Error::Refused(_))));
    assert_eq!(insert(&mut state, "ann").await, Err(Error::Aborted));
    assert!(matches!(state.outbox(), Err(EffectsError::Doomed { .. })));
}

#[tokio::test]
async fn values_of_every_kind_come_back_as_they_went() {
    let table = "CREATE TABLE v (a, b BOOLEAN, c INTEGER, d REAL, e TEXT, f BLOB, g TIMESTAMP, h TEXT);";
    let surroundings = Surroundings::new(table);
    let (mut state, _run) = at_event(&surroundings.prepared().await, 1).await;
    let values = vec![
        Value::Null,
        Value::Boolean(true),
        Value::Integer(i64::MIN),
        Value::Float(-0.5),
        text("Grüße; 'it''s'"),
        Value::Bytes(vec![0, 255, 0]),
        Value::Timestamp(1_700_000_000_123_456),
        Value::Decimal("-12.50".to_owned()),
    ];
    let insert = "INSERT INTO v VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    assert_eq!(execute(&mut state, insert, &values).await, Ok(1));
    let mut rows = query(&mut state, "SELECT * FROM v", &[]).await.unwrap().rows;
    // SQLite has no exact decimals: text is what it keeps.
    let decimal = rows[0].pop().unwrap();
    assert!(matches!(&decimal, Value::Text(digits) | Value::Decimal(digits) if digits == "-12.50"));
    assert_eq!(rows, [&values[..7]]);
}

#[tokio::test]
async fn more_rows_or_bytes_than_granted_are_over_a_limit() {
    let mut surroundings = Surroundings::new(TABLE);
    surroundings.limits.result_bytes = 1_000;
    surroundings.manifest.grants.sql.values_mut().for_each(|grant| grant.rows_max = 3);
    let prepared = surroundings.prepared().await;
    let many = |rows: i64| {
        format!(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) SELECT i FROM n"
        )
    };
    let (mut state, run) = at_event(&prepared, 1).await;
    assert_eq!(query(&mut state, &many(3), &[]).await.unwrap().rows.len(), 3);
    let limit = |said: &str| Err(Error::Limit(said.to_owned()));
    let over = query(&mut state, &many(4), &[]).await;
    assert_eq!(over, limit("the query answers more than 3 rows (rows-max)"));
    drop(run);
    let (mut state, _run) = at_event(&prepared, 2).await;
    let wide = query(&mut state, "SELECT printf('%.*c', 993, 'x')", &[]).await;
    assert_eq!(wide, limit("the query answers more than 1000 bytes"));
}

#[tokio::test]
async fn only_granted_names_can_be_opened() {
    let surroundings = Surroundings::new(TABLE);
    let (mut state, run) = at_event(&surroundings.prepared().await, 1).await;
    let Err(refused) = HostDatabase::open(&mut state, "other".to_owned()).await.unwrap() else {
        panic!("a database was opened that is not granted");
    };
    let said = "the manifest grants no database \"other\"; it grants \"ledger\", \"reports\"";
    assert_eq!(refused, Error::NotGranted(said.to_owned()));
    // That alone dooms nothing.
    insert(&mut state, "ann").await.unwrap();
    commit(&run, 1, &state.outbox().unwrap()).await.unwrap();
}

#[tokio::test]
async fn an_instance_cannot_hoard_handles() {
    let mut surroundings = Surroundings::new(TABLE);
    surroundings.limits.handles = 2;
    let mut state = surroundings.prepared().await.state();
    let mut open = async || HostDatabase::open(&mut state, "ledger".to_owned()).await.unwrap().map(|_| ());
    assert_eq!((open().await, open().await), (Ok(()), Ok(())));
    assert!(matches!(open().await, Err(Error::Limit(_))));
}

#[tokio::test]
async fn without_a_run_nothing_is_written() {
    let surroundings = Surroundings::new(TABLE);
    let mut state = surroundings.prepared().await.state();
    let refused = insert(&mut state, "ann").await;
    assert!(matches!(&refused, Err(Error::Refused(said)) if said.starts_with("no event")), "{refused:?}");
}

#[tokio::test]
async fn a_database_granted_for_reading_shows_what_is_committed_and_takes_nothing() {
    let surroundings = Surroundings::new(TABLE);
    let prepared = surroundings.prepared().await;
    let (mut state, run) = at_event(&prepared, 1).await;
    insert(&mut state, "ann").await.unwrap();
    let seen = query_on(&mut state, REPORTS, "SELECT worker FROM entries", &[]).await.unwrap();
    assert!(seen.rows.is_empty(), "the run is not committed yet");
    commit(&run, 1, &state.outbox().unwrap()).await.unwrap();
    state.begin(&event(2), TOPIC_ID, None);
    let seen = query_on(&mut state, REPORTS, "SELECT worker FROM entries", &[]).await.unwrap();
    assert_eq!(seen.rows, [[text("ann")]]);
    state.commit().await.unwrap().await.unwrap();

    for statement in ["DELETE FROM entries", "SELECT 1"] {
        state.begin(&event(3), TOPIC_ID, None);
        let refused = execute_on(&mut state, REPORTS, statement, &[]).await;
        let Err(Error::Refused(said)) = refused else { panic!("{statement} ran") };
        assert!(said.contains("for reading only: use query"), "{said}");
    }
    state.begin(&event(4), TOPIC_ID, None);
    let written = query_on(&mut state, REPORTS, "DELETE FROM entries RETURNING worker", &[]).await;
    assert!(matches!(written, Err(Error::Refused(_))), "{written:?}");
    let ended = state.commit().await.map(|_| ()).unwrap_err();
    assert!(matches!(ended, EffectsError::Doomed { database, .. } if database == REPORTS));
    assert_eq!(surroundings.read("SELECT worker FROM entries").await, [[kept("ann")]]);
}

/// That nobody could be asked is not the event's fault, whatever becomes of it, and not the next one's neither.
#[tokio::test]
async fn a_database_that_is_away_dooms_its_event_through_no_fault_of_its_own() {
    let surroundings = Surroundings::new(TABLE);
    let prepared = surroundings.prepared().await;
    let mut state = prepared.state();
    let file = surroundings.dir.path().join("data/ledger.db");
    let former = file.with_extension("former");
    state.begin(&event(1), TOPIC_ID, None);
    std::fs::rename(&file, &former).unwrap();
    let away = query_on(&mut state, REPORTS, "SELECT 1", &[]).await;
    assert!(matches!(away, Err(Error::Unavailable(_))), "{away:?}");
    assert_eq!(query_on(&mut state, REPORTS, "SELECT 1", &[]).await, Err(Error::Aborted));
    assert!(matches!(state.away(), Some(EffectsError::Away { database, .. }) if database == REPORTS));
    let ended = state.commit().await.map(|_| ()).unwrap_err();
    assert!(matches!(ended, EffectsError::Away { .. }), "{ended}");
    std::fs::rename(&former, &file).unwrap();
    state.begin(&event(2), TOPIC_ID, None);
    query_on(&mut state, REPORTS, "SELECT 1", &[]).await.unwrap();
    let wrong = query_on(&mut state, REPORTS, "SELECT * FROM nowhere", &[]).await;
    assert!(matches!(wrong, Err(Error::Refused(_))), "{wrong:?}");
    assert!(state.away().is_none(), "this one is its own fault");
}

/// A host call where nothing else is said.
const HOST_CALL: Duration = Duration::from_millis(100);

/// A handler whose database for reading is silent.
async fn with_silent(late: Option<Duration>) -> (Surroundings, Prepared) {
    let mut surroundings = Surroundings::new(TABLE);
    surroundings.manifest.limits.host_call = HOST_CALL;
    let mut resources = surroundings.resources().await;
    let silent = Silent { inner: surroundings.open_reading().await, late };
    let own = resources.databases.get_mut(HANDLER).unwrap();
    own.insert(REPORTS.to_owned(), OpenDatabase::Read(Arc::new(silent)));
    let capabilities = Capabilities::new(resources);
    let prepared = capabilities.prepare(&surroundings.manifest, surroundings.dir.path()).await.unwrap();
    (surroundings, prepared)
}

/// The run's own session is idle while it waits elsewhere.
#[tokio::test]
async fn a_database_that_does_not_answer_is_given_up_in_time() {
    let (_surroundings, prepared) = with_silent(None).await;
    let (mut state, _run) = at_event(&prepared, 1).await;
    let asked = Instant::now();
    let answer = query_on(&mut state, REPORTS, "SELECT 1", &[]).await;
    let least = elsewhere_most(HOST_CALL);
    assert!(asked.elapsed() >= least, "a statement that is late is told so first");
    assert!(matches!(answer, Err(Error::Unavailable(_))), "{answer:?}");
    assert!(state.away().is_some());
}

/// A statement that is late and does not hear it is given up by its driver, and is its event's own fault.
#[tokio::test]
async fn a_late_query_that_does_not_hear_it_is_no_database_that_is_away() {
    let (_surroundings, prepared) = with_silent(Some(LATE_GRACE)).await;
    let (mut state, _run) = at_event(&prepared, 1).await;
    let answer = query_on(&mut state, REPORTS, "SELECT 1", &[]).await;
    assert!(matches!(&answer, Err(Error::Unavailable(said)) if said.contains("does not hear")), "{answer:?}");
    assert!(state.away().is_none());
}
