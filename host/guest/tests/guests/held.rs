//! A handler in cuts: what its events give out comes with the run's answer, and nothing leaves by itself.

use keylane_deployment::Guarantee;
use keylane_engine::{FailureClass, Outcome};

use crate::fake_publisher::Acks;
use crate::stage::{Loaded, Stage, attempt, failure};

async fn loaded() -> Loaded {
    let mut stage = Stage::of("echo").with_producer(Acks::ByHand);
    stage.manifest.delivery.guarantee = Guarantee::ExactlyOnce;
    stage.load().await
}

#[tokio::test]
async fn records_come_with_the_outcome_of_their_event() {
    let loaded = loaded().await;
    let report = loaded.report(vec![attempt(0, 1, "a"), attempt(1, 2, "b"), attempt(2, 1, "c")]).await;
    assert_eq!(report.outcomes, vec![Outcome::Done; 3]);
    let values: Vec<Vec<&[u8]>> = report
        .outputs
        .iter()
        .map(|records| records.iter().map(|record| record.value.as_deref().unwrap()).collect())
        .collect();
    assert_eq!(values, [vec![b"a".as_slice()], vec![b"b".as_slice()], vec![b"c".as_slice()]]);
    assert_eq!(report.outputs[2][0].topic, "echoes");
    assert!(loaded.publisher.records().is_empty(), "nothing leaves before its cut");
}

#[tokio::test]
async fn an_event_that_fails_gives_nothing_out_and_stops_its_lane() {
    let loaded = loaded().await;
    let (trap, twice) = (attempt(1, 1, "then trap"), attempt(3, 2, "twice"));
    let report = loaded.report(vec![attempt(0, 1, "a"), trap, attempt(2, 1, "c"), twice]).await;
    assert_eq!(failure(&report.outcomes[1]).0, FailureClass::Trap);
    let others = [0, 2, 3].map(|index| report.outcomes[index].clone());
    assert_eq!(others, [Outcome::Done, Outcome::NotStarted, Outcome::Done]);
    assert_eq!(report.outputs.iter().map(Vec::len).collect::<Vec<_>>(), [1, 0, 0, 2]);
    assert!(loaded.publisher.records().is_empty());
}
