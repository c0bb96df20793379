//! Burying: a dead letter is sent again until the broker has acknowledged it.

use std::sync::Arc;

use crate::backoff::Backoff;
use crate::lease::Lease;
use crate::ports::{DeadLetter, DeadLetters};

/// Ends when the letter is acknowledged. A dead letter is never given up: its event has not ended before, so
/// the watermark waits for it and nothing is lost. Without a proof of life it is not sent: another host may
/// have sent it by now. The owner looks at the lease as well and breaks this off, unless a late proof comes
/// first.
pub(crate) async fn until_acknowledged<D: DeadLetters>(
    dead_letters: Arc<D>,
    lease: Arc<Lease>,
    letter: DeadLetter,
) {
    let (offset, source) = (letter.event.offset, letter.event.source.clone());
    let mut backoff = Backoff::new();
    loop {
        if lease.holds() {
            let Err(refused) = dead_letters.bury(letter.clone()).await else { break };
            tracing::error!(%source, offset, %refused, wait_ms = backoff.next_ms(), "a dead letter was refused; trying again");
        }
        backoff.wait().await;
    }
    tell_of(&letter);
}

/// One line for each letter, wherever it went.
pub(crate) fn tell_of(letter: &DeadLetter) {
    let DeadLetter { event, attempts, class, .. } = letter;
    let (source, offset) = (&event.source, event.offset);
    tracing::warn!(%source, offset, attempts, class = class.name(), "dead-lettered");
}
