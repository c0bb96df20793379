//! What a handler answers when it could not handle an event.

use std::time::Duration;

use crate::bindings;

/// Why an event could not be handled, and what the host should do with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// Try this event again later; other keys go on meanwhile.
    Retry {
        /// For the log, and for the dead letter if attempts run out.
        reason: String,
        /// At least this long from now; the manifest's backoff if none.
        after: Option<Duration>,
    },
    /// No later attempt can help: the event goes to the dead letters.
    Reject {
        /// For the log and the dead letter.
        reason: String,
    },
}

impl Failure {
    /// Asks for a later attempt, after the manifest's backoff.
    #[must_use]
    pub fn retry(reason: impl Into<String>) -> Failure {
        Failure::Retry { reason: reason.into(), after: None }
    }

    /// Asks for a later attempt, at least this long from now.
    #[must_use]
    pub fn retry_after(reason: impl Into<String>, after: Duration) -> Failure {
        Failure::Retry { reason: reason.into(), after: Some(after) }
    }

    /// Gives the event up: no later attempt can help.
    #[must_use]
    pub fn reject(reason: impl Into<String>) -> Failure {
        Failure::Reject { reason: reason.into() }
    }
}

impl From<Failure> for bindings::Failure {
    fn from(failure: Failure) -> bindings::Failure {
        match failure {
            Failure::Retry { reason, after } => {
                let after_ms = after.map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
                bindings::Failure::Retry(bindings::keylane::handler::types::RetryRequest { reason, after_ms })
            }
            Failure::Reject { reason } => bindings::Failure::Reject(reason),
        }
    }
}
