//! What becomes real, and what does not.

use std::time::Duration;

use keylane_effects::{
    DatabaseConfig, DatabaseError, EndedAs, FinishError, Isolation, OutboxKind, OutboxRow, StatementFailed,
    StepError, Value, open,
};

use crate::ground::{Ground, LONG, begin, execute, finish, folder, migrate, query, read, run, stream, take};

fn output(event_offset: i64, ordinal: i32) -> OutboxRow {
    let (topic, headers) = ("out".to_owned(), vec![1]);
    OutboxRow {
        event_offset,
        ordinal,
        kind: OutboxKind::Record,
        topic,
        key: None,
        value: Some(vec![2]),
        headers,
    }
}

async fn rows_of(config: &DatabaseConfig, text: &str) -> Vec<(i64, i64)> {
    let pool = sqlx::PgPool::connect(&config.write).await.unwrap();
    sqlx::query_as(sqlx::AssertSqlSafe(text.to_owned())).fetch_all(&pool).await.unwrap()
}

pub async fn a_run_is_written_whole(ground: &Ground<'_>) {
    let config = ground.config();
    let database = open(&config).await.unwrap();
    migrate(database.as_ref(), "CREATE TABLE t (a int)").await;
    let fence = take(database.as_ref()).await;
    let run = begin(database.as_ref(), &fence).await;
    let (_, run) = execute(database.as_ref(), run, "insert into t values (1)", &[]).await.unwrap();
    let endings = [(9, EndedAs::Skipped), (4, EndedAs::Done)];
    run.finish(&[output(9, 0), output(9, 1), output(4, 0)], &endings, LONG).await.unwrap();
    let claims = "SELECT event_offset, ended_as::bigint FROM keylane.claim ORDER BY 1";
    assert_eq!(rows_of(&config, claims).await, [(4, 1), (9, 3)]);
    let outbox = "SELECT event_offset, ordinal::bigint FROM keylane.outbox ORDER BY id";
    assert_eq!(rows_of(&config, outbox).await, [(9, 0), (9, 1), (4, 0)], "in the order of the handling");
    let again = begin(database.as_ref(), &fence).await;
    let (_, again) = execute(database.as_ref(), again, "insert into t values (2)", &[]).await.unwrap();
    assert!(matches!(finish(again, &[9, 10]).await, Err(FinishError::ClaimExists)));
    assert_eq!(read(database.as_ref(), "select count(*) from t").await.rows, [[Value::Integer(1)]]);
    assert_eq!(database.ended(&fence, &[10, 9, 4]).await.unwrap(), [4, 9]);
}

/// A function catches the failure inside, and the guest goes on: PostgreSQL bears that. What it does not
/// bear, a failed statement of the transaction, is remembered.
pub async fn a_swallowed_error_is_void(ground: &Ground<'_>) {
    let database = ground.database("CREATE TABLE t (a int PRIMARY KEY)").await;
    let (_, run) = run(database.as_ref()).await.savepoint().await.unwrap();
    let failed = execute(database.as_ref(), run, "insert into t values (1), (1)", &[]).await.err().unwrap();
    let run = failed.transaction.unwrap();
    let refused = execute(database.as_ref(), run, "insert into t values (2)", &[]).await.err().unwrap();
    assert!(refused.error.to_string().contains("earlier statement"), "{}", refused.error);
    let void = finish(refused.transaction.unwrap(), &[1]).await;
    assert!(matches!(void, Err(FinishError::Void(_))), "{void:?}");
    assert_eq!(database.take(&stream(), LONG).await.unwrap().ended, [0_i64; 0]);
}

pub async fn a_savepoint_saves_the_rest(ground: &Ground<'_>) {
    let database = ground.database("CREATE TABLE t (a int PRIMARY KEY)").await;
    let mut run = run(database.as_ref()).await;
    for number in 0..5_i64 {
        ((), run) = run.savepoint().await.unwrap();
        (_, run) = execute(database.as_ref(), run, "insert into t values ($1)", &[Value::Integer(number)])
            .await
            .unwrap();
        if number == 2 {
            let failed =
                execute(database.as_ref(), run, "insert into t values (0)", &[]).await.err().unwrap();
            ((), run) = failed.transaction.unwrap().rollback_to_savepoint().await.unwrap();
        }
    }
    finish(run, &[0, 1, 3, 4]).await.unwrap();
    assert_eq!(read(database.as_ref(), "select a from t").await.rows.len(), 4);
}

/// Two runs read what the other one writes: one of them is redone when serializable, none otherwise.
pub async fn conflicts_are_the_hosts(ground: &Ground<'_>) {
    for isolation in [Isolation::Serializable, Isolation::ReadCommitted] {
        let database = open(&DatabaseConfig { isolation, ..ground.config() }).await.unwrap();
        migrate(database.as_ref(), "CREATE TABLE t (a int); INSERT INTO t VALUES (1)").await;
        let fence = take(database.as_ref()).await;
        let text = "insert into t select sum(a) from t";
        let (first, second) =
            (begin(database.as_ref(), &fence).await, begin(database.as_ref(), &fence).await);
        let (_, first) = execute(database.as_ref(), first, text, &[]).await.unwrap();
        let second = execute(database.as_ref(), second, text, &[]).await;
        finish(first, &[1]).await.unwrap();
        let conflict = match second {
            Ok((_, second)) => matches!(finish(second, &[2]).await, Err(FinishError::Conflict(_))),
            Err(failed) => matches!(failed.error, StepError::Conflict(_)),
        };
        assert_eq!(conflict, isolation == Isolation::Serializable);
    }
}

/// Two runs change two rows in opposite order. The server ends one of them, whichever: it is done again from its
/// beginning, although a savepoint stands, and both are done once.
pub async fn a_deadlock_is_the_hosts_to_redo(ground: &Ground<'_>) {
    for isolation in [Isolation::Serializable, Isolation::ReadCommitted] {
        let database = open(&DatabaseConfig { isolation, ..ground.config() }).await.unwrap();
        let database = database.as_ref();
        let table = "CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 0), (2, 0)";
        migrate(database, table).await;
        let fence = take(database).await;
        let add = "update t set n = n + 1 where id = $1";
        let begun = async |row: i64| {
            let (_, run) = begin(database, &fence).await.savepoint().await.unwrap();
            execute(database, run, add, &[Value::Integer(row)]).await.unwrap().1
        };
        let ended = async |run, row: i64, offset| {
            let (_, run) = execute(database, run, add, &[Value::Integer(row)]).await?;
            finish(run, &[offset]).await.unwrap();
            Ok(())
        };
        let (first, second) = (begun(1).await, begun(2).await);
        let both = tokio::join!(ended(first, 2, 7), ended(second, 1, 8));
        let (failed, offset): (StatementFailed, i64) = match both {
            (Err(failed), Ok(())) => (failed, 7),
            (Ok(()), Err(failed)) => (failed, 8),
            others => panic!("{others:?}"),
        };
        let is_deadlock = matches!(&failed.error, StepError::Conflict(said) if said.contains("deadlock"));
        assert!(is_deadlock, "{failed:?}");
        assert!(failed.transaction.is_none(), "all of it is to be done again");
        ended(begun(1).await, 2, offset).await.unwrap();
        assert_eq!(read(database, "select n from t").await.rows, [[Value::Integer(2)], [Value::Integer(2)]]);
        assert_eq!(database.ended(&fence, &[7, 8]).await.unwrap(), [7, 8]);
    }
}

/// Whoever waits for a lock is told so, in a statement and at the end: however often, it is nobody's fault.
pub async fn a_lock_that_is_not_had_is_told_apart_from_a_conflict(ground: &Ground<'_>) {
    let config = DatabaseConfig { lock_wait: Duration::from_millis(300), ..ground.config() };
    let database = open(&config).await.unwrap();
    migrate(database.as_ref(), "CREATE TABLE t (a int); INSERT INTO t VALUES (1)").await;
    let fence = take(database.as_ref()).await;
    let admin = ground.admin(&config).await;
    let mut altering = admin.begin().await.unwrap();
    sqlx::query("LOCK TABLE t IN ACCESS EXCLUSIVE MODE").execute(&mut *altering).await.unwrap();
    let run = begin(database.as_ref(), &fence).await;
    let waited = execute(database.as_ref(), run, "update t set a = 2", &[]).await.err().unwrap();
    assert!(matches!(waited.error, StepError::Waited(_)), "{waited:?}");
    altering.rollback().await.unwrap();
    let mut altering = admin.begin().await.unwrap();
    sqlx::query("LOCK TABLE keylane.claim IN ACCESS EXCLUSIVE MODE").execute(&mut *altering).await.unwrap();
    let run = begin(database.as_ref(), &fence).await;
    let (_, run) = execute(database.as_ref(), run, "update t set a = 2", &[]).await.unwrap();
    let waited = finish(run, &[1]).await;
    assert!(matches!(waited, Err(FinishError::Waited(_))), "{waited:?}");
    altering.rollback().await.unwrap();
    let run = begin(database.as_ref(), &fence).await;
    finish(run, &[1]).await.unwrap();
}

/// A server that shuts down ends its sessions with its reason. One that is idle for too long is ended for that.
pub async fn what_the_server_says_of_itself_is_told_apart_from_a_loss(ground: &Ground<'_>) {
    let config = DatabaseConfig { idle_in_transaction: Duration::from_secs(2), ..ground.config() };
    let database = open(&config).await.unwrap();
    migrate(database.as_ref(), "CREATE TABLE t (a int)").await;
    let fence = take(database.as_ref()).await;
    let admin = ground.admin(&config).await;
    let run = begin(database.as_ref(), &fence).await;
    let ends = async {
        let text = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
            WHERE datname = current_database() AND state = 'active' AND query LIKE '%n(i)%' \
            AND pid <> pg_backend_pid()";
        while sqlx::query(text).fetch_optional(&admin).await.unwrap().is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let (ended, ()) = tokio::join!(query(database.as_ref(), run, crate::suite::ENDLESS, &[]), ends);
    let ended = ended.err().unwrap();
    assert!(matches!(ended.error, StepError::Database(DatabaseError::Unable { .. })), "{ended:?}");
    let run = begin(database.as_ref(), &fence).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    let lost = query(database.as_ref(), run, "select 1", &[]).await.err().unwrap();
    assert!(matches!(lost.error, StepError::Database(DatabaseError::Unavailable { .. })), "{lost:?}");
}

/// The server has rolled back what it refuses to commit: nothing is left to be ended, and nobody's session is.
pub async fn a_refused_commit_keeps_its_connection(ground: &Ground<'_>) {
    let database = open(&DatabaseConfig { write_connections: 2, ..ground.config() }).await.unwrap();
    let tables =
        "CREATE TABLE t (a int, session int DEFAULT pg_backend_pid()); INSERT INTO t VALUES (1, NULL)";
    migrate(database.as_ref(), tables).await;
    let fence = take(database.as_ref()).await;
    for round in 0..3 {
        for text in ["insert into t (a) select sum(a) from t", "insert into t (a) values (1)"] {
            let (first, second) =
                (begin(database.as_ref(), &fence).await, begin(database.as_ref(), &fence).await);
            let (_, first) = execute(database.as_ref(), first, text, &[]).await.unwrap();
            let (_, second) = execute(database.as_ref(), second, text, &[]).await.unwrap();
            finish(first, &[]).await.unwrap();
            let finished = finish(second, &[]).await;
            let refused = matches!(finished, Err(FinishError::Conflict(_)));
            assert_eq!(refused, text.contains("sum"), "{round}: {finished:?}");
        }
    }
    let sessions = read(database.as_ref(), "select count(distinct session) from t").await.rows;
    assert_eq!(sessions, [[Value::Integer(2)]]);
}

pub async fn a_deferred_constraint_is_refused(ground: &Ground<'_>) {
    let tables = "CREATE TABLE t (a int PRIMARY KEY); \
        CREATE TABLE u (a int REFERENCES t DEFERRABLE INITIALLY DEFERRED)";
    let database = ground.database(tables).await;
    let fence = take(database.as_ref()).await;
    let run = begin(database.as_ref(), &fence).await;
    let (_, run) = execute(database.as_ref(), run, "insert into u values (1)", &[]).await.unwrap();
    let refused = finish(run, &[1]).await;
    assert!(matches!(refused, Err(FinishError::Refused(_))), "{refused:?}");
    assert_eq!(database.ended(&fence, &[1]).await.unwrap(), [0_i64; 0]);
}

pub async fn migrations_run_once(ground: &Ground<'_>) {
    let config = ground.config();
    let (one, two) = tokio::join!(open(&config), open(&config));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!(one.identity(), two.identity());
    let files = folder(&[("1_a.sql", "CREATE TABLE t (a int)"), ("2_b.sql", "INSERT INTO t VALUES (1)")]);
    let (first, second) = tokio::join!(one.migrate("h", files.path()), two.migrate("h", files.path()));
    first.unwrap();
    second.unwrap();
    assert_eq!(read(one.as_ref(), "select count(*) from t").await.rows, [[Value::Integer(1)]]);
    std::fs::write(files.path().join("2_b.sql"), "INSERT INTO t VALUES (2)").unwrap();
    let edited = one.migrate("h", files.path()).await.err().unwrap();
    assert!(edited.to_string().contains("2_b.sql") && !edited.can_retry(), "{edited}");
    for (text, said) in [
        ("INSERT INTO t VALUES (5); SELECT 1 / 0", "division"),
        ("INSERT INTO t VALUES (5); COMMIT; DROP TABLE keylane.claim", "transaction commands"),
        ("ROLLBACK; DROP TABLE keylane.claim", "transaction commands"),
        ("RESET ROLE; DROP TABLE keylane.claim", "security-definer"),
        ("SELECT set_config('role', 'none', true); DROP TABLE keylane.claim", "security-definer"),
        ("DROP TABLE keylane.claim", "permission denied"),
        ("COMMIT; BEGIN", "transaction commands"),
    ] {
        let bad = folder(&[("1_bad.sql", text)]);
        let failed = one.migrate("bad", bad.path()).await.err().unwrap();
        assert!(failed.to_string().contains(said), "{text}: {failed}");
    }
}

/// A server that goes down in the middle of a migration is not the migration's fault.
pub async fn a_migration_that_is_cut_off_may_be_tried_again(ground: &Ground<'_>) {
    let config = ground.config();
    let database = open(&config).await.unwrap();
    let files = folder(&[("1_t.sql", "CREATE TABLE t (a int); SELECT pg_sleep(600)")]);
    let admin = ground.admin(&config).await;
    let ends = async {
        let text = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
            WHERE datname = current_database() AND wait_event = 'PgSleep'";
        while sqlx::query(text).fetch_optional(&admin).await.unwrap().is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let (cut_off, ()) = tokio::join!(database.migrate("handler", files.path()), ends);
    let cut_off = cut_off.unwrap_err();
    assert!(cut_off.can_retry(), "{cut_off:?}");
    std::fs::write(files.path().join("1_t.sql"), "CREATE TABLE t (a int)").unwrap();
    database.migrate("handler", files.path()).await.unwrap();
    assert_eq!(read(database.as_ref(), "select count(*) from t").await.rows, [[Value::Integer(0)]]);
}
