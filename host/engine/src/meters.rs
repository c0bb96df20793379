//! The metrics of one partition: a gauge for each bound, and counters of what happened.

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use crate::event::TopicPartition;

/// Handles registered once for a partition, so that a measurement costs no look-up.
pub(crate) struct Meters {
    pub(crate) buffered_records: Gauge,
    pub(crate) buffered_bytes: Gauge,
    pub(crate) gap_records: Gauge,
    pub(crate) parked_lanes: Gauge,
    pub(crate) runs: Gauge,
    pub(crate) run_events: Histogram,
    pub(crate) done: Counter,
    pub(crate) skipped: Counter,
    pub(crate) failed: Counter,
    pub(crate) dead_lettered: Counter,
}

/// A partition that is gone holds nothing.
impl Drop for Meters {
    fn drop(&mut self) {
        for gauge in
            [&self.buffered_records, &self.buffered_bytes, &self.gap_records, &self.parked_lanes, &self.runs]
        {
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
            parked_lanes: gauge!("keylane_parked_lanes", &labels),
            runs: gauge!("keylane_runs", &labels),
            run_events: histogram!("keylane_run_events", &labels),
            done: counter!("keylane_events_done_total", &labels),
            skipped: counter!("keylane_events_skipped_total", &labels),
            failed: counter!("keylane_attempts_failed_total", &labels),
            dead_lettered: counter!("keylane_events_dead_lettered_total", &labels),
        }
    }
}
