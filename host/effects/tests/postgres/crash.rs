//! The server is killed, or stops answering.

use std::time::Duration;

use keylane_effects::{BeginError, Database, DatabaseConfig, FinishError, StepError, Value, open};
use keylane_engine::Fence;

use crate::ground::{
    Ground, LONG, begin, execute, finish, is_in_doubt, migrate, query, read, run, stream, take,
};

/// Commits under way when the server is killed.
const ABREAST: i64 = 6;
/// Kills.
const KILLS: i64 = 4;

/// What was committed is there, what was not is not, the host hears that it may try again, and it goes on
/// with the connections that it has as soon as the server is back.
pub async fn a_killed_server_loses_nothing(ground: &Ground<'_>) {
    let database = ground.database("CREATE TABLE t (a int)").await;
    let fence = take(database.as_ref()).await;
    let committed = begin(database.as_ref(), &fence).await;
    let (_, committed) =
        execute(database.as_ref(), committed, "insert into t values (1)", &[]).await.unwrap();
    finish(committed, &[1]).await.unwrap();
    let (one, two) = (begin(database.as_ref(), &fence).await, begin(database.as_ref(), &fence).await);
    let (_, one) = execute(database.as_ref(), one, "insert into t values (2)", &[]).await.unwrap();
    ground.server.kill().unwrap();
    let failed = execute(database.as_ref(), two, "insert into t values (3)", &[]).await.err().unwrap();
    assert!(failed.transaction.is_none(), "{failed:?}");
    let lost = finish(one, &[2]).await;
    assert!(is_in_doubt(&lost), "{lost:?}");
    let down = database.begin(&fence).await.err().unwrap();
    assert!(matches!(&down, BeginError::Database(error) if error.can_retry()), "{down:?}");
    let down = database.take(&stream(), Duration::from_secs(1)).await.unwrap_err();
    assert!(down.can_retry(), "{down:?}");
    ground.server.up().unwrap();
    assert_eq!(read(database.as_ref(), "select a from t").await.rows, [[Value::Integer(1)]]);
    assert_eq!(database.ended(&fence, &[1, 2, 3]).await.unwrap(), [1]);
    let again = run(database.as_ref()).await;
    finish(again, &[2]).await.unwrap();
}

/// Runs, one after another, until one is not answered. Answers the offsets that were told as done, and those
/// whose outcome was left unknown.
async fn commits(database: &dyn Database, fence: &Fence, first: i64) -> (Vec<i64>, Vec<i64>) {
    let (mut done, mut unknown) = (Vec::new(), Vec::new());
    for offset in (first..).step_by(usize::try_from(ABREAST).unwrap()) {
        let Ok(run) = database.begin(fence).await else { break };
        let Ok((_, run)) =
            execute(database, run, "insert into t values ($1)", &[Value::Integer(offset)]).await
        else {
            break;
        };
        match finish(run, &[offset]).await {
            Ok(()) => done.push(offset),
            Err(FinishError::Unknown(_)) => unknown.push(offset),
            Err(FinishError::Database(error)) => assert!(error.can_retry(), "{error:?}"),
            Err(other) => panic!("{offset}: {other:?}"),
        }
        if done.last() != Some(&offset) {
            break;
        }
    }
    (done, unknown)
}

/// Commits are cut off in the middle, again and again: what was told as done is there, what was not known is
/// found out by the claims, and rows and claims agree.
pub async fn commits_cut_off_by_a_kill_are_found_out(ground: &Ground<'_>) {
    let database = ground.database("CREATE TABLE t (a bigint)").await;
    let mut first = 0;
    let (mut cut_off, mut all_done) = (0, 0);
    for kill in 0..KILLS {
        let fence = take(database.as_ref()).await;
        let running = (0..ABREAST).map(|one| commits(database.as_ref(), &fence, first + one));
        let killing = async {
            // Not a wait for anything: the kill is to fall anywhere among the commits.
            tokio::time::sleep(Duration::from_millis(300 + 77 * u64::try_from(kill).unwrap())).await;
            let server = ground.server;
            std::thread::scope(|scope| scope.spawn(|| server.kill().unwrap()).join().unwrap());
        };
        let (ended, ()) = tokio::join!(futures::future::join_all(running), killing);
        ground.server.up().unwrap();
        for (done, unknown) in ended {
            assert_eq!(database.ended(&fence, &done).await.unwrap(), done, "told as done and gone");
            cut_off += unknown.len();
            all_done += done.len();
            first = first.max(done.iter().chain(&unknown).copied().max().unwrap_or(0) + 2 * ABREAST);
        }
        let taken = database.take(&stream(), LONG).await.unwrap();
        let rows = read(database.as_ref(), "select a from t order by a").await.rows;
        let rows: Vec<_> = rows.into_iter().flatten().collect();
        let claims: Vec<_> = taken.ended.iter().map(|offset| Value::Integer(*offset)).collect();
        assert_eq!(rows, claims, "rows without claims, or claims without rows");
    }
    assert!(all_done > 0, "nothing was committed between the kills");
    assert!(cut_off <= usize::try_from(ABREAST * KILLS).unwrap());
}

/// A handler's function and a trigger at the commit say that the commit need not reach the disk. The server
/// is killed right after the answer.
pub async fn a_function_cannot_weaken_the_commit(ground: &Ground<'_>) {
    let tables = "CREATE TABLE t (a int); \
        CREATE FUNCTION weaken() RETURNS void LANGUAGE plpgsql AS $$ BEGIN \
            SET synchronous_commit = off; SET LOCAL search_path = nowhere; END $$; \
        CREATE FUNCTION weaken_late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
            SET synchronous_commit = off; SET LOCAL synchronous_commit = off; RETURN NULL; END $$; \
        CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED \
            FOR EACH ROW EXECUTE FUNCTION weaken_late()";
    let config = DatabaseConfig { write_connections: 1, ..ground.config() };
    let database = open(&config).await.unwrap();
    migrate(database.as_ref(), tables).await;
    for offset in 1..=5_i64 {
        let fence = take(database.as_ref()).await;
        let run = begin(database.as_ref(), &fence).await;
        let (_, run) =
            execute(database.as_ref(), run, "insert into t values ($1)", &[Value::Integer(offset)])
                .await
                .unwrap();
        let (_, run) = query(database.as_ref(), run, "select weaken()", &[]).await.unwrap();
        finish(run, &[offset]).await.unwrap();
        ground.server.kill().unwrap();
        ground.server.up().unwrap();
        let kept = read(database.as_ref(), "select count(*) from t").await.rows;
        assert_eq!(kept, [[Value::Integer(offset)]], "the commit was told and is gone");
        assert_eq!(database.ended(&fence, &[offset]).await.unwrap(), [offset]);
    }
}

/// What is put off to COMMIT sees that the server will wait for the disk, whatever a function has set before.
pub async fn a_commit_waits_for_the_disk(ground: &Ground<'_>) {
    let tables = "CREATE TABLE t (a int); CREATE TABLE late (a int); CREATE TABLE seen (said text); \
        CREATE FUNCTION weaken() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
            SET CONSTRAINTS ALL DEFERRED; INSERT INTO public.late VALUES (NEW.a); \
            SET synchronous_commit = off; SET LOCAL synchronous_commit = off; RETURN NULL; END $$; \
        CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
            INSERT INTO public.seen VALUES (current_setting('synchronous_commit')); RETURN NULL; END $$; \
        CREATE CONSTRAINT TRIGGER at_end AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED \
            FOR EACH ROW EXECUTE FUNCTION weaken(); \
        CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON late DEFERRABLE INITIALLY DEFERRED \
            FOR EACH ROW EXECUTE FUNCTION look()";
    let database = ground.database(tables).await;
    let fence = take(database.as_ref()).await;
    let run = begin(database.as_ref(), &fence).await;
    let (_, run) = execute(database.as_ref(), run, "insert into t values (1)", &[]).await.unwrap();
    finish(run, &[1]).await.unwrap();
    let seen = read(database.as_ref(), "select said from seen").await.rows;
    assert_eq!(seen, [[Value::Text("on".to_owned())]]);
}

/// A server that is stopped takes connections and answers nothing: every wait ends by the host's own clock,
/// and nobody is charged for it.
pub async fn a_server_that_answers_nothing_is_given_up(ground: &Ground<'_>) {
    let lock_wait = Duration::from_secs(1);
    let config = DatabaseConfig { lock_wait, write_connections: 2, ..ground.config() };
    let database = open(&config).await.unwrap();
    migrate(database.as_ref(), "CREATE TABLE t (a int)").await;
    let fence = take(database.as_ref()).await;
    let (one, two) = (begin(database.as_ref(), &fence).await, begin(database.as_ref(), &fence).await);
    ground.server.stop().unwrap();
    let statement = database.check("insert into t values (1)", &[], &Default::default()).unwrap();
    let waits = async {
        let (statement, finished) = tokio::join!(
            one.execute(statement, Vec::new(), Duration::from_secs(1)),
            two.finish(&[], &[], Duration::from_secs(1)),
        );
        let failed = statement.err().unwrap();
        assert!(matches!(&failed.error, StepError::Database(error) if error.can_retry()), "{failed:?}");
        assert!(failed.transaction.is_none());
        assert!(is_in_doubt(&finished), "{finished:?}");
        let begun = database.begin(&fence).await.err().unwrap();
        assert!(matches!(&begun, BeginError::Database(error) if error.can_retry()), "{begun:?}");
    };
    let in_time = tokio::time::timeout(Duration::from_secs(120), waits).await;
    ground.server.go_on().unwrap();
    in_time.unwrap();
    let taken = take(database.as_ref()).await;
    finish(begin(database.as_ref(), &taken).await, &[1]).await.unwrap();
}
