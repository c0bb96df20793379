//! Waiting between two tries of what must succeed some time.

use std::time::Duration;

/// The wait after the first try that came to nothing; it doubles up to [`WAIT_MAX`].
const WAIT_FIRST: Duration = Duration::from_millis(200);
const WAIT_MAX: Duration = Duration::from_secs(30);

/// The waits of one story of tries.
pub(crate) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(crate) fn new() -> Self {
        Self { next: WAIT_FIRST }
    }

    /// How long the next wait will be, for the log.
    pub(crate) fn next_ms(&self) -> u128 {
        self.next.as_millis()
    }

    /// Waits, longer each time.
    pub(crate) async fn wait(&mut self) {
        tokio::time::sleep(self.next).await;
        self.next = (self.next * 2).min(WAIT_MAX);
    }
}
