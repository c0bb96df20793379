//! Rows that ask for no answer: they are sent together, are there when they are asked for, and fail their own event.

use keylane_effects::{
    Database, EndedAs, FinishError, RunTransaction, StatementError, StatementFailed, StatementLimits, Value,
};

use super::{Ground, LONG, did, execute, heard, kept, owner, rows};

const TABLE: &str = "CREATE TABLE t (a BIGINT NOT NULL UNIQUE CHECK (a >= 0))";
const ADD: &str = "INSERT INTO t (a) VALUES ($1)";

async fn append(
    database: &dyn Database,
    run: Box<dyn RunTransaction>,
    text: &str,
    parameters: Vec<Value>,
) -> Result<Box<dyn RunTransaction>, StatementFailed> {
    let insert = database.check_append(text, &parameters, &StatementLimits::default());
    let insert = insert.unwrap_or_else(|error| panic!("{text:?} was refused: {error}"));
    Ok(run.append(insert, parameters, LONG).await?.1)
}

async fn added(database: &dyn Database, run: Box<dyn RunTransaction>, a: i64) -> Box<dyn RunTransaction> {
    append(database, run, ADD, vec![Value::Integer(a)]).await.unwrap()
}

/// Values of every kind, nothings among them, in the order of the calls, in two tables of which one needs the other.
pub async fn many_calls_write_what_each_alone_would(ground: &Ground) {
    let (database, words) = (&*ground.here, &ground.words);
    let sql = format!(
        "CREATE TABLE t (id {}, a BIGINT UNIQUE, b BOOLEAN, f DOUBLE PRECISION, x TEXT, y {}, s {}, d {}, c TEXT \
         DEFAULT 'given'); CREATE TABLE child (a BIGINT NOT NULL REFERENCES t (a), word TEXT NOT NULL)",
        words.counting_key, words.bytes, words.timestamp, words.decimal
    );
    let fence = owner(database, &sql).await;
    let line = |a: i64| {
        let or_null = |value: Value, every: i64| if a % every == 0 { Value::Null } else { value };
        vec![
            Value::Integer(a),
            or_null(Value::Boolean(a % 2 == 0), 5),
            or_null(Value::Float(0.5), 7),
            or_null(Value::Text(format!("$1 '{a}")), 3),
            or_null(Value::Bytes(vec![0, 255]), 11),
            or_null(Value::Timestamp(a), 13),
            or_null(Value::Decimal("12.50".to_owned()), 17),
        ]
    };
    let text = "insert INTO \"t\" (a, b, f, x, y, s, d) /* all ) of */ VALUES ($1, $2, $3, $4, $5, $6, $7) -- them\n ;";
    let mut run = database.begin(&fence).await.unwrap();
    for a in 0..300 {
        run = append(database, run, text, line(a)).await.unwrap();
        let words = "INSERT INTO child (a, word) VALUES ($1, $2), ($1, 'it''s ' || $2)";
        run = append(database, run, words, vec![Value::Integer(a), Value::Text("one".to_owned())])
            .await
            .unwrap();
    }
    run.finish(&[], &[(0, EndedAs::Done)], LONG).await.unwrap();
    let read = async |text: &str| {
        let statement = super::checked(database, text, &[]);
        database.query(statement, Vec::new(), super::LIMITS, LONG).await.unwrap().rows
    };
    let back = read("SELECT a, b, f, x, y, s, d FROM t ORDER BY id").await;
    let as_text = |value: Value| if let Value::Decimal(text) = value { Value::Text(text) } else { value };
    let plain = |line: Vec<Value>| line.into_iter().map(as_text).collect::<Vec<_>>();
    assert_eq!(
        back.into_iter().map(plain).collect::<Vec<_>>(),
        (0..300).map(line).map(plain).collect::<Vec<_>>()
    );
    let counted = read("SELECT count(*), count(DISTINCT a), count(DISTINCT word) FROM child").await;
    assert_eq!(counted, [[600, 300, 2].map(Value::Integer)]);
    assert_eq!(read("SELECT count(*) FROM t WHERE c = 'given'").await, [[Value::Integer(300)]]);
}

/// Whoever names the table sees what waits for it.
pub async fn a_statement_that_names_the_table_sees_them(ground: &Ground) {
    let database = &*ground.here;
    let fence = owner(database, TABLE).await;
    let run = added(database, database.begin(&fence).await.unwrap(), 1).await;
    let (found, run) = rows(database, run, "SELECT count(*) FROM \"t\"", Vec::new()).await;
    assert_eq!(found.rows, [[Value::Integer(1)]]);
    let run = added(database, run, 2).await;
    let (changed, run) = execute(database, run, "UPDATE T SET a = a + 10", Vec::new()).await.unwrap();
    assert_eq!(changed, 2);
    added(database, run, 3).await.finish(&[], &[(0, EndedAs::Done)], LONG).await.unwrap();
    assert_eq!(kept(database).await, [3, 11, 12]);
}

/// A row that is refused undoes the run where it has no savepoints, and only its event where it has.
pub async fn a_refused_row_is_the_fault_of_its_event(ground: &Ground) {
    let database = &*ground.here;
    let fence = owner(database, TABLE).await;
    let run = added(database, database.begin(&fence).await.unwrap(), 1).await;
    let finished = added(database, run, -1).await.finish(&[], &[(0, EndedAs::Done)], LONG).await;
    assert!(matches!(finished, Err(FinishError::Refused(_))), "{finished:?}");
    assert_eq!(database.ended(&fence, &[0]).await.unwrap(), Vec::<i64>::new());
    let ((), run) = database.begin(&fence).await.unwrap().savepoint().await.unwrap();
    let ((), run) = added(database, run, 1).await.savepoint().await.unwrap();
    let failed = added(database, run, -1).await.savepoint().await.err().unwrap();
    assert!(matches!(heard(&failed), StatementError::Refused(_)), "{failed:?}");
    let failed =
        append(database, failed.transaction.unwrap(), ADD, vec![Value::Integer(5)]).await.err().unwrap();
    assert_eq!(heard(&failed), &StatementError::Aborted);
    let ((), run) = failed.transaction.unwrap().rollback_to_savepoint().await.unwrap();
    let finished = added(database, run, 2).await.finish(&[], &[(0, EndedAs::Done), (2, EndedAs::Done)], LONG);
    finished.await.unwrap();
    assert_eq!(kept(database).await, [1, 2]);
}

/// What a failed event has added is undone with it, sent or not; and a run that is rolled back leaves nothing.
pub async fn a_failed_event_takes_its_rows_along(ground: &Ground) {
    let database = &*ground.here;
    let fence = owner(database, TABLE).await;
    let ((), run) = database.begin(&fence).await.unwrap().savepoint().await.unwrap();
    let ((), run) = added(database, run, 1).await.rollback_to_savepoint().await.unwrap();
    let (seen, run) = rows(database, added(database, run, 2).await, "SELECT a FROM t", Vec::new()).await;
    assert_eq!(seen.rows, [[Value::Integer(2)]]);
    let ((), run) = run.rollback_to_savepoint().await.unwrap();
    added(database, run, 3).await.finish(&[], &[(0, EndedAs::Done)], LONG).await.unwrap();
    added(database, database.begin(&fence).await.unwrap(), 4).await.rollback().await;
    drop(added(database, database.begin(&fence).await.unwrap(), 5).await);
    let run = added(database, database.begin(&fence).await.unwrap(), 6).await;
    let failed = execute(database, run, "INSERT INTO t VALUES (-1)", Vec::new()).await.err().unwrap();
    assert!(failed.transaction.is_none());
    assert_eq!(kept(database).await, [3]);
}

/// More calls and longer values than wait at once, and rows that are there already.
pub async fn more_than_may_wait_is_sent_before(ground: &Ground) {
    let database = &*ground.here;
    let fence = owner(database, "CREATE TABLE t (a BIGINT PRIMARY KEY, x TEXT)").await;
    let mut run = database.begin(&fence).await.unwrap();
    run = did(database, run, "INSERT INTO t (a) VALUES (7)", Vec::new()).await;
    let text = "INSERT INTO t (a, x) VALUES ($1, $2) ON CONFLICT (a) DO NOTHING";
    let long = Value::Text("x".repeat(300_000));
    for a in 0..9_000 {
        let x = if a % 1_000 == 1 { long.clone() } else { Value::Null };
        run = append(database, run, text, vec![Value::Integer(a % 4_500), x]).await.unwrap();
    }
    run.finish(&[], &[(0, EndedAs::Done)], LONG).await.unwrap();
    let statement = super::checked(database, "SELECT count(*), max(a), sum(length(x)) FROM t", &[]);
    let counted = database.query(statement, Vec::new(), super::LIMITS, LONG).await.unwrap();
    assert_eq!(counted.rows, [[4_500, 4_499, 5 * 300_000].map(Value::Integer)]);
}

/// Two texts for one table, of which the earlier call wins; and more texts than wait at once.
pub async fn rows_of_a_table_go_in_the_order_of_the_calls(ground: &Ground) {
    let database = &*ground.here;
    let fence = owner(database, "CREATE TABLE t (a BIGINT PRIMARY KEY, x TEXT)").await;
    let mut run = database.begin(&fence).await.unwrap();
    let with = "INSERT INTO t (a, x) VALUES ($1, 'with') ON CONFLICT DO NOTHING";
    let without = "INSERT INTO t (a) VALUES ($1) ON CONFLICT DO NOTHING";
    for (text, a) in [(with, 1), (without, 2), (with, 2), (with, 2), (without, 1), (without, 3), (without, 3)]
    {
        run = append(database, run, text, vec![Value::Integer(a)]).await.unwrap();
    }
    for a in 100..400 {
        let text = format!("INSERT INTO t (a, x) VALUES ({a}, 'changes') ON CONFLICT DO NOTHING");
        run = append(database, run, &text, Vec::new()).await.unwrap();
    }
    run.finish(&[], &[(0, EndedAs::Done)], LONG).await.unwrap();
    let statement = super::checked(database, "SELECT a, x FROM t WHERE a < 10 ORDER BY a", &[]);
    let low = database.query(statement, Vec::new(), super::LIMITS, LONG).await.unwrap().rows;
    let text = |text: &str| Value::Text(text.to_owned());
    assert_eq!(
        low,
        [
            [Value::Integer(1), text("with")],
            [Value::Integer(2), Value::Null],
            [Value::Integer(3), Value::Null]
        ]
    );
    assert_eq!(kept(database).await.len(), 303);
}

/// Also where a table's later rows have another text: those that need them come behind.
pub async fn tables_go_in_the_order_in_which_each_came_first(ground: &Ground) {
    let database = &*ground.here;
    let sql = "CREATE TABLE parent (id BIGINT PRIMARY KEY, note TEXT); \
               CREATE TABLE child (parent BIGINT NOT NULL REFERENCES parent (id))";
    let fence = owner(database, sql).await;
    let mut run = database.begin(&fence).await.unwrap();
    for (text, id) in [
        ("INSERT INTO parent (id, note) VALUES ($1, 'noted')", 1),
        ("INSERT INTO child (parent) VALUES ($1)", 1),
        ("INSERT INTO parent (id) VALUES ($1)", 2),
        ("INSERT INTO child (parent) VALUES ($1)", 2),
    ] {
        run = append(database, run, text, vec![Value::Integer(id)]).await.unwrap();
    }
    run.finish(&[], &[(0, EndedAs::Done)], LONG).await.unwrap();
    let statement = super::checked(database, "SELECT count(*) FROM child", &[]);
    let counted = database.query(statement, Vec::new(), super::LIMITS, LONG).await.unwrap();
    assert_eq!(counted.rows, [[Value::Integer(2)]]);
}

/// What could mean another thing together than alone.
pub async fn what_is_no_plain_insert_is_refused(ground: &Ground) {
    let database = &*ground.here;
    owner(database, TABLE).await;
    for text in [
        "INSERT INTO t VALUES (1)",
        "INSERT INTO t (a) SELECT 1",
        "INSERT INTO t (a) VALUES ((SELECT max(a) FROM t))",
        "INSERT INTO t (a) VALUES (1) RETURNING a",
        "INSERT INTO t (a) VALUES (1) ON CONFLICT (a) DO UPDATE SET a = 2",
        "INSERT INTO t (a) VALUES (1) ON CONFLICT DO NOTHING RETURNING a",
        "INSERT INTO t (a) VALUES (1), (2",
        "INSERT INTO t (a) VALUES",
        "INSERT INTO t AS u (a) VALUES (1)",
        "UPDATE t SET a = 1",
        "WITH n AS (SELECT 1) INSERT INTO t (a) VALUES (1)",
        "INSERT INTO t (a) VALUES (1 IN t)",
        "INSERT INTO t (a) VALUES (currval('t_a_seq'))",
        "INSERT INTO t (a) VALUES (1, \"lastval\"())",
        "INSERT INTO t (a) VALUES (('t_a_seq'::regclass).currval)",
        "INSERT INTO t (a) VALUES (generate_series(1, 2))",
        "INSERT INTO t (a) VALUES (\"unnest\"(ARRAY[1, 2]))",
        "INSERT INTO t (a) VALUES ((ARRAY[1, 2]).unnest)",
        "INSERT INTO t (a) VALUES (last_insert_rowid ())",
        "INSERT INTO t (a) VALUES (changes())",
        "INSERT INTO t (a) VALUES (1); DELETE FROM t",
        "INSERT INTO \"t\"\"x\" (a) VALUES (1)",
        "SELECT 1",
        "COMMIT",
    ] {
        let checked = database.check_append(text, &[], &StatementLimits::default());
        assert!(matches!(checked, Err(StatementError::Refused(_))), "{text}: {checked:?}");
    }
    for table in ground.words.host_tables {
        let text = format!("INSERT INTO {table} (a) VALUES (1)");
        let checked = database.check_append(&text, &[], &StatementLimits::default());
        assert!(matches!(checked, Err(StatementError::Refused(_))), "{text}: {checked:?}");
    }
    // Each call has parameters of its own only in its rows.
    for text in [
        "INSERT INTO t (b[$1], a) VALUES ($2, 1)",
        "INSERT INTO t (a) VALUES ($1) ON CONFLICT (a) WHERE a > $2 DO NOTHING",
    ] {
        let checked = database.check_append(text, &[Value::Null, Value::Null], &StatementLimits::default());
        assert!(matches!(checked, Err(StatementError::Refused(_))), "{text}: {checked:?}");
    }
    let missing = database.check_append(ADD, &[], &StatementLimits::default());
    assert!(matches!(missing, Err(StatementError::Refused(_))), "{missing:?}");
}
