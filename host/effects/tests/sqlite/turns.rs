//! Several hosts on one file, of which each wants the writer all the time.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use keylane_effects::{Database, EndedAs, open};
use keylane_engine::Fence;

use crate::config;
use crate::suite::{self, LONG, key};

/// Runs of the host that comes second.
const RUNS: u32 = 20;
/// Runs of the busy host for each of the other's. One, if they take turns to the letter.
const RATIO_MAX: u32 = 2;

async fn run(database: &dyn Database, fence: &Fence, offset: i64) {
    let run = database.begin(fence).await.unwrap();
    // The work of a run: it has the writer far longer than it leaves it free.
    tokio::time::sleep(Duration::from_millis(20)).await;
    run.finish(&[], &[(offset, EndedAs::Done)], LONG).await.unwrap();
}

async fn partition(database: &dyn Database, partition: i32) -> Fence {
    let mut key = key();
    key.partition = partition;
    database.take(&key, LONG).await.unwrap().fence
}

/// SQLite lets whoever asks first have the writer, and whoever waits asks now and then: it would meet the short
/// moment between two runs of a busy host by chance alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_busy_hosts_take_turns() {
    let folder = tempfile::tempdir().unwrap();
    let (here, there) = (open(&config(&folder)).await.unwrap(), open(&config(&folder)).await.unwrap());
    here.settle_start(&key(), &[(0, 0), (1, 0)]).await.unwrap();
    let (ours, theirs) = (partition(&*here, 0).await, partition(&*there, 1).await);
    let (over, runs) = (AtomicBool::new(false), AtomicU32::new(0));
    let busy = |first: i64| {
        let (here, ours, over, runs) = (&here, &ours, &over, &runs);
        async move {
            for offset in (first..).step_by(3) {
                run(&**here, ours, offset).await;
                runs.fetch_add(1, Ordering::Relaxed);
                if over.load(Ordering::Relaxed) {
                    return;
                }
            }
        }
    };
    let second = async {
        while runs.load(Ordering::Relaxed) == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        runs.store(0, Ordering::Relaxed);
        for offset in 0..i64::from(RUNS) {
            run(&*there, &theirs, offset).await;
        }
        over.store(true, Ordering::Relaxed);
        runs.load(Ordering::Relaxed)
    };
    let (.., of_the_busy) = tokio::join!(busy(0), busy(1), busy(2), second);
    assert!(of_the_busy <= RUNS * RATIO_MAX, "{of_the_busy} runs of one host for {RUNS} of the other");
}

/// A host that is stopped while its turn has come holds nobody up for long: turns are a courtesy.
#[tokio::test]
async fn a_host_that_is_stopped_in_its_turn_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let database = open(&config(&folder)).await.unwrap();
    let fence = suite::owner(&*database, "CREATE TABLE t (a BIGINT)").await;
    let turns = std::fs::File::options().write(true).open(folder.path().join("effects.db-turn")).unwrap();
    turns.lock().unwrap();
    let begun = Instant::now();
    for offset in 0..200 {
        suite::commit_event(&*database, &fence, offset).await;
    }
    assert!(begun.elapsed() < LONG, "each of them waited");
    turns.unlock().unwrap();
    suite::commit_event(&*database, &fence, 200).await;
}
