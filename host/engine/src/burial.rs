//! Burying: a dead letter is sent again until the broker has acknowledged it.

use std::sync::Arc;
use std::time::Duration;

use crate::lease::Lease;
use crate::ports::{DeadLetter, DeadLetters};

/// The wait after the first try that came to nothing; it doubles up to [`WAIT_MAX`].
const WAIT_FIRST: Duration = Duration::from_millis(200);
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Ends when the letter is acknowledged, and answers its event's offset. A dead letter is never given
/// up: its event has not ended before, so the watermark waits for it and nothing is lost. Without a proof
/// of life it is not sent: another host may have sent it by now. The owner looks at the lease as well and
/// breaks this off, unless a late proof comes first.
pub(crate) async fn until_acknowledged<D: DeadLetters>(
    dead_letters: Arc<D>,
    lease: Arc<Lease>,
    letter: DeadLetter,
) -> i64 {
    let (offset, source) = (letter.event.offset, letter.event.source.clone());
    let mut wait = WAIT_FIRST;
    loop {
        if lease.holds() {
            let Err(refused) = dead_letters.bury(letter.clone()).await else { break };
            tracing::error!(%source, offset, %refused, wait_ms = wait.as_millis(), "a dead letter was refused; trying again");
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(WAIT_MAX);
    }
    tracing::warn!(%source, offset, attempts = letter.attempts, class = letter.class.name(), "dead-lettered");
    offset
}
