//! The host's own limits on what one event may do through capabilities. Limits that belong to a grant
//! (rows, records, mails) stand in the manifest.

/// Counts the calls of a handler that a limit of this module or of a grant refused.
pub(crate) fn reached(handler: &str, capability: &'static str) -> metrics::Counter {
    metrics::counter!("keylane_limits_reached_total", "handler" => handler.to_owned(), "capability" => capability)
}

/// Bounds on one event and one call. A call beyond one of them answers the guest `limit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CapabilityLimits {
    /// The text of one SQL statement, in bytes.
    pub statement_bytes: usize,
    /// Parameters of one SQL statement.
    pub parameters: usize,
    /// Parameters of one SQL statement together, in bytes.
    pub parameter_bytes: usize,
    /// What one query answers, in bytes.
    pub result_bytes: usize,
    /// One produced record: topic, key, value and headers, in bytes.
    pub record_bytes: usize,
    /// All records that one event holds, in bytes.
    pub held_bytes: usize,
    /// Headers of one produced record.
    pub headers: usize,
    /// One key of a bucket, in bytes.
    pub key_bytes: usize,
    /// One value of a bucket, in bytes.
    pub value_bytes: usize,
    /// Keys of one call on a bucket; a longer list comes in pages of so many.
    pub keys: usize,
    /// Subject and body of one mail, in bytes.
    pub mail_bytes: usize,
    /// Lines that one event may write to the log, standard output included.
    pub log_lines: u32,
    /// One line in the log, in bytes; what is longer is cut.
    pub log_line_bytes: usize,
    /// Handles (databases, streams) that one instance may hold.
    pub handles: usize,
}

impl Default for CapabilityLimits {
    fn default() -> Self {
        Self {
            statement_bytes: 64 * 1024,
            parameters: 1_000,
            parameter_bytes: 4 * 1024 * 1024,
            result_bytes: 4 * 1024 * 1024,
            record_bytes: 1_000_000,
            held_bytes: 16 * 1024 * 1024,
            headers: 100,
            key_bytes: 1024,
            value_bytes: 1024 * 1024,
            keys: 1_000,
            mail_bytes: 256 * 1024,
            log_lines: 100,
            log_line_bytes: 4 * 1024,
            handles: 256,
        }
    }
}
