//! What is measured: every bound has a metric, and nothing is told for ever of a partition that is given up.

use std::sync::atomic::Ordering;
use std::time::Duration;

use keylane_engine::{
    Event, Floor, GapSet, HandlerOptions, HostBudget, InboxLimits, Ownership, PAYLOAD_UNITS_HIGH,
    PAYLOAD_UNITS_MAX, Policy, Then,
};
use metrics_exporter_prometheus::PrometheusHandle;

use crate::bench::{Bench, a_while, deliver, ended_above, event, options, status};
use crate::database::{Database, unavailable};

/// The gauges of a partition.
const GAUGES: [&str; 14] = [
    "keylane_buffered_records",
    "keylane_buffered_bytes",
    "keylane_deliveries_waiting",
    "keylane_watermark_offset",
    "keylane_lag_records",
    "keylane_gap_records",
    "keylane_gap_units",
    "keylane_parked_lanes",
    "keylane_paused_lanes",
    "keylane_burying_lanes",
    "keylane_runs",
    "keylane_oldest_run_seconds",
    "keylane_admission_stopped",
    "keylane_partition_halted",
];

/// Runs a test with a recorder of its own, under virtual time.
pub fn with_metrics<F: Future<Output = ()>>(test: impl FnOnce(PrometheusHandle) -> F) {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let shown = recorder.handle();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    metrics::with_local_recorder(&recorder, || runtime.block_on(test(shown)));
}

/// The value of one series; none if it is not shown.
pub fn series(shown: &PrometheusHandle, series: &str) -> Option<f64> {
    let rendered = shown.render();
    let line = rendered.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
    Some(line.parse().unwrap())
}

/// The value of a metric of partition 0.
pub fn of_partition(shown: &PrometheusHandle, name: &str) -> Option<f64> {
    series(shown, &format!("{name}{{handler=\"bench\",topic=\"tasks\",partition=\"0\"}}"))
}

#[test]
fn every_bound_has_a_metric_and_a_partition_that_is_given_up_shows_none_of_its_own() {
    with_metrics(|shown| async move {
        let others = options();
        let inbox = InboxLimits { records: 20, bytes: 100_000 };
        let policy = Policy { backoff_ms: 60_000, gap_max: 50, run_events_max: 7, ..others.policy };
        let budget = HostBudget::with_floor(1_000_000, Floor { records: 3, bytes: 700 });
        let bench = Bench::new(HandlerOptions { inbox, policy, budget, ..others });
        bench.letters.refuse.store(usize::MAX, Ordering::SeqCst);
        let inbox = bench.assign_at(0, GapSet::at(5));
        let held = [event(5, "stuck", "wait"), event(6, "parked", "retry"), event(7, "bad", "reject")];
        let bytes: usize = held.iter().map(Event::weight_bytes).sum();
        deliver(&inbox, held.into_iter().chain([event(8, "good", "done")]));
        a_while().await;

        assert_eq!(
            of_partition(&shown, "keylane_lag_records"),
            None,
            "nobody has heard of the log's end yet"
        );
        assert_eq!((inbox.lag(None), inbox.lag(Some(9))), (None, Some(4)));
        tells_the_limits(&shown);
        let units = inbox.progress().payload.len() as f64;
        let told = GAUGES.map(|name| of_partition(&shown, name).unwrap_or_else(|| panic!("no {name}")));
        let [records, weight, deliveries, watermark, lag, gap, gap_units, lanes @ .., age, stopped, halted] =
            told;
        assert_eq!((records, weight, deliveries, watermark, lag), (3.0, bytes as f64, 0.0, 5.0, 4.0));
        assert_eq!((gap, gap_units, lanes, stopped, halted), (4.0, units, [1.0, 0.0, 1.0, 1.0], 0.0, 0.0));
        assert!((0.0..=0.5).contains(&age), "{age} s");
        tells_what_happened(&shown);

        drop(inbox);
        a_while().await;
        let left = GAUGES.map(|name| (name, of_partition(&shown, name)));
        assert_eq!(left, GAUGES.map(|name| (name, Some(0.0))));
        assert_eq!(series(&shown, "keylane_slots_used{handler=\"bench\"}"), Some(0.0));
        tells_the_limits(&shown);
        tells_what_happened(&shown);
    });
}

/// They outlive the partitions.
fn tells_the_limits(shown: &PrometheusHandle) {
    for (limit, most) in [
        ("keylane_buffered_records_max", 20),
        ("keylane_buffered_bytes_max", 100_000),
        ("keylane_deliveries_waiting_max", 64),
        ("keylane_gap_records_max", 50),
        ("keylane_gap_units_high", PAYLOAD_UNITS_HIGH),
        ("keylane_gap_units_max", PAYLOAD_UNITS_MAX),
        ("keylane_run_events_max", 7),
        ("keylane_slots", 4),
    ] {
        let told = series(shown, &format!("{limit}{{handler=\"bench\"}}"));
        assert_eq!(told, Some(most as f64), "{limit}");
    }
    for (limit, most) in [
        ("keylane_host_buffered_bytes_max", 1_000_000.0),
        ("keylane_host_floor_records", 3.0),
        ("keylane_host_floor_bytes", 700.0),
    ] {
        assert_eq!(series(shown, limit), Some(most), "{limit}");
    }
}

/// Counters only ever grow.
fn tells_what_happened(shown: &PrometheusHandle) {
    for (name, times) in [
        ("keylane_events_done_total", 1.0),
        ("keylane_attempts_failed_total", 2.0),
        ("keylane_events_dead_lettered_total", 0.0),
        ("keylane_admission_stops_total", 0.0),
        ("keylane_leases_expired_total", 0.0),
        ("keylane_run_events_sum", 4.0),
    ] {
        assert_eq!(of_partition(shown, name), Some(times), "{name}");
    }
}

/// Its owner sleeps meanwhile: what the poller hands over is to be seen all the same.
#[test]
fn a_halted_partition_shows_what_is_delivered_to_it() {
    with_metrics(|shown| async move {
        let policy = Policy { then: Then::Stop, ..options().policy };
        let bench = Bench::new(HandlerOptions { policy, ..options() });
        let inbox = bench.assign(0);
        deliver(&inbox, [event(0, "bad", "reject")]);
        bench.until("halted", || matches!(inbox.ownership(), Ownership::Halted { .. })).await;
        for offset in 1..6 {
            deliver(&inbox, [event(offset, "good", "done")]);
        }
        a_while().await;
        let bytes = bench.budget.held_bytes() as f64;
        let told = ["keylane_partition_halted", "keylane_buffered_records", "keylane_deliveries_waiting"];
        assert_eq!(told.map(|name| of_partition(&shown, name)), [Some(1.0), Some(6.0), Some(5.0)]);
        assert_eq!(of_partition(&shown, "keylane_buffered_bytes"), Some(bytes));
        drop(inbox);
        a_while().await;
        assert_eq!(told.map(|name| of_partition(&shown, name)), [Some(0.0); 3]);
        assert_eq!(of_partition(&shown, "keylane_buffered_bytes"), Some(0.0));
    });
}

#[test]
fn what_the_database_keeps_of_a_partition_is_shown_until_it_is_given_up() {
    with_metrics(|shown| async move {
        let database = Database::new();
        let bench = Bench::beside(options(), database.clone());
        let inbox = bench.assign_at(0, ended_above(5, 8..11));
        deliver(&inbox, [event(5, "a", "done"), event(6, "slow", "wait"), event(7, "b", "done")]);
        a_while().await;
        let told = ["keylane_floor_offset", "keylane_claims_above_floor"];
        assert_eq!(told.map(|name| of_partition(&shown, name)), [Some(5.0), Some(5.0)]);
        let most = series(&shown, "keylane_claims_above_floor_max{handler=\"bench\"}");
        assert_eq!(most, Some(100_000.0));
        database.prune_faults.set([unavailable()]);
        tokio::time::sleep(Duration::from_secs(12)).await;
        assert_eq!(told.map(|name| of_partition(&shown, name)), [Some(6.0), Some(4.0)]);
        deliver(&inbox, [event(11, "c", "overtaken")]);
        bench.until("given up", || inbox.ownership().is_lost()).await;
        a_while().await;
        assert_eq!(told.map(|name| of_partition(&shown, name)), [Some(0.0); 2]);
        let counted =
            ["keylane_prunes_total", "keylane_prunes_failed_total", "keylane_partitions_overtaken_total"];
        assert_eq!(counted.map(|name| of_partition(&shown, name)), [Some(1.0); 3]);
    });
}

#[test]
fn a_partition_without_a_database_shows_none() {
    with_metrics(|shown| async move {
        let bench = Bench::new(options());
        let inbox = bench.assign(0);
        deliver(&inbox, [event(0, "a", "done")]);
        bench.until_watermark(&inbox, 1).await;
        assert_eq!(of_partition(&shown, "keylane_floor_offset"), None);
        assert_eq!(status(&inbox).await.claims, None);
    });
}

/// Such a partition is still this host's, and falls behind.
#[test]
fn a_partition_whose_owner_fell_shows_its_lag_until_it_is_given_up() {
    with_metrics(|shown| async move {
        let bench = Bench::new(options());
        let inbox = bench.assign(0);
        deliver(&inbox, [event(0, "bad", "panic")]);
        bench.until("faulted", || inbox.ownership() == Ownership::Faulted).await;
        assert_eq!(inbox.lag(Some(70)), Some(70));
        let told = ["keylane_lag_records", "keylane_runs", "keylane_buffered_records"];
        assert_eq!(told.map(|name| of_partition(&shown, name)), [Some(70.0), Some(0.0), Some(0.0)]);
        drop(inbox);
        assert_eq!(of_partition(&shown, "keylane_lag_records"), Some(0.0));
    });
}
