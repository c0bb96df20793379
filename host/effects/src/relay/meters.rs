//! The names of the relay's metrics, all by database.

/// Rows in the outbox, by kind: `record` or `mail`.
pub(super) const ROWS: &str = "keylane_outbox_rows";
/// Rows that were refused or stand behind one that was.
pub(super) const PARKED: &str = "keylane_outbox_parked";
/// The age of the oldest row, in seconds.
pub(super) const OLDEST: &str = "keylane_outbox_oldest_seconds";
/// 1 on the host that relays.
pub(super) const RELAYING: &str = "keylane_relay_active";
/// Times that this host took the lease.
pub(super) const TAKEN: &str = "keylane_relay_taken_total";
/// Records committed in Kafka.
pub(super) const RECORDS: &str = "keylane_relay_records_total";
/// Transactions committed in Kafka.
pub(super) const BATCHES: &str = "keylane_relay_batches_total";
/// The most rows of one batch: [`BATCH_ROWS`](super::core::BATCH_ROWS).
pub(super) const BATCH_MAX: &str = "keylane_relay_batch_rows_max";
/// Mails taken by the server.
pub(super) const MAILS: &str = "keylane_relay_mails_total";
/// Refusals, by kind.
pub(super) const REFUSED: &str = "keylane_relay_refused_total";
/// Times that the way was lost and opened anew.
pub(super) const FAILED: &str = "keylane_relay_failed_total";
