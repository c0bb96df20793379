//! What a guest can say and hears.

use std::time::Duration;

use keylane_effects::{
    DatabaseConfig, ResultLimits, StatementError, StatementLimits, StepError, Value, open,
};

use crate::ground::{Ground, LONG, execute, finish, migrate, query, read, run, stream, take};

const KINDS: &str = "CREATE TABLE kinds (i bigint, small int, b boolean, f double precision, t text, \
    y bytea, s timestamptz, d numeric, u uuid, j jsonb)";

pub async fn values_come_back(ground: &Ground<'_>) {
    let database = ground.database(KINDS).await;
    let run = run(database.as_ref()).await;
    let values = [
        Value::Integer(i64::MIN),
        Value::Integer(-7),
        Value::Boolean(true),
        Value::Float(0.1),
        Value::Text("ä\u{1F600}'".to_owned()),
        Value::Bytes(vec![0, 255]),
        Value::Timestamp(-1),
        Value::Decimal("-12345678901234567890.0100".to_owned()),
        Value::Text("0a1b2c3d-0000-4000-8000-00000000000f".to_owned()),
        Value::Text("{\"a\": [1, null]}".to_owned()),
    ];
    let text = "insert into kinds values ($1, $2, $3, $4, $5, $6, $7, $8, $9::uuid, $10::jsonb)";
    let (count, run) = execute(database.as_ref(), run, text, &values).await.unwrap();
    assert_eq!(count, 1);
    let (rows, run) = query(database.as_ref(), run, "select * from kinds", &[]).await.unwrap();
    assert_eq!(rows.columns, ["i", "small", "b", "f", "t", "y", "s", "d", "u", "j"]);
    assert_eq!(rows.rows, [values.to_vec()]);
    let (rows, run) = query(database.as_ref(), run, "select i, t from kinds where false", &[]).await.unwrap();
    assert_eq!((rows.columns.len(), rows.rows.len()), (2, 0), "columns are named where there is no row");
    let odd = query(database.as_ref(), run, "select interval '1 day' as odd", &[]).await.err().unwrap();
    assert!(odd.error.to_string().contains("cast it to text"), "{}", odd.error);
}

/// sqlx keeps statements by text alone: an integer after a NULL would be sent as what the NULL was taken for.
pub async fn a_statement_is_prepared_for_its_kinds(ground: &Ground<'_>) {
    let database = ground.database("CREATE TABLE t (small int, big bigint)").await;
    let mut run = run(database.as_ref()).await;
    let text = "insert into t values ($1, $2)";
    for value in [Value::Null, Value::Integer(5), Value::Null, Value::Float(2.0)] {
        (_, run) = execute(database.as_ref(), run, text, &[value.clone(), value]).await.unwrap();
    }
    let (rows, _) = query(database.as_ref(), run, "select sum(small), count(*) from t", &[]).await.unwrap();
    assert_eq!(rows.rows, [vec![Value::Integer(7), Value::Integer(4)]]);
}

pub async fn failures_are_told_apart(ground: &Ground<'_>) {
    let database = ground.database("CREATE TABLE t (a int PRIMARY KEY)").await;
    let fence = take(database.as_ref()).await;
    let syntax = "select from where";
    let twice = "insert into t values (1), (1)";
    let absent = "select * from nowhere";
    for text in [syntax, twice, absent, "select 1 / 0", "select 'x'::int", "select own()"] {
        let run = database.begin(&fence).await.unwrap();
        let failed = query(database.as_ref(), run, text, &[]).await.err().unwrap();
        assert!(
            matches!(failed.error, StepError::Statement(StatementError::Refused(_))),
            "{text}: {failed:?}"
        );
        assert!(failed.transaction.is_none(), "{text}");
    }
}

pub async fn limits_hold(ground: &Ground<'_>) {
    let database = ground.database("CREATE TABLE t (a int)").await;
    let fence = take(database.as_ref()).await;
    let many =
        database.check("select generate_series(1, 100000000)", &[], &StatementLimits::default()).unwrap();
    let run = database.begin(&fence).await.unwrap();
    let (_, run) = run.savepoint().await.unwrap();
    let few = ResultLimits { rows: 10, bytes: 1_000 };
    let failed = run.query(many.clone(), Vec::new(), few, LONG).await.err().unwrap();
    assert!(matches!(failed.error, StepError::Statement(StatementError::Limit(_))), "{failed:?}");
    let (_, run) = failed.transaction.unwrap().rollback_to_savepoint().await.unwrap();
    // Far from done within its time; the transaction bears it.
    let endless =
        "with recursive n as (select 1 as a union all select a % 7 + 1 from n) select count(*) from n";
    let endless = database.check(endless, &[], &StatementLimits::default()).unwrap();
    let failed = run.query(endless, Vec::new(), few, Duration::from_millis(300)).await.err().unwrap();
    assert!(matches!(failed.error, StepError::Statement(StatementError::Late(_))), "{failed:?}");
    let (_, run) = failed.transaction.unwrap().rollback_to_savepoint().await.unwrap();
    finish(run, &[1]).await.unwrap();
}

/// The first run holds a row for longer than the second one's deadline.
pub async fn waiting_for_a_lock_is_not_their_time(ground: &Ground<'_>) {
    let database = ground.database("CREATE TABLE t (a int); INSERT INTO t VALUES (1)").await;
    let fence = take(database.as_ref()).await;
    let text = "update t set a = a + 1";
    let first = database.begin(&fence).await.unwrap();
    let (_, first) = execute(database.as_ref(), first, text, &[]).await.unwrap();
    let second = database.begin(&fence).await.unwrap();
    let statement = database.check(text, &[], &StatementLimits::default()).unwrap();
    let waiting = second.execute(statement, Vec::new(), Duration::from_millis(50));
    let release = async {
        tokio::time::sleep(Duration::from_millis(600)).await;
        first.rollback().await;
    };
    let (waited, ()) = tokio::join!(waiting, release);
    finish(waited.unwrap().1, &[1]).await.unwrap();
    assert_eq!(read(database.as_ref(), "select a from t").await.rows, [[Value::Integer(2)]]);
}

/// One statement that waits for one lock after another, together for longer than its deadline, and works between
/// them and afterwards.
pub async fn waiting_for_locks_is_not_their_time(ground: &Ground<'_>) {
    let tables = "CREATE TABLE t (a int, n int); INSERT INTO t VALUES (1, 0), (2, 0); \
        CREATE FUNCTION works() RETURNS void LANGUAGE plpgsql AS $$ BEGIN \
            UPDATE public.t SET n = n + 1 WHERE a = 1; PERFORM pg_sleep(0.4); \
            UPDATE public.t SET n = n + 1 WHERE a = 2; PERFORM pg_sleep(0.4); END $$";
    let config = DatabaseConfig { lock_wait: Duration::from_secs(60), ..ground.config() };
    let database = open(&config).await.unwrap();
    migrate(database.as_ref(), tables).await;
    let fence = take(database.as_ref()).await;
    let mut holders = Vec::new();
    for row in [1, 2] {
        let holder = database.begin(&fence).await.unwrap();
        let values = [Value::Integer(row)];
        let text = "update t set n = n where a = $1";
        holders.push(execute(database.as_ref(), holder, text, &values).await.unwrap().1);
    }
    let statement = database.check("select works()", &[], &StatementLimits::default()).unwrap();
    let limits = ResultLimits { rows: 1, bytes: 100 };
    let working = database.begin(&fence).await.unwrap();
    let working = working.query(statement, Vec::new(), limits, Duration::from_secs(4));
    let release = async {
        for holder in holders {
            tokio::time::sleep(Duration::from_secs(3)).await;
            holder.rollback().await;
        }
    };
    let (worked, ()) = tokio::join!(working, release);
    finish(worked.unwrap().1, &[1]).await.unwrap();
    assert_eq!(read(database.as_ref(), "select sum(n) from t").await.rows, [[Value::Integer(2)]]);
}

/// Rights first: a function of the handler's own says what the rules would not let through.
pub async fn the_hosts_tables_are_out_of_reach(ground: &Ground<'_>) {
    let reach = "CREATE FUNCTION reach() RETURNS bigint LANGUAGE plpgsql AS \
        $$ BEGIN RETURN (SELECT count(*) FROM keylane.claim); END $$; \
        CREATE FUNCTION own() RETURNS text LANGUAGE sql AS 'select current_user::text'";
    let database = ground.database(reach).await;
    let (rows, run) =
        query(database.as_ref(), run(database.as_ref()).await, "select own()", &[]).await.unwrap();
    assert_eq!(rows.rows, [[Value::Text("keylane_guest".to_owned())]]);
    let failed = query(database.as_ref(), run, "select reach()", &[]).await.err().unwrap();
    assert!(failed.error.to_string().contains("permission denied for schema keylane"), "{}", failed.error);
    for text in ["select pg_terminate_backend(1)", "select set_config('role', 'none', true)", "notify x"] {
        assert!(database.check(text, &[], &StatementLimits::default()).is_err(), "{text}");
    }
    let foreign =
        ["select * from keylane.claim", "commit; select 1", "select query_to_xml('x', true, true, '')"];
    for text in foreign {
        assert!(database.check(text, &[], &StatementLimits::default()).is_err(), "{text}");
    }
}

pub async fn readers_cannot_write(ground: &Ground<'_>) {
    let config = ground.config();
    let database = open(&config).await.unwrap();
    migrate(database.as_ref(), "CREATE TABLE t (a int)").await;
    let limits = ResultLimits { rows: 10, bytes: 1_000 };
    for text in
        ["insert into t values (1)", "with x as (insert into t values (1) returning a) select a from x"]
    {
        let statement = database.check(text, &[], &StatementLimits::default()).unwrap();
        let refused = database.query(statement, Vec::new(), limits, LONG).await;
        assert!(matches!(refused, Err(StatementError::Refused(_))), "{text}: {refused:?}");
    }
    assert_eq!(read(database.as_ref(), "select count(*) from t").await.rows, [[Value::Integer(0)]]);
    let again = open(&config).await.unwrap();
    assert_eq!(again.identity(), database.identity(), "the identity is made once");
    assert_eq!(again.take(&stream(), LONG).await.unwrap().fence.epoch.count, 1);
}
