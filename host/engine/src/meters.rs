//! The metrics: of a handler its limits, of a partition a gauge for each bound and counters of what happened.
//!
//! A limit is the same for all partitions of a handler and outlives each of them. The gauges of a partition
//! go to zero with its assignment, so that nothing is told for ever of what another host owns by now.

use std::sync::OnceLock;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use crate::cuts::{CUT_BYTES_MAX, CUT_RECORDS_MAX};
use crate::event::TopicPartition;
use crate::handler::HandlerOptions;
use crate::inbox::{DELIVERIES_WAITING, InboxLimits};
use crate::owner::CLAIMS_ABOVE_FLOOR_MAX;
use crate::payload::{PAYLOAD_UNITS_HIGH, PAYLOAD_UNITS_MAX};

/// Tells what bounds each partition of a handler. Called once, after the recorder is installed.
pub(crate) fn tell_limits(options: &HandlerOptions) {
    let HandlerOptions { name, policy, inbox, .. } = options;
    let InboxLimits { records, bytes } = *inbox;
    for (limit, most) in [
        ("keylane_buffered_records_max", records),
        ("keylane_buffered_bytes_max", bytes),
        ("keylane_deliveries_waiting_max", DELIVERIES_WAITING),
        ("keylane_gap_records_max", policy.gap_max),
        ("keylane_gap_units_high", PAYLOAD_UNITS_HIGH),
        ("keylane_gap_units_max", PAYLOAD_UNITS_MAX),
        ("keylane_run_events_max", policy.run_events_max),
        ("keylane_claims_above_floor_max", CLAIMS_ABOVE_FLOOR_MAX),
        ("keylane_cut_records_held_max", CUT_RECORDS_MAX),
        ("keylane_cut_bytes_held_max", CUT_BYTES_MAX),
    ] {
        gauge!(limit, "handler" => name.clone()).set(most as f64);
    }
}

fn labels(handler: &str, source: &TopicPartition) -> [(&'static str, String); 3] {
    [
        ("handler", handler.to_owned()),
        ("topic", source.topic.to_string()),
        ("partition", source.partition.to_string()),
    ]
}

/// What a partition's inbox holds. Whoever counts up counts down, so that an assignment takes off what it has
/// put on and no more.
pub(crate) struct RoomMeters {
    pub(crate) records: Gauge,
    pub(crate) bytes: Gauge,
    pub(crate) deliveries: Gauge,
}

impl RoomMeters {
    pub(crate) fn new(handler: &str, source: &TopicPartition) -> Self {
        let labels = labels(handler, source);
        Self {
            records: gauge!("keylane_buffered_records", &labels),
            bytes: gauge!("keylane_buffered_bytes", &labels),
            deliveries: gauge!("keylane_deliveries_waiting", &labels),
        }
    }
}

/// How far the end of a partition's log is away. Shown from when that is known; held by the poller's end of
/// the inbox, since a partition whose owner fell still falls behind.
pub(crate) struct LagMeter {
    labels: [(&'static str, String); 3],
    records: OnceLock<Gauge>,
}

impl LagMeter {
    pub(crate) fn new(handler: &str, source: &TopicPartition) -> Self {
        Self { labels: labels(handler, source), records: OnceLock::new() }
    }

    pub(crate) fn set(&self, records: u64) {
        self.records.get_or_init(|| gauge!("keylane_lag_records", &self.labels)).set(records as f64);
    }
}

impl Drop for LagMeter {
    fn drop(&mut self) {
        if let Some(records) = self.records.get() {
            records.set(0.0);
        }
    }
}

/// Handles registered once for a partition, so that a measurement costs no look-up.
pub(crate) struct Meters {
    pub(crate) watermark: Gauge,
    pub(crate) gap_records: Gauge,
    pub(crate) gap_units: Gauge,
    pub(crate) parked_lanes: Gauge,
    pub(crate) paused_lanes: Gauge,
    pub(crate) burying_lanes: Gauge,
    pub(crate) runs: Gauge,
    pub(crate) oldest_run: Gauge,
    pub(crate) admission_stopped: Gauge,
    pub(crate) halted: Gauge,
    pub(crate) run_events: Histogram,
    pub(crate) done: Counter,
    pub(crate) skipped: Counter,
    pub(crate) before: Counter,
    pub(crate) failed: Counter,
    pub(crate) dead_lettered: Counter,
    pub(crate) skipped_by_operator: Counter,
    pub(crate) pauses: Counter,
    pub(crate) halts: Counter,
    pub(crate) admission_stops: Counter,
    pub(crate) payloads_truncated: Counter,
    pub(crate) stuck_runs: Counter,
    pub(crate) lease_expired: Counter,
    /// For a handler with a write database.
    pub(crate) claims: Option<ClaimsMeters>,
    /// For a handler in cuts.
    pub(crate) cuts: Option<CutsMeters>,
    left: bool,
}

/// What of a partition waits for its cut.
pub(crate) struct CutsMeters {
    pub(crate) records: Gauge,
    pub(crate) bytes: Gauge,
}

/// What a handler's database keeps of a partition, and how the owner fares with it.
pub(crate) struct ClaimsMeters {
    pub(crate) floor: Gauge,
    pub(crate) above_floor: Gauge,
    pub(crate) prunes: Counter,
    pub(crate) prunes_failed: Counter,
    pub(crate) conflicts: Counter,
    pub(crate) overtaken: Counter,
}

impl ClaimsMeters {
    fn new(labels: &[(&'static str, String); 3]) -> Self {
        Self {
            floor: gauge!("keylane_floor_offset", labels),
            above_floor: gauge!("keylane_claims_above_floor", labels),
            prunes: counter!("keylane_prunes_total", labels),
            prunes_failed: counter!("keylane_prunes_failed_total", labels),
            conflicts: counter!("keylane_run_conflicts_total", labels),
            overtaken: counter!("keylane_partitions_overtaken_total", labels),
        }
    }
}

/// One whose owner fell: it has not said so before.
impl Drop for Meters {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Meters {
    /// The partition is given up: it holds nothing any more. Told before the wait for runs that are slow to
    /// end, because by then another owner of it may tell of itself.
    pub(crate) fn leave(&mut self) {
        if std::mem::replace(&mut self.left, true) {
            return;
        }
        let gauges = [
            &self.watermark,
            &self.gap_records,
            &self.gap_units,
            &self.parked_lanes,
            &self.paused_lanes,
            &self.burying_lanes,
            &self.runs,
            &self.oldest_run,
            &self.admission_stopped,
            &self.halted,
        ];
        let of_claims = self.claims.iter().flat_map(|claims| [&claims.floor, &claims.above_floor]);
        let of_cuts = self.cuts.iter().flat_map(|cuts| [&cuts.records, &cuts.bytes]);
        for gauge in gauges.into_iter().chain(of_claims).chain(of_cuts) {
            gauge.set(0.0);
        }
    }

    /// `has_claims` for a handler with a write database, `has_cuts` for one in cuts.
    pub(crate) fn new(handler: &str, source: &TopicPartition, has_claims: bool, has_cuts: bool) -> Self {
        let labels = labels(handler, source);
        Self {
            left: false,
            claims: has_claims.then(|| ClaimsMeters::new(&labels)),
            cuts: has_cuts.then(|| CutsMeters {
                records: gauge!("keylane_cut_records_held", &labels),
                bytes: gauge!("keylane_cut_bytes_held", &labels),
            }),
            watermark: gauge!("keylane_watermark_offset", &labels),
            gap_records: gauge!("keylane_gap_records", &labels),
            gap_units: gauge!("keylane_gap_units", &labels),
            parked_lanes: gauge!("keylane_parked_lanes", &labels),
            paused_lanes: gauge!("keylane_paused_lanes", &labels),
            burying_lanes: gauge!("keylane_burying_lanes", &labels),
            runs: gauge!("keylane_runs", &labels),
            oldest_run: gauge!("keylane_oldest_run_seconds", &labels),
            admission_stopped: gauge!("keylane_admission_stopped", &labels),
            halted: gauge!("keylane_partition_halted", &labels),
            run_events: histogram!("keylane_run_events", &labels),
            done: counter!("keylane_events_done_total", &labels),
            skipped: counter!("keylane_events_skipped_total", &labels),
            before: counter!("keylane_events_ended_before_total", &labels),
            failed: counter!("keylane_attempts_failed_total", &labels),
            dead_lettered: counter!("keylane_events_dead_lettered_total", &labels),
            skipped_by_operator: counter!("keylane_events_skipped_by_operator_total", &labels),
            pauses: counter!("keylane_lane_pauses_total", &labels),
            halts: counter!("keylane_partition_halts_total", &labels),
            admission_stops: counter!("keylane_admission_stops_total", &labels),
            payloads_truncated: counter!("keylane_payloads_truncated_total", &labels),
            stuck_runs: counter!("keylane_stuck_runs_total", &labels),
            lease_expired: counter!("keylane_leases_expired_total", &labels),
        }
    }
}
