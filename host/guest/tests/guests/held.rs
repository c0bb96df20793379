//! A handler in cuts: what its events give out comes with the run's answer, and nothing leaves by itself.

use std::sync::Arc;

use keylane_deployment::Guarantee;
use keylane_engine::{Attempt, Event, FailureClass, Header, Outcome, OutgoingRecord};

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

/// What a run gives out is bounded by all of it: headers may be the most of a record.
#[tokio::test]
async fn a_run_ends_when_what_it_gives_out_is_large_in_its_headers_too() {
    const RUN_BYTES_MAX: usize = 16 * 1024 * 1024;
    let loaded = loaded().await;
    let header = Header { name: "large".to_owned(), value: Some(vec![b'a'; 990_000].into()) };
    let large = |offset: u64| {
        let Attempt { event, number, lane } = attempt(offset, offset, "a");
        let event = Event { headers: vec![header.clone()], ..(*event).clone() };
        Attempt { event: Arc::new(event), number, lane }
    };
    let report = loaded.report((0..24).map(large).collect()).await;
    let done = report.outcomes.iter().take_while(|outcome| **outcome == Outcome::Done).count();
    let rest = report.outcomes.iter().skip(done);
    assert!(rest.clone().all(|outcome| *outcome == Outcome::NotStarted), "{:?}", report.outcomes);
    let bytes: usize = report.outputs.iter().flatten().map(OutgoingRecord::weight_bytes).sum();
    assert!(rest.count() > 0 && bytes < RUN_BYTES_MAX + 1_100_000, "{done} events gave out {bytes} bytes");
}
