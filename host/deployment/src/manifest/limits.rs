//! `[limits]`: what one event may use, and how events are put together into runs.

use std::time::Duration;

/// What one event may use.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Linear memory of an instance, in bytes; 64 MiB by default.
    pub memory_bytes: usize,
    /// Elements of an instance's tables; 20,000 by default.
    pub table_elements: usize,
    /// The component's own time for one event, host calls left out; one second by default.
    pub time: Duration,
    /// How long one host call may take; ten seconds by default.
    pub host_call: Duration,
    /// Runs of this handler at once in one host; 64 by default.
    pub concurrency: usize,
    /// The most events in one run; 100 by default.
    pub run_events: usize,
    /// How long a run may take before it begins no further event, what it waits for its write database left out
    /// (half a second at most); 50 ms by default.
    pub slice: Duration,
    /// How long a run may be out before it is reported as stuck; one minute by default, or longer where
    /// the other limits allow a single event more.
    pub stuck_after: Duration,
}
