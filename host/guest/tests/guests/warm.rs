//! Warm instances: made once, used for many events, and ended for a reason.

use std::time::Duration;

use keylane_engine::{Outcome, RunControl, Runner as _};

use crate::stage::{Stage, attempts};

#[tokio::test]
async fn one_instance_handles_many_runs() {
    let loaded = Stage::of("noop").load().await;
    for _ in 0..100 {
        assert_eq!(loaded.each(&["a", "b", "c"]).await, vec![Outcome::Done; 3]);
    }
    let counts = loaded.revision.instances();
    assert_eq!((counts.created, counts.alive()), (1, 1));
}

#[tokio::test]
async fn a_worn_instance_is_replaced() {
    // Between two runs, and in the middle of one.
    for (run, expected) in [(vec!["event"; 5], (3, 2, 1)), (vec!["event"; 4], (2, 2, 0))] {
        let mut stage = Stage::of("noop");
        stage.options.instance_events = 10;
        let loaded = stage.load().await;
        for _ in 0..5 {
            assert_eq!(loaded.each(&run).await, vec![Outcome::Done; run.len()]);
        }
        let counts = loaded.revision.instances();
        assert_eq!((counts.created, counts.worn, counts.alive()), expected, "{} at once", run.len());
    }
}

#[tokio::test]
async fn an_idle_instance_gives_back_its_memory() {
    let mut stage = Stage::of("noop");
    stage.options.instance_idle = Duration::from_millis(20);
    let loaded = stage.load().await;
    let idle = async {
        while loaded.revision.instances().idle == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), idle).await.expect("the reaper comes");
    assert_eq!(loaded.revision.instances().alive(), 0);
    assert_eq!(loaded.one("again").await, Outcome::Done);
}

#[tokio::test]
async fn a_run_given_up_midway_ends_its_instance() {
    let loaded = Stage::of("spin").load().await;
    let run = loaded.runner.run(attempts(&["good", "spin"]), RunControl::unlimited());
    assert!(tokio::time::timeout(Duration::from_millis(50), run).await.is_err());
    let counts = loaded.revision.instances();
    assert_eq!((counts.abandoned, counts.alive()), (1, 0));
    assert_eq!(loaded.one("good").await, Outcome::Done);
}

#[tokio::test]
async fn runs_beyond_the_pool_wait_for_a_place() {
    let mut stage = Stage::of("noop");
    stage.manifest.limits.concurrency = 2;
    let loaded = stage.load().await;
    let runs: Vec<_> = (0..20)
        .map(|_| {
            let runner = loaded.runner.clone();
            tokio::spawn(
                async move { runner.run(attempts(&["a", "b"]), RunControl::unlimited()).await.outcomes },
            )
        })
        .collect();
    for run in runs {
        assert_eq!(run.await.unwrap(), vec![Outcome::Done; 2]);
    }
    assert!(loaded.revision.instances().created <= 2);
}
