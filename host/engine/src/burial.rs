//! Burying: a dead letter is sent again until the broker has acknowledged it.

use std::sync::Arc;
use std::time::Duration;

use crate::ports::{DeadLetter, DeadLetters};

/// The wait after the first refusal; it doubles up to [`WAIT_MAX`].
const WAIT_FIRST: Duration = Duration::from_millis(200);
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Ends when the letter is acknowledged, and answers its event's offset. A dead letter is never given
/// up: its event has not ended before, so the watermark waits for it and nothing is lost.
pub(crate) async fn until_acknowledged<D: DeadLetters>(dead_letters: Arc<D>, letter: DeadLetter) -> i64 {
    let (offset, source) = (letter.event.offset, letter.event.source.clone());
    let mut wait = WAIT_FIRST;
    while let Err(refused) = dead_letters.bury(letter.clone()).await {
        tracing::error!(%source, offset, %refused, wait_ms = wait.as_millis(), "a dead letter was refused; trying again");
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(WAIT_MAX);
    }
    tracing::warn!(%source, offset, attempts = letter.attempts, class = letter.class.name(), "dead-lettered");
    offset
}
