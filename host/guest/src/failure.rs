//! From what a component did to what the engine is told: the class of a failure and a short reason.

use std::time::Duration;

use keylane_capability::EffectsError;
use keylane_capability::bindings::Failure;
use keylane_deployment::Limits;
use keylane_engine::{FailureClass, Outcome};
use wasmtime::{Trap, WasmBacktrace};

/// The longest reason, in bytes. It travels in logs and dead-letter headers.
const REASON_BYTES_MAX: usize = 500;

/// Frames of a trap that a reason names.
const FRAMES_NAMED: usize = 3;

/// Why an attempt failed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct AttemptFailure {
    class: FailureClass,
    reason: String,
    after_ms: Option<u64>,
}

impl AttemptFailure {
    fn new(class: FailureClass, reason: &str) -> Self {
        Self { class, reason: capped(reason), after_ms: None }
    }

    /// The handler itself said so.
    pub(crate) fn answered(failure: Failure) -> Self {
        match failure {
            Failure::Retry(request) => {
                Self { after_ms: request.after_ms, ..Self::new(FailureClass::Retry, &request.reason) }
            }
            Failure::Reject(reason) => Self::new(FailureClass::Reject, &reason),
        }
    }

    /// The call ended without an answer.
    pub(crate) fn trapped(error: &wasmtime::Error, memory_refused: bool, limits: &Limits) -> Self {
        let place = place(error);
        if matches!(error.downcast_ref::<Trap>(), Some(Trap::Interrupt)) {
            return Self::timed_out(limits.time, &place);
        }
        let trap = format!("{:#}{place}", error.root_cause());
        if memory_refused {
            let limit = limits.memory_bytes;
            let elements = limits.table_elements;
            let reason = format!(
                "asked for more than its {limit} bytes of memory or {elements} table elements: {trap}"
            );
            return Self::new(FailureClass::Memory, &reason);
        }
        Self::new(FailureClass::Trap, &trap)
    }

    /// The component computed or slept past its own time.
    pub(crate) fn timed_out(limit: Duration, place: &str) -> Self {
        Self::new(FailureClass::Timeout, &format!("used more than its own time of {limit:?}{place}"))
    }

    /// The host calls of one event together took too long.
    pub(crate) fn waited_out(limit: Duration) -> Self {
        Self::new(FailureClass::Timeout, &format!("its host calls together took longer than {limit:?}"))
    }

    /// The handler answered ok, but what it did could not be made true. A statement that failed is the
    /// handler's own, unless the database was away; that it went on regardless makes its ok a retry.
    pub(crate) fn effects(error: &EffectsError) -> Self {
        let class = match error {
            EffectsError::Doomed { .. } | EffectsError::Unanswered { .. } => FailureClass::Retry,
            EffectsError::Away { .. } => FailureClass::Effects,
            EffectsError::Publish(error) if error.can_retry => FailureClass::Effects,
            EffectsError::Publish(_) => FailureClass::Undeliverable,
        };
        Self::new(class, &error.to_string())
    }

    /// A database that it reads was away, whatever this failure says, which may be for that. The handler's wish for
    /// the next attempt is kept.
    pub(crate) fn away(self, error: &EffectsError) -> Self {
        Self { after_ms: self.after_ms, ..Self::effects(error) }
    }

    /// The database does not take what the event did, at its end or at its commit.
    pub(crate) fn not_taken(said: &str) -> Self {
        Self::new(FailureClass::Retry, &format!("the database does not take what it did: {said}"))
    }

    /// It has lost the connection to the database again and again.
    pub(crate) fn connection_lost(said: &str) -> Self {
        let reason = format!("it lost the connection to the database again and again: {said}");
        Self::new(FailureClass::Retry, &reason)
    }

    /// Other transactions were in its way again and again, though it had its run for itself.
    pub(crate) fn in_conflict(said: &str) -> Self {
        let reason = format!("other transactions were in its way again and again: {said}");
        Self::new(FailureClass::Retry, &reason)
    }

    /// Whether it may be the fault of the instance rather than of the event: of what its memory keeps of
    /// events that it served before.
    pub(crate) fn may_be_the_instances(&self) -> bool {
        matches!(self.class, FailureClass::Trap | FailureClass::Timeout | FailureClass::Memory)
    }
}

impl From<AttemptFailure> for Outcome {
    fn from(failure: AttemptFailure) -> Self {
        Self::Failed { class: failure.class, reason: failure.reason, after_ms: failure.after_ms }
    }
}

/// The innermost frames, by name where the component has kept its names.
fn place(error: &wasmtime::Error) -> String {
    let Some(trace) = error.downcast_ref::<WasmBacktrace>() else { return String::new() };
    let trace = trace.to_string();
    let frames: Vec<_> = trace
        .lines()
        .filter_map(|line| line.split_once(" - "))
        .map(|(_, frame)| frame.trim())
        .take(FRAMES_NAMED)
        .collect();
    if frames.is_empty() { String::new() } else { format!(", at {}", frames.join(" < ")) }
}

/// The reason, or as much of it as fits, at a character's edge.
fn capped(reason: &str) -> String {
    reason.get(..reason.floor_char_boundary(REASON_BYTES_MAX)).unwrap_or(reason).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use keylane_capability::bindings::keylane::handler::types::RetryRequest;

    #[test]
    fn a_retry_keeps_the_handlers_wish() {
        let request = RetryRequest { reason: "later".to_owned(), after_ms: Some(7) };
        let failure = AttemptFailure::answered(Failure::Retry(request));
        assert_eq!(failure.class, FailureClass::Retry);
        assert_eq!(failure.reason, "later");
        assert_eq!(failure.after_ms, Some(7));
    }

    #[test]
    fn an_effect_refused_for_good_is_not_tried_again() {
        let refused = |can_retry| {
            let (topic, reason) = ("payouts".to_owned(), "too large".to_owned());
            AttemptFailure::effects(&keylane_engine::PublishError { topic, reason, can_retry }.into())
        };
        assert_eq!(refused(true).class, FailureClass::Effects);
        assert_eq!(refused(false).class, FailureClass::Undeliverable);
        assert!(!refused(false).class.can_retry());
    }

    #[test]
    fn an_ok_after_a_failed_statement_is_a_retry() {
        let (database, reason) = ("main".to_owned(), "syntax error".to_owned());
        let failure = AttemptFailure::effects(&EffectsError::Doomed { database, reason });
        assert_eq!(failure.class, FailureClass::Retry);
    }

    #[test]
    fn a_database_that_is_away_charges_nobody_and_keeps_the_handlers_wish() {
        let (database, reason) = ("reports".to_owned(), "connection refused".to_owned());
        let error = EffectsError::Away { database, reason };
        let request = RetryRequest { reason: "no reports".to_owned(), after_ms: Some(7) };
        for (answer, after_ms) in
            [(Failure::Retry(request), Some(7)), (Failure::Reject("no reports".to_owned()), None)]
        {
            let failure = AttemptFailure::answered(answer).away(&error);
            assert_eq!((failure.class, failure.after_ms), (FailureClass::Effects, after_ms));
            assert!(failure.reason.contains("connection refused"), "{}", failure.reason);
        }
    }

    #[test]
    fn a_reason_is_cut_at_a_characters_edge() {
        let failure = AttemptFailure::answered(Failure::Reject("€".repeat(1_000)));
        assert_eq!(failure.reason, "€".repeat(REASON_BYTES_MAX / 3));
    }
}
