//! Events whose runs come to nothing though nobody is charged: their connection to the database was lost, or
//! other transactions were in the way of an event that was alone.
//!
//! Once that is the database's fault, and the event comes again. An event that itself ends the connection each
//! time, or answers as a conflict does, would come again for ever and hold its partition up; so after some times
//! in a row it is charged an attempt, as for any statement that fails. Where the connection was lost at the end of
//! a run of several, each of them begins alone until it has ended, so that it shows whose fault it is.
//!
//! Before an event is charged, each loss takes its partition away, and with it what its lane was charged. So who was
//! charged once is charged for each further loss at once: else it would never get to its last attempt.
//!
//! Who owns: the pool of a revision. The lock is held for a look. What bounds: [`EVENTS_MAX`].

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use keylane_engine::{Event, TopicPartition};

/// Losses of the connection in a row of which the last one, and each after it, is charged to the event.
const LOSSES_MAX: u32 = 3;
/// Runs in a row that an event alone gives up for conflicts before it is charged. Each has tried several times;
/// true conflicts with others end long before.
const CONFLICT_RUNS_MAX: u32 = 20;
/// Events that are remembered; past it all are forgotten, and counted anew.
const EVENTS_MAX: usize = 1_000;

/// The events.
#[derive(Default)]
pub(crate) struct Losses {
    events: Mutex<BTreeMap<(TopicPartition, i64), Counts>>,
}

/// What happened to one event since it last ended or failed.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    lost: u32,
    conflict_runs: u32,
    suspect: bool,
}

impl Losses {
    /// The connection was lost by this event, in its statement or at the end of a run that it had for itself;
    /// answers whether it is to be charged.
    pub(crate) fn lost(&self, event: &Event) -> bool {
        self.count(event, |counts| {
            counts.lost = counts.lost.saturating_add(1);
            counts.lost >= LOSSES_MAX
        })
    }

    /// This event was alone in its run, which was given up for conflicts; answers whether it is to be charged.
    pub(crate) fn in_conflict(&self, event: &Event) -> bool {
        self.count(event, |counts| {
            counts.conflict_runs = counts.conflict_runs.saturating_add(1);
            counts.conflict_runs >= CONFLICT_RUNS_MAX
        })
    }

    /// The connection was lost by one of these events, and it is not known by which.
    pub(crate) fn suspect<'a>(&self, events: impl Iterator<Item = &'a Event>) {
        // Those that find no place come into doubt again when the first ones have ended.
        for event in events.take(EVENTS_MAX) {
            self.count(event, |counts| {
                counts.suspect = true;
                false
            });
        }
    }

    /// Whether this event must begin alone.
    pub(crate) fn is_suspect(&self, event: &Event) -> bool {
        let events = self.lock();
        let is_suspect = |counts: &Counts| counts.suspect || counts.lost >= LOSSES_MAX;
        !events.is_empty() && events.get(&key(event)).is_some_and(is_suspect)
    }

    /// The event is committed, or failed without losing the connection.
    pub(crate) fn ended(&self, event: &Event) {
        let mut events = self.lock();
        if !events.is_empty() {
            events.remove(&key(event));
        }
    }

    fn count(&self, event: &Event, counting: impl FnOnce(&mut Counts) -> bool) -> bool {
        let mut events = self.lock();
        let key = key(event);
        if events.len() >= EVENTS_MAX && !events.contains_key(&key) {
            events.clear();
        }
        counting(events.entry(key).or_default())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(TopicPartition, i64), Counts>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(event: &Event) -> (TopicPartition, i64) {
    (event.source.clone(), event.offset)
}
