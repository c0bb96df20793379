//! What is measured: instances, the wait for one, and the deliveries that runs leave unacknowledged.

use keylane_engine::{Outcome, RunControl, Runner as _};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use crate::fake_publisher::Acks;
use crate::stage::{Stage, attempts};

/// More events in one run than it may leave unacknowledged.
const EVENTS: usize = 300;
/// What it may leave.
const UNACKNOWLEDGED: &str = "keylane_run_deliveries_unacknowledged{handler=\"guest\"}";
const FULL: &str = "keylane_run_deliveries_full_total{handler=\"guest\"}";

/// The value of one series; none if it is not shown.
fn value(shown: &PrometheusHandle, series: &str) -> Option<f64> {
    let rendered = shown.render();
    let line = rendered.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
    Some(line.parse().unwrap())
}

/// Two runs of many events each: one whose deliveries are acknowledged, and one that is given up.
async fn runs(shown: &PrometheusHandle) {
    let loaded = Stage::of("echo").with_producer(Acks::ByHand).load().await;
    let values = vec!["x"; EVENTS];
    let run = || {
        let (runner, run) = (loaded.runner.clone(), attempts(&values));
        tokio::spawn(async move { runner.run(run, RunControl::unlimited()).await.outcomes })
    };
    let first = run();
    // The 257th waits for the oldest.
    loaded.publisher.handed_over(257).await;
    while value(shown, FULL) != Some(1.0) {
        tokio::task::yield_now().await;
    }
    assert_eq!(value(shown, UNACKNOWLEDGED), Some(257.0));
    for at in 0..EVENTS {
        loaded.publisher.handed_over(at + 1).await;
        loaded.publisher.acknowledge(at);
    }
    assert_eq!(first.await.unwrap(), vec![Outcome::Done; EVENTS]);
    assert_eq!(value(shown, UNACKNOWLEDGED), Some(0.0));
    let second = run();
    let by_the_first = (EVENTS - 256) as f64;
    while value(shown, FULL) != Some(by_the_first + 1.0) {
        tokio::task::yield_now().await;
    }
    assert_eq!(value(shown, UNACKNOWLEDGED), Some(257.0));
    second.abort();
    assert!(second.await.unwrap_err().is_cancelled());
    assert_eq!(value(shown, UNACKNOWLEDGED), Some(0.0));
}

#[test]
fn every_bound_is_measured() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let shown = recorder.handle();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    metrics::with_local_recorder(&recorder, || runtime.block_on(runs(&shown)));
    for meter in [
        "keylane_instances_alive{handler=\"guest\"}",
        "keylane_instances_created_total{handler=\"guest\"}",
        "keylane_instances_dropped_total{handler=\"guest\",reason=\"retired\"}",
        "keylane_instance_wait_seconds_count{handler=\"guest\"}",
        "keylane_runs_undone_total{handler=\"guest\",reason=\"conflict\"}",
        "keylane_runs_undone_total{handler=\"guest\",reason=\"locked\"}",
        "keylane_run_outbox_full_total{handler=\"guest\"}",
        UNACKNOWLEDGED,
        FULL,
    ] {
        assert!(value(&shown, meter).is_some(), "{meter} is not shown in\n{}", shown.render());
    }
}
