//! Who owns a partition, and what the others can still do.

use std::time::Duration;

use keylane_effects::{BeginError, Database, DatabaseConfig, Pruned, StepError, StreamKey, Value, open};
use keylane_engine::TopicId;
use keylane_engine::{Epoch, Fence};

use crate::ground::{Ground, LONG, begin, execute, finish, is_in_doubt, query, read, stream, take};

pub async fn a_former_epoch_is_refused(ground: &Ground<'_>) {
    let database = ground.database("CREATE TABLE t (a int)").await;
    let former = take(database.as_ref()).await;
    let own = take(database.as_ref()).await;
    assert_eq!((former.epoch.count, own.epoch.count), (1, 2));
    let guessed = Fence { epoch: Epoch { count: 2, nonce: own.epoch.nonce ^ 1 }, ..own };
    for passed in [former, guessed] {
        assert!(matches!(database.begin(&passed).await, Err(BeginError::NotOwner)));
        assert!(matches!(database.raise_floor(&passed, 5, None).await, Err(BeginError::NotOwner)));
    }
    finish(begin(database.as_ref(), &own).await, &[1]).await.unwrap();
}

pub async fn a_take_reads_what_it_waited_for(ground: &Ground<'_>) {
    let database = ground.database("CREATE TABLE t (a int)").await;
    let fence = take(database.as_ref()).await;
    let run = begin(database.as_ref(), &fence).await;
    let key = stream();
    let taking = database.take(&key, LONG);
    let commits = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        finish(run, &[3, 5]).await.unwrap();
    };
    let (taken, ()) = tokio::join!(taking, commits);
    assert_eq!(taken.unwrap().ended, [3, 5]);
}

/// The owner is stopped in two transactions, of which each holds on by itself. The take waits for one after another,
/// so that it meets the second only when the first is ended.
pub async fn a_take_ends_who_holds_on(ground: &Ground<'_>) {
    // Longer than any take: nobody leaves by itself.
    let config = DatabaseConfig { idle_in_transaction: Duration::from_secs(600), ..ground.config() };
    let database = open(&config).await.unwrap();
    crate::ground::migrate(database.as_ref(), "CREATE TABLE t (a int)").await;
    let fence = take(database.as_ref()).await;
    let mut runs = Vec::new();
    for offset in [1, 2] {
        let run = begin(database.as_ref(), &fence).await;
        let (_, run) = execute(database.as_ref(), run, "insert into t values (1)", &[]).await.unwrap();
        runs.push((offset, run));
    }
    let taken = database.take(&stream(), Duration::from_millis(200)).await.unwrap();
    assert_eq!((taken.fence.epoch.count, taken.ended.len()), (2, 0));
    for (offset, run) in runs {
        let finished = finish(run, &[offset]).await;
        assert!(is_in_doubt(&finished), "{finished:?}");
    }
    assert_eq!(read(database.as_ref(), "select count(*) from t").await.rows, [[Value::Integer(0)]]);
    finish(begin(database.as_ref(), &taken.fence).await, &[1, 2]).await.unwrap();
}

/// Shared locks overtake a take that waits: former runs that begin again and again, each before the last one
/// has ended, would keep it out for as long as they come.
pub async fn a_take_is_granted_though_runs_keep_coming(ground: &Ground<'_>) {
    let config = ground.config();
    let (here, there) = (open(&config).await.unwrap(), open(&config).await.unwrap());
    let fence = take(here.as_ref()).await;
    let former = |offset: u64| {
        let here = &here;
        async move {
            tokio::time::sleep(Duration::from_millis(100 * offset)).await;
            let mut runs = 0;
            while let Ok(run) = here.begin(&fence).await {
                runs += 1;
                tokio::time::sleep(Duration::from_millis(500)).await;
                drop(run);
            }
            runs
        }
    };
    let taking = async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        there.take(&stream(), Duration::from_millis(300)).await.unwrap()
    };
    let runs = futures::future::join_all((0..6).map(former));
    let (runs, taken) = tokio::join!(runs, taking);
    assert!(runs.iter().all(|runs| *runs > 0), "all of them ran: {runs:?}");
    finish(begin(there.as_ref(), &taken.fence).await, &[1]).await.unwrap();
}

/// A host that is stopped inside a run lets go of its locks after the configured time.
pub async fn an_idle_run_is_ended_and_nobody_is_charged(ground: &Ground<'_>) {
    let idle_in_transaction = Duration::from_secs(2);
    let config = DatabaseConfig { idle_in_transaction, ..ground.config() };
    let (stopped, other) = (open(&config).await.unwrap(), open(&config).await.unwrap());
    crate::ground::migrate(stopped.as_ref(), "CREATE TABLE t (a int)").await;
    let run = begin(stopped.as_ref(), &take(stopped.as_ref()).await).await;
    let (_, run) = execute(stopped.as_ref(), run, "insert into t values (1)", &[]).await.unwrap();
    // Without being ended by the take, which would wait for longer.
    let taken = other.take(&stream(), LONG).await.unwrap();
    let failed = execute(stopped.as_ref(), run, "insert into t values (2)", &[]).await.err().unwrap();
    assert!(matches!(&failed.error, StepError::Database(error) if error.can_retry()), "{failed:?}");
    finish(begin(other.as_ref(), &taken.fence).await, &[1]).await.unwrap();
}

/// A call that is dropped in the middle of a statement leaves no session that holds the partition.
pub async fn a_cancelled_statement_holds_nothing(ground: &Ground<'_>) {
    let database = ground.database("CREATE TABLE t (a int)").await;
    let fence = take(database.as_ref()).await;
    let run = begin(database.as_ref(), &fence).await;
    let endless =
        "with recursive n as (select 1 as a union all select a % 7 + 1 from n) select count(*) from n";
    let stopped =
        tokio::time::timeout(Duration::from_millis(300), query(database.as_ref(), run, endless, &[])).await;
    assert!(stopped.is_err());
    // Longer than this the take would not wait without ending anybody.
    assert_eq!(database.take(&stream(), LONG).await.unwrap().fence.epoch.count, 2);
}

pub async fn start_is_settled_once(ground: &Ground<'_>) {
    let database = ground.database("CREATE TABLE t (a int)").await;
    let key = stream();
    let (first, second) = tokio::join!(
        database.settle_start(&key, &[(0, 10), (1, 20)]),
        database.settle_start(&key, &[(1, 200), (0, 100)]),
    );
    let stands = first.unwrap();
    assert_eq!(stands, second.unwrap());
    assert!(stands == [(0, 10), (1, 20)].into() || stands == [(0, 100), (1, 200)].into(), "{stands:?}");
    let added = database.settle_start(&key, &[(0, 7), (2, 7)]).await.unwrap();
    assert_eq!((added[&0], added[&2]), (stands[&0], 0), "an added partition starts at 0");
    let new_id = StreamKey { topic_id: TopicId::new([8; 16]), ..key };
    assert_eq!(database.settle_start(&new_id, &[(0, 7)]).await.unwrap(), [(0, 0)].into());
}

pub async fn pruning_raises_the_floor(ground: &Ground<'_>) {
    // A run may lie idle for longer than anybody waits for it: who does is refused before it is ended.
    let config = DatabaseConfig { idle_in_transaction: Duration::from_secs(120), ..ground.config() };
    let database = open(&config).await.unwrap();
    database.settle_start(&stream(), &[(0, 100)]).await.unwrap();
    let fence = take(database.as_ref()).await;
    let offsets: Vec<i64> = (100..12_100).collect();
    finish(begin(database.as_ref(), &fence).await, &offsets).await.unwrap();
    let first = database.raise_floor(&fence, 12_050, None).await.unwrap();
    assert_eq!(first, Pruned { claims: 10_000, floor: 10_100, more: true });
    // A run that began when there was a floor, and is open, does not keep it.
    let open = begin(database.as_ref(), &fence).await;
    let second = database.raise_floor(&fence, 12_050, None).await.unwrap();
    assert_eq!(second, Pruned { claims: 1_950, floor: 12_050, more: false });
    let lower = database.raise_floor(&fence, 5, None).await.unwrap();
    assert_eq!(lower, Pruned { claims: 0, floor: 12_050, more: false });
    open.rollback().await;
    assert_eq!(database.ended(&fence, &[99, 12_049, 12_050, 12_100]).await.unwrap(), [99, 12_049, 12_050]);
    let taken = database.take(&stream(), LONG).await.unwrap();
    assert_eq!((taken.floor, taken.ended.len()), (Some(12_050), 50));
}

/// Runs of the partition that are open, one or another all the time, and hold the fence by shared locks.
pub async fn what_has_ended_is_told_while_runs_go_on(ground: &Ground<'_>) {
    let config = DatabaseConfig { lock_wait: Duration::from_millis(500), ..ground.config() };
    let database = open(&config).await.unwrap();
    let fence = take(database.as_ref()).await;
    finish(begin(database.as_ref(), &fence).await, &[1]).await.unwrap();
    let other = begin(database.as_ref(), &fence).await;
    assert_eq!(database.ended(&fence, &[3, 1, 2]).await.unwrap(), [1]);
    finish(other, &[2, 3]).await.unwrap();
    assert_eq!(database.ended(&fence, &[3, 1, 2, 4]).await.unwrap(), [1, 2, 3]);
    assert_eq!(take_ended(database.as_ref()).await, [1, 2, 3], "asking has claimed nothing");
}

async fn take_ended(database: &dyn Database) -> Vec<i64> {
    database.take(&stream(), LONG).await.unwrap().ended
}

/// A commit whose answer was lost may be under way still: the claims are there, and nobody sees them yet.
pub async fn a_commit_under_way_is_waited_for(ground: &Ground<'_>) {
    let config = ground.config();
    let database = open(&config).await.unwrap();
    let fence = take(database.as_ref()).await;
    let admin = ground.admin(&config).await;
    let mut under_way = admin.begin().await.unwrap();
    let claim = "INSERT INTO keylane.claim VALUES ($1, 5, 1)";
    sqlx::query(claim).bind(fence.stream).execute(&mut *under_way).await.unwrap();
    let asking = database.ended(&fence, &[4, 5]);
    let commits = async {
        let waits = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted \
            AND database IS NOT DISTINCT FROM (SELECT oid FROM pg_database WHERE datname = current_database()) \
            OR NOT granted AND locktype = 'transactionid')";
        while !sqlx::query_scalar::<_, bool>(waits).fetch_one(&admin).await.unwrap() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        under_way.commit().await.unwrap();
    };
    let both = async { tokio::join!(asking, commits) };
    let (ended, ()) = tokio::time::timeout(LONG, both).await.unwrap();
    assert_eq!(ended.unwrap(), [5]);
}
