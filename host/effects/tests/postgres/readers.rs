//! `access = "read"` at a server of its own.

use std::time::Duration;

use keylane_effects::{
    DatabaseConfig, ResultLimits, StatementError, StatementLimits, Value, open, open_reading,
};
use keylane_test_support::PostgreSql;

use crate::ground::{Ground, LONG, migrate, read};

const SESSIONS: &str = "SELECT pid FROM pg_stat_activity WHERE datname LIKE 'check%' AND application_name = 'keylane' \
    AND query LIKE '%n(i)%' ORDER BY pid";

/// A late read is cancelled where it runs: its session goes on, with the same number, and takes the next one.
pub async fn a_late_read_is_stopped_at_its_own_server(ground: &Ground<'_>) {
    let replica = PostgreSql::start().unwrap();
    let read = replica.database().unwrap();
    // The same tables there, as a replica has them.
    open(&DatabaseConfig::new(&read)).await.unwrap();
    let config = DatabaseConfig { read: Some(read), read_connections: 1, ..ground.config() };
    let database = open(&config).await.unwrap();
    let admin = sqlx::PgPool::connect(&replica.url("postgres")).await.unwrap();
    let endless = database.check(crate::suite::ENDLESS, &[], &StatementLimits::default()).unwrap();
    let limits = ResultLimits { rows: 1, bytes: 100 };
    let mut sessions = Vec::new();
    for _ in 0..2 {
        let late = database.query(endless.clone(), Vec::new(), limits, Duration::from_millis(300)).await;
        assert!(matches!(late, Err(StatementError::Late(_))), "{late:?}");
        let one = database.check("select 1", &[], &StatementLimits::default()).unwrap();
        database.query(one, Vec::new(), limits, LONG).await.unwrap();
        let text = SESSIONS
            .replace("AND query LIKE '%n(i)%' ", "AND usename = 'host' AND wait_event = 'ClientRead' ");
        let pids: Vec<i32> = sqlx::query_scalar(sqlx::AssertSqlSafe(text)).fetch_all(&admin).await.unwrap();
        let running = SESSIONS.replace("ORDER BY", "AND state = 'active' ORDER BY");
        let running: Vec<i32> =
            sqlx::query_scalar(sqlx::AssertSqlSafe(running)).fetch_all(&admin).await.unwrap();
        assert_eq!(running, [0_i32; 0], "the statement still runs");
        sessions.push(pids);
    }
    let kept = sessions[0].iter().filter(|pid| sessions[1].contains(pid)).count();
    assert!(kept >= 1, "the session was given up: {sessions:?}");
}

/// Whoever reads hears whether it is the statement's fault: a server that is away, connections that are all in use and
/// a table that is being altered are not.
pub async fn a_reader_that_cannot_be_asked_is_told_apart_from_its_statement(_ground: &Ground<'_>) {
    let replica = PostgreSql::start().unwrap();
    let (write, short) = (replica.database().unwrap(), Duration::from_millis(300));
    let config = DatabaseConfig {
        read_connections: 1,
        lock_wait: short,
        writer_wait: short,
        ..DatabaseConfig::new(&write)
    };
    let early = open_reading(&config).await.map(|_| ()).unwrap_err();
    assert!(early.can_retry() && early.to_string().contains("no handler that writes"), "{early}");
    let made = open(&config).await.unwrap();
    crate::ground::migrate(made.as_ref(), "CREATE TABLE t (a int)").await;
    let database = open_reading(&config).await.unwrap();
    let limits = ResultLimits { rows: 1, bytes: 100 };
    let ask = async |text: &str, deadline| {
        let statement = database.check(text, &[], &StatementLimits::default()).unwrap();
        database.query(statement, Vec::new(), limits, deadline).await
    };
    let is_away = |answer: &Result<_, _>| matches!(answer, Err(StatementError::Unavailable(_)));
    ask("select 1", LONG).await.unwrap();
    let (late, busy) = tokio::join!(ask(crate::suite::ENDLESS, 5 * short), async {
        tokio::time::sleep(short).await;
        ask("select 1", LONG).await
    });
    assert!(matches!(late, Err(StatementError::Late(_))), "{late:?}");
    assert!(is_away(&busy), "{busy:?}");
    let name = write.rsplit('/').next().unwrap();
    let admin = sqlx::PgPool::connect(&replica.url(name)).await.unwrap();
    let mut altering = admin.begin().await.unwrap();
    sqlx::query("LOCK TABLE t IN ACCESS EXCLUSIVE MODE").execute(&mut *altering).await.unwrap();
    let locked = ask("select count(*) from t", LONG).await;
    assert!(is_away(&locked), "{locked:?}");
    altering.rollback().await.unwrap();
    ask("select count(*) from t", LONG).await.unwrap();
    replica.kill().unwrap();
    for _ in 0..2 {
        let gone = ask("select 1", LONG).await;
        assert!(is_away(&gone), "{gone:?}");
    }
    replica.up().unwrap();
    ask("select 1", LONG).await.unwrap();
}

/// A reader needs no right of the host's, makes nothing, and is told what is missing.
pub async fn a_reader_makes_nothing_and_needs_only_the_guests_role(ground: &Ground<'_>) {
    let admin = sqlx::PgPool::connect(&ground.server.url("postgres")).await.unwrap();
    let say = async |text: &'static str| sqlx::raw_sql(text).execute(&admin).await.map(|_| ());
    say("CREATE ROLE reader_only LOGIN").await.unwrap();
    let config = ground.config();
    let name = config.write.rsplit('/').next().unwrap().to_owned();
    let reader = DatabaseConfig::new(ground.server.url_of("reader_only", &name));
    open(&config).await.unwrap();
    let refused = open_reading(&reader).await.map(|_| ()).unwrap_err();
    assert!(!refused.can_retry() && refused.to_string().contains("GRANT keylane_guest TO"), "{refused}");
    say("GRANT keylane_guest TO reader_only").await.unwrap();
    let database = open_reading(&reader).await.unwrap();
    let limits = ResultLimits { rows: 1, bytes: 100 };
    let one = database.check("select 1", &[], &StatementLimits::default()).unwrap();
    database.query(one, Vec::new(), limits, LONG).await.unwrap();
    let superuser = DatabaseConfig::new(ground.server.url(&name));
    let refused = open_reading(&superuser).await.map(|_| ()).unwrap_err();
    assert!(refused.to_string().contains("superuser"), "{refused}");
    // An empty database stays as it is.
    let empty = DatabaseConfig::new(ground.server.database().unwrap());
    open_reading(&empty).await.unwrap();
    let inside = sqlx::PgPool::connect(&empty.write).await.unwrap();
    let made = "SELECT count(*) FROM pg_namespace WHERE nspname = 'keylane'";
    let made: i64 = sqlx::query_scalar(made).fetch_one(&inside).await.unwrap();
    assert_eq!(made, 0);
}

/// A connection whose prepared statements are of a table that has changed since is not kept.
pub async fn a_reader_goes_on_after_its_table_has_changed(ground: &Ground<'_>) {
    let config = DatabaseConfig { read_connections: 1, ..ground.config() };
    let database = open(&config).await.unwrap();
    migrate(database.as_ref(), "CREATE TABLE notes (words TEXT)").await;
    let limits = ResultLimits { rows: 1, bytes: 100 };
    let columns = async || {
        let all = database.check("select * from notes", &[], &StatementLimits::default()).unwrap();
        database.query(all, Vec::new(), limits, LONG).await.map(|rows| rows.columns.len())
    };
    assert_eq!(columns().await.unwrap(), 1);
    let admin = ground.admin(&config).await;
    sqlx::raw_sql("ALTER TABLE notes ADD more TEXT").execute(&admin).await.unwrap();
    let first = columns().await;
    assert!(matches!(first, Err(StatementError::Unavailable(_))), "{first:?}");
    assert_eq!(columns().await.unwrap(), 2, "by another connection");
}

/// A hot standby refuses serializable, which no other server would show: so the transaction itself is asked, by a
/// function of the handler's.
pub async fn a_read_begins_as_a_standby_lets_it(ground: &Ground<'_>) {
    let database = ground
        .database(
            "CREATE FUNCTION setting(name text) RETURNS text LANGUAGE sql AS 'SELECT current_setting(name)'",
        )
        .await;
    let settings = "select setting('transaction_isolation'), setting('transaction_read_only')";
    let said = read(database.as_ref(), settings).await.rows;
    assert_eq!(said, [["repeatable read", "on"].map(|said| Value::Text(said.to_owned()))]);
}
