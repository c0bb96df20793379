//! Runs on PostgreSQL: what the rules come to where runs of one handler are really at once, and where the
//! database is a process of its own. Left out, with a line that says so, where there is none.

use std::time::Duration;

use keylane_effects::{EndedAs, StatementLimits, Value};
use keylane_engine::{FailureClass, Outcome, RunControl, RunStand, Runner as _};
use keylane_test_support::PostgreSql;
use sqlx::{Connection as _, Executor as _, Row as _};

use crate::fake_publisher::Acks;
use crate::stage::{Loaded, Stage, attempt, attempts, failure};

const TABLES: &str = "
    CREATE TABLE t (a BIGINT UNIQUE);
    CREATE TABLE counter (n BIGINT NOT NULL);
    INSERT INTO counter VALUES (0);
    CREATE TABLE parent (id BIGINT PRIMARY KEY);
    CREATE TABLE child (parent BIGINT REFERENCES parent DEFERRABLE INITIALLY DEFERRED);
";
const ENDLESS: &str = "do INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT 1 FROM n) \
    SELECT count(*) FROM n";
/// A guest's own time, shorter than the waits of these tests.
const TIME: Duration = Duration::from_millis(200);

async fn loaded(server: &PostgreSql) -> Loaded {
    let migrations = tempfile::tempdir().unwrap();
    std::fs::write(migrations.path().join("1_tables.sql"), TABLES).unwrap();
    let mut stage = Stage::of("script").with_database(Some(migrations.path().to_owned())).with_reports();
    stage.address = Some(server.database().unwrap());
    stage.time(TIME).with_producer(Acks::AtOnce).load().await
}

async fn kept(loaded: &Loaded) -> Vec<i64> {
    let rows = loaded.read("SELECT a FROM t ORDER BY a").await;
    rows.iter().map(|row| if let Value::Integer(a) = row[0] { a } else { panic!("{row:?}") }).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_on_postgresql() {
    let Some(server) = keylane_test_support::postgres("runs on PostgreSQL").unwrap() else { return };
    failed_events_are_undone_and_charged_alone(&loaded(&server).await).await;
    a_wait_for_a_lock_and_a_conflict_are_not_the_guests(&loaded(&server).await).await;
    runs_at_once_add_up(&loaded(&server).await).await;
    a_killed_session_leaves_the_partition_in_doubt(&server).await;
    a_dropped_run_leaves_nothing(&loaded(&server).await).await;
    claims_and_ownership(&loaded(&server).await).await;
}

async fn failed_events_are_undone_and_charged_alone(loaded: &Loaded) {
    for (number, (last, expected)) in (0..).step_by(2).zip([
        ("reject never", FailureClass::Reject),
        ("trap", FailureClass::Trap),
        ("do INSERT INTO nowhere VALUES (1)", FailureClass::Retry),
        ("try INSERT INTO nowhere VALUES (1)\ntry INSERT INTO t VALUES (9)", FailureClass::Retry),
        ("do INSERT INTO child VALUES (77)", FailureClass::Retry),
        ("do SELECT set_config('role', 'none', true)", FailureClass::Retry),
        ("peek SELECT * FROM keylane.claim", FailureClass::Retry),
    ]) {
        let good = |number: i64| format!("do INSERT INTO t VALUES ({})\nsend good", 100 + number);
        let bad = format!("do INSERT INTO t VALUES (1)\nsend bad\n{last}");
        let outcomes = loaded.each(&[&good(number), &bad, &good(number + 1)]).await;
        assert_eq!((&outcomes[0], &outcomes[2]), (&Outcome::Done, &Outcome::Done), "{last}");
        assert_eq!(failure(&outcomes[1]).0, expected, "{last}: {:?}", outcomes[1]);
    }
    assert_eq!(kept(loaded).await, (100..114).collect::<Vec<_>>());
    assert!(loaded.claimed().await.iter().all(|offset| offset % 3 != 1));
}

/// Another transaction holds the row that the guest updates, for longer than the guest's own time. When it
/// commits, the guest's snapshot is out of date: the run is done again, and nobody is charged.
async fn a_wait_for_a_lock_and_a_conflict_are_not_the_guests(loaded: &Loaded) {
    let other = loaded.own(4).await;
    let run = loaded.database().begin(&other).await.unwrap();
    let update = "UPDATE counter SET n = n + 1";
    let statement = loaded.database().check(update, &[], &StatementLimits::default()).unwrap();
    let (_, run) = run.execute(statement, Vec::new(), Duration::from_secs(60)).await.unwrap();
    let waits = attempts(&[&format!("do {update}"), &format!("try {update}")]);
    let waiting = loaded.report(waits);
    let holding = async {
        tokio::time::sleep(TIME * 4).await;
        run.finish(&[], &[(0, EndedAs::Done)], Duration::from_secs(60)).await.unwrap();
    };
    let (report, ()) = tokio::join!(waiting, holding);
    assert_eq!((&report.stand, report.conflicts), (&RunStand::Kept, 1), "{report:?}");
    assert_eq!(report.outcomes, [Outcome::Done, Outcome::NotStarted], "done again, shorter");
    assert_eq!(loaded.read("SELECT n FROM counter").await, [[Value::Integer(2)]]);
}

/// Four partitions add to one row, each event by reading it first.
async fn runs_at_once_add_up(loaded: &Loaded) {
    const EVENTS: u64 = 12;
    let partition = async |partition: i32| {
        let fence = loaded.own(partition).await;
        let mut left: Vec<_> = (0..EVENTS).collect();
        while let Some(first) = left.first().copied() {
            let add = "do UPDATE counter SET n = (SELECT n FROM counter) + 1";
            let run = left.iter().map(|offset| attempt(*offset, *offset, add)).collect();
            let report = loaded.runner.run(run, RunControl::unlimited().under(Some(fence))).await;
            assert_eq!(report.stand, RunStand::Kept);
            let done = report.outcomes.iter().take_while(|outcome| **outcome == Outcome::Done).count();
            assert!(
                report.outcomes[done..].iter().all(|outcome| *outcome == Outcome::NotStarted),
                "{report:?}"
            );
            assert!(done > 0 || report.conflicts > 0, "{first}: {report:?}");
            left.drain(..done);
        }
    };
    tokio::join!(partition(10), partition(11), partition(12), partition(13));
    let sum = i64::try_from(4 * EVENTS).unwrap();
    assert_eq!(loaded.read("SELECT n FROM counter").await, [[Value::Integer(sum)]]);
}

async fn a_killed_session_leaves_the_partition_in_doubt(server: &PostgreSql) {
    let migrations = tempfile::tempdir().unwrap();
    std::fs::write(migrations.path().join("1_tables.sql"), TABLES).unwrap();
    let address = server.database().unwrap();
    let mut stage = Stage::of("script").with_database(Some(migrations.path().to_owned()));
    stage.address = Some(address.clone());
    let loaded = stage.with_producer(Acks::AtOnce).load().await;
    let killing = async {
        let mut connection = sqlx::PgConnection::connect(&address).await.unwrap();
        loop {
            let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                WHERE datname = current_database() AND state = 'active' AND query LIKE '%RECURSIVE n(i)%' \
                AND pid <> pg_backend_pid()";
            let killed = connection.fetch_optional(kill).await.unwrap();
            if killed.is_some_and(|row| row.get::<bool, _>(0)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let run = attempts(&["do INSERT INTO t VALUES (1)", ENDLESS]);
    let (report, ()) = tokio::join!(loaded.report(run), killing);
    assert_eq!(report.outcomes, vec![Outcome::NotStarted; 2]);
    assert!(matches!(&report.stand, RunStand::InDoubt(_)), "{report:?}");
    assert_eq!(kept(&loaded).await, Vec::<i64>::new());
    assert_eq!(loaded.claimed().await, Vec::<i64>::new());
}

async fn a_dropped_run_leaves_nothing(loaded: &Loaded) {
    let run = attempts(&["do INSERT INTO t VALUES (1)", ENDLESS]);
    let dropped = tokio::time::timeout(Duration::from_secs(1), loaded.report(run)).await;
    assert!(dropped.is_err(), "the statement was to be endless");
    // The next owner waits for nothing, and the row's key is free.
    let fence = loaded.own(3).await;
    let control = RunControl::unlimited().under(Some(fence));
    let report = loaded.runner.run(attempts(&["do INSERT INTO t VALUES (1)"]), control).await;
    assert_eq!(report.outcomes, [Outcome::Done], "{report:?}");
    assert_eq!((kept(loaded).await, loaded.claimed().await), (vec![1], vec![0]));
}

async fn claims_and_ownership(loaded: &Loaded) {
    let add = ["do UPDATE counter SET n = n + 1"; 3];
    assert_eq!(loaded.run(attempts(&add)[1..2].to_vec()).await, [Outcome::Done]);
    assert_eq!(loaded.run(attempts(&add)).await, vec![Outcome::Done; 3], "the second one had ended before");
    assert_eq!(loaded.read("SELECT n FROM counter").await, [[Value::Integer(3)]]);
    loaded.own(3).await;
    let report = loaded.report(attempts(&add)).await;
    assert_eq!((report.outcomes, report.stand), (vec![Outcome::NotStarted; 3], RunStand::Overtaken));
    assert_eq!(loaded.read("SELECT n FROM counter").await, [[Value::Integer(3)]]);
}
