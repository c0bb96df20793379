//! The events of one partition that are in the host, from their arrival to their end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use keylane_lanes::RunAttempt;

use crate::event::Event;
use crate::key;
use crate::ports::{Attempt, DeadLetter, FailureClass};

/// Events by offset. Bounded by the inbox: what was delivered and has not ended.
#[derive(Default)]
pub(crate) struct HeldEvents {
    events: BTreeMap<i64, Held>,
}

struct Held {
    event: Arc<Event>,
    weight_bytes: usize,
    failure: Option<LastFailure>,
}

/// What a dead letter or the status would have to say.
struct LastFailure {
    class: FailureClass,
    reason: String,
    first_failure_ms: i64,
}

impl HeldEvents {
    pub(crate) fn insert(&mut self, event: Event) {
        let (offset, weight_bytes) = (event.offset, event.weight_bytes());
        self.events.insert(offset, Held { event: Arc::new(event), weight_bytes, failure: None });
    }

    /// How many are held.
    pub(crate) fn len(&self) -> usize {
        self.events.len()
    }

    /// Forgets an event that has ended; answers its weight in bytes.
    pub(crate) fn remove(&mut self, offset: i64) -> usize {
        let held = self.events.remove(&offset);
        assert!(held.is_some(), "offset {offset} ended and is not held");
        held.map_or(0, |held| held.weight_bytes)
    }

    /// The attempts of a run, with their events.
    pub(crate) fn attempts(&self, attempts: &[RunAttempt]) -> Vec<Attempt> {
        let with_events: Vec<Attempt> = attempts
            .iter()
            .filter_map(|attempt| {
                let event = self.events.get(&attempt.offset)?.event.clone();
                Some(Attempt { event, number: attempt.number, lane: attempt.lane.0 })
            })
            .collect();
        assert_eq!(with_events.len(), attempts.len(), "a run has an event that is not held");
        with_events
    }

    /// Remembers why an attempt failed, and when the first one did.
    pub(crate) fn note_failure(&mut self, offset: i64, class: FailureClass, reason: String) {
        let Some(held) = self.events.get_mut(&offset) else { return };
        let first_failure_ms = held.failure.as_ref().map_or_else(now_ms, |failure| failure.first_failure_ms);
        held.failure = Some(LastFailure { class, reason, first_failure_ms });
    }

    /// The event's key for people, if it is held and has one.
    pub(crate) fn key(&self, offset: i64) -> Option<String> {
        self.events.get(&offset)?.event.key.as_deref().map(key::printable)
    }

    /// Class and message of the last failure.
    pub(crate) fn failure(&self, offset: i64) -> Option<(&str, &str)> {
        let failure = self.events.get(&offset)?.failure.as_ref()?;
        Some((failure.class.name(), &failure.reason))
    }

    /// The dead letter of an event whose last attempt failed.
    pub(crate) fn letter(&self, offset: i64, attempts: u32) -> Option<DeadLetter> {
        let held = self.events.get(&offset)?;
        let failure = held.failure.as_ref()?;
        Some(DeadLetter {
            event: held.event.clone(),
            attempts,
            class: failure.class,
            reason: failure.reason.clone(),
            first_failure_ms: failure.first_failure_ms,
        })
    }
}

fn now_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}
