//! How a relay is asked to stop: what the last runs have made still leaves, for a while, and then what is under
//! way is waited for.
//!
//! Who waits: whoever stops the relay, for its task; the relay's parts, for being asked, while they have nothing
//! to do. What bounds: the time after which nothing new is begun, and the one after which the task is given up.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// So much of a stop's time may pass before nothing new is begun.
const GOES_ON_FOR: u32 = 3;

/// Whoever may ask for the stop.
pub(super) struct Stopper {
    until: watch::Sender<Option<Instant>>,
}

/// The stop, as the relay sees it.
#[derive(Clone)]
pub(super) struct Stop {
    until: watch::Receiver<Option<Instant>>,
}

/// A stop that nobody has asked for yet.
pub(super) fn stop() -> (Stopper, Stop) {
    let (asks, until) = watch::channel(None);
    (Stopper { until: asks }, Stop { until })
}

impl Stopper {
    /// Asks for it. All of it may take this long.
    pub(super) fn ask(&self, limit: Duration) {
        self.until.send_replace(Some(Instant::now() + limit / GOES_ON_FOR));
    }
}

impl Stop {
    /// Whether it was asked for.
    pub(super) fn is_asked(&self) -> bool {
        self.until.borrow().is_some()
    }

    /// Whether nothing new may be begun any more.
    pub(super) fn is_over(&self) -> bool {
        self.until.borrow().is_some_and(|until| Instant::now() >= until)
    }

    /// Waits until it is asked for. A stopper that is gone has asked as well.
    pub(super) async fn asked(&self) {
        let mut until = self.until.clone();
        let _asked_or_gone = until.wait_for(Option::is_some).await;
    }
}
