//! The metrics of one partition: a gauge for each bound, and counters of what happened.

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use crate::event::TopicPartition;

/// Handles registered once for a partition, so that a measurement costs no look-up.
pub(crate) struct Meters {
    pub(crate) buffered_records: Gauge,
    pub(crate) buffered_bytes: Gauge,
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
}

/// A partition that is gone holds nothing.
impl Drop for Meters {
    fn drop(&mut self) {
        let gauges = [
            &self.buffered_records,
            &self.buffered_bytes,
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
        for gauge in gauges {
            gauge.set(0.0);
        }
    }
}

impl Meters {
    pub(crate) fn new(handler: &str, source: &TopicPartition) -> Self {
        let labels = [
            ("handler", handler.to_owned()),
            ("topic", source.topic.to_string()),
            ("partition", source.partition.to_string()),
        ];
        Self {
            buffered_records: gauge!("keylane_buffered_records", &labels),
            buffered_bytes: gauge!("keylane_buffered_bytes", &labels),
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
