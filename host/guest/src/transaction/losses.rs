//! Events in whose statements the connection to the database was lost.
//!
//! Once that is the database's fault, and nobody is charged: the partition is taken anew and the event comes
//! again. An event whose own statement ends the connection each time would come again for ever and hold its
//! partition up; so after some times in a row it is charged an attempt, as for any statement that fails.
//!
//! Who owns: the pool of a revision. The lock is held for a look. What bounds: [`EVENTS_MAX`].

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use keylane_engine::{Event, TopicPartition};

/// Losses in a row after which an event is charged.
const LOSSES_MAX: u32 = 3;
/// Events that are remembered; past it all are forgotten, and counted anew.
const EVENTS_MAX: usize = 1_000;

/// The events.
#[derive(Default)]
pub(crate) struct Losses {
    events: Mutex<BTreeMap<(TopicPartition, i64), u32>>,
}

impl Losses {
    /// The connection was lost in a statement of this event; answers whether the event is to be charged.
    pub(crate) fn lost(&self, event: &Event) -> bool {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (event.source.clone(), event.offset);
        let losses = events.remove(&key).unwrap_or(0) + 1;
        if losses >= LOSSES_MAX {
            return true;
        }
        if events.len() >= EVENTS_MAX {
            events.clear();
        }
        events.insert(key, losses);
        false
    }

    /// The event got through its statements.
    pub(crate) fn kept(&self, event: &Event) {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        if !events.is_empty() {
            events.remove(&(event.source.clone(), event.offset));
        }
    }
}
