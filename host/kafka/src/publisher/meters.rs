//! The names of the publisher's metrics.

/// What is handed over and not answered yet, in KiB.
pub(super) const IN_FLIGHT: &str = "keylane_kafka_producer_in_flight_kib";
/// What bounds it: [`IN_FLIGHT_KIB`](crate::config::IN_FLIGHT_KIB).
pub(super) const IN_FLIGHT_MAX: &str = "keylane_kafka_producer_in_flight_kib_max";
/// Times that the client's own queue was full in spite of that bound.
pub(super) const QUEUE_FULL: &str = "keylane_kafka_producer_queue_full_total";
/// Records sent once more alone, because they were refused with their batch; by topic.
pub(super) const RESENT: &str = "keylane_kafka_records_resent_total";
/// Records not acknowledged in the end, by topic; `final` says whether the record itself is at fault, or
/// brokers that did not take it within [`DELIVERY_LIMIT`](crate::config::DELIVERY_LIMIT).
pub(super) const REFUSED: &str = "keylane_kafka_records_refused_total";
/// Topics of which the broker did not tell in time how large their batches may be.
pub(super) const UNTOLD: &str = "keylane_kafka_topics_untold_total";
