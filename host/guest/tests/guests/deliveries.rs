//! A run and its deliveries: a lane waits for its own, the run waits for all of them together.

use keylane_engine::{FailureClass, Outcome, RunControl, Runner as _};

use crate::fake_publisher::Acks;
use crate::stage::{Loaded, Stage, attempt, failure};

async fn loaded() -> Loaded {
    Stage::of("echo").with_producer(Acks::ByHand).load().await
}

#[tokio::test]
async fn other_lanes_go_on_while_a_record_is_not_acknowledged() {
    let loaded = loaded().await;
    let runner = loaded.runner.clone();
    let run = tokio::spawn(async move {
        runner.run(vec![attempt(0, 1, "a"), attempt(1, 2, "b")], RunControl::unlimited()).await.outcomes
    });
    loaded.publisher.handed_over(2).await;
    assert!(!run.is_finished(), "not done before its records are acknowledged");
    loaded.publisher.acknowledge(1);
    loaded.publisher.acknowledge(0);
    assert_eq!(run.await.unwrap(), vec![Outcome::Done; 2]);
}

#[tokio::test]
async fn the_instance_is_free_while_the_run_waits() {
    let mut stage = Stage::of("echo").with_producer(Acks::ByHand);
    stage.manifest.limits.concurrency = 1;
    let loaded = stage.load().await;
    let runner = loaded.runner.clone();
    let first =
        tokio::spawn(
            async move { runner.run(vec![attempt(0, 1, "a")], RunControl::unlimited()).await.outcomes },
        );
    loaded.publisher.handed_over(1).await;
    let runner = loaded.runner.clone();
    let second =
        tokio::spawn(
            async move { runner.run(vec![attempt(1, 2, "b")], RunControl::unlimited()).await.outcomes },
        );
    loaded.publisher.handed_over(2).await;
    loaded.publisher.acknowledge(1);
    assert_eq!(second.await.unwrap(), vec![Outcome::Done]);
    loaded.publisher.acknowledge(0);
    assert_eq!(first.await.unwrap(), vec![Outcome::Done]);
    assert_eq!(loaded.revision.instances().created, 1);
}

#[tokio::test]
async fn a_lane_waits_for_its_own_earlier_record() {
    let loaded = loaded().await;
    let runner = loaded.runner.clone();
    let run = tokio::spawn(async move {
        runner
            .run(
                vec![attempt(0, 1, "first"), attempt(1, 1, "second"), attempt(2, 2, "other")],
                RunControl::unlimited(),
            )
            .await
            .outcomes
    });
    loaded.publisher.handed_over(1).await;
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    assert_eq!(loaded.publisher.records().len(), 1, "the lane's second event has not begun");
    loaded.publisher.acknowledge(0);
    loaded.publisher.handed_over(3).await;
    loaded.publisher.acknowledge(1);
    loaded.publisher.acknowledge(2);
    assert_eq!(run.await.unwrap(), vec![Outcome::Done; 3]);
}

#[tokio::test]
async fn a_refused_record_fails_its_event_and_stops_its_lane() {
    let loaded = loaded().await;
    let runner = loaded.runner.clone();
    let run = tokio::spawn(async move {
        runner
            .run(
                vec![attempt(0, 2, "other"), attempt(1, 1, "first"), attempt(2, 1, "second")],
                RunControl::unlimited(),
            )
            .await
            .outcomes
    });
    loaded.publisher.handed_over(2).await;
    loaded.publisher.refuse(1);
    loaded.publisher.acknowledge(0);
    let outcomes = run.await.unwrap();
    assert_eq!(outcomes[0], Outcome::Done);
    let (class, reason) = failure(&outcomes[1]);
    assert_eq!(class, FailureClass::Effects);
    assert!(reason.contains("refused by the test"), "{reason}");
    assert_eq!(outcomes[2], Outcome::NotStarted, "nobody is charged for what was not begun");
    assert_eq!(loaded.publisher.records().len(), 2);
}

#[tokio::test]
async fn a_failed_event_stops_its_lane_and_no_other() {
    let loaded = Stage::of("flaky").load().await;
    let run =
        vec![attempt(0, 1, "reject"), attempt(1, 2, "fine"), attempt(2, 1, "fine"), attempt(3, 2, "fine")];
    let outcomes = loaded.runner.run(run, RunControl::unlimited()).await.outcomes;
    assert_eq!(failure(&outcomes[0]).0, FailureClass::Reject);
    assert_eq!(outcomes[1..], [Outcome::Done, Outcome::NotStarted, Outcome::Done]);
}
