//! The policy of a handler, as far as ordering and retries need it.

/// Named limits and choices of one partition's ordering engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Attempts before an event goes to the dead letters. At least 1.
    pub attempts_max: u32,
    /// The wait after the first failed attempt, in milliseconds; it doubles with each further one.
    pub backoff_ms: u64,
    /// The longest wait between two attempts, in milliseconds.
    pub backoff_max_ms: u64,
    /// The most events in one run. At least 1.
    pub run_events_max: usize,
    /// The most records between the watermark and the newest arrival. Above it the partition asks
    /// for no more records until the watermark moves: it bounds the ledger's memory.
    pub gap_max: usize,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            attempts_max: 8,
            backoff_ms: 500,
            backoff_max_ms: 60_000,
            run_events_max: 100,
            gap_max: 100_000,
        }
    }
}
