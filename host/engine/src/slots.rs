//! Slots: how many runs of one handler may be out at once, and which partition gets the next one.
//!
//! A free slot goes to the waiting partition that holds the fewest, the one that has waited longest among
//! equals. So partitions that want as many as they can get hold `ceil(slots / partitions)` each, and what
//! one of them does not use the others may: a hot partition cannot starve the others. One partition alone
//! would take all slots, and if its runs then hang there is none left for the next that has work. So an
//! eighth of the slots (none of fewer than eight) is kept back from each single partition while the
//! handler has others here.
//!
//! Runs whose transactions are in each other's way make fewer slots: a conflict halves those that are
//! open, down to one, and each stretch of clean runs opens one more. Shorter runs come after that.
//!
//! Who owns: the handler. Who waits: an owner, in [`Stand::granted`]. Who wakes: whoever gives a slot back
//! or changes what it wants. What bounds: the number of slots; one stand per assignment. A stand that is
//! dropped takes its wish and its grant with it, and a slot its place, so nothing is left of a partition
//! that is taken away.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metrics::Gauge;
use tokio::sync::Notify;

/// One part in so many is kept back from each single partition.
const RESERVE_PART: usize = 8;

/// So many clean runs for each open slot open another one.
const CLEAN_RUNS_PER_SLOT: usize = 8;

/// The slots of one handler.
pub(crate) struct Slots {
    total: usize,
    state: Mutex<State>,
    used: Gauge,
    open: Gauge,
}

struct State {
    used: usize,
    /// How many may be used; at least 1.
    open: usize,
    /// Clean runs since that changed.
    clean: usize,
    /// Runs that were out when it shrank: their conflicts are of the time before.
    stale: usize,
    stands: BTreeMap<u64, Place>,
    stands_made: u64,
    tickets: u64,
}

/// What one partition holds and wants.
struct Place {
    held: usize,
    /// When it asked, if it waits.
    ticket: Option<u64>,
    /// A slot is its own and not taken yet; counted in `held`.
    granted: bool,
    notify: Arc<Notify>,
}

impl Slots {
    pub(crate) fn new(handler: &str, total: usize) -> Arc<Self> {
        assert!(total >= 1, "a handler needs a slot");
        metrics::gauge!("keylane_slots", "handler" => handler.to_owned()).set(total as f64);
        let used = metrics::gauge!("keylane_slots_used", "handler" => handler.to_owned());
        let open = metrics::gauge!("keylane_slots_open", "handler" => handler.to_owned());
        open.set(total as f64);
        Arc::new(Self { total, state: Mutex::new(State::new(total)), used, open })
    }

    /// Notes that a run has ended that nothing was in the way of.
    pub(crate) fn note_clean(&self) {
        let mut state = self.lock();
        if state.grow(self.total) {
            self.open.set(state.open as f64);
            self.hand_out(&mut state);
        }
    }

    /// Notes that another transaction was in the way of a run that has ended. Answers whether fewer slots are
    /// a remedy; if not, one is open and shorter runs have to be.
    pub(crate) fn note_conflict(&self) -> bool {
        let mut state = self.lock();
        let remedy = state.shrink();
        self.open.set(state.open as f64);
        remedy
    }

    /// A place for one more partition.
    pub(crate) fn stand(self: &Arc<Self>) -> Stand {
        let notify = Arc::new(Notify::new());
        let mut state = self.lock();
        state.stands_made += 1;
        let number = state.stands_made;
        let place = Place { held: 0, ticket: None, granted: false, notify: notify.clone() };
        state.stands.insert(number, place);
        Stand { slots: self.clone(), number, notify }
    }

    /// A panic elsewhere leaves the counts whole: they are changed in single steps.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands free slots to those that wait.
    fn hand_out(&self, state: &mut State) {
        while state.used < state.open {
            let cap = cap(state.open, state.stands.len());
            let waiting = state.stands.values_mut().filter(|place| place.held < cap);
            let next = waiting
                .filter_map(|place| Some((place.held, place.ticket?, place)))
                .min_by_key(|(held, ticket, _)| (*held, *ticket));
            let Some((_, _, place)) = next else { break };
            place.ticket = None;
            place.granted = true;
            place.held += 1;
            place.notify.notify_one();
            state.used += 1;
        }
        self.used.set(state.used as f64);
    }
}

/// The most slots of one partition among so many.
fn cap(open: usize, partitions: usize) -> usize {
    if partitions > 1 { open - open / RESERVE_PART } else { open }
}

impl State {
    fn new(open: usize) -> Self {
        Self { used: 0, open, clean: 0, stale: 0, stands: BTreeMap::new(), stands_made: 0, tickets: 0 }
    }

    /// Halves the open slots, once for all runs that were out then. Answers whether they were more than one.
    fn shrink(&mut self) -> bool {
        self.clean = 0;
        if self.stale > 0 {
            self.stale -= 1;
            return true;
        }
        if self.open == 1 {
            return false;
        }
        self.open /= 2;
        self.stale = self.used;
        true
    }

    /// Opens one more slot after a stretch of clean runs. Answers whether it did.
    fn grow(&mut self, total: usize) -> bool {
        self.stale = self.stale.saturating_sub(1);
        if self.open == total {
            return false;
        }
        self.clean += 1;
        let grows = self.clean >= self.open * CLEAN_RUNS_PER_SLOT;
        if grows {
            self.open += 1;
            self.clean = 0;
        }
        grows
    }
}

/// One partition's place among those that want slots.
pub(crate) struct Stand {
    slots: Arc<Slots>,
    number: u64,
    notify: Arc<Notify>,
}

impl Stand {
    /// Says whether this partition wants a slot. It keeps its place while it goes on wanting; a grant that
    /// it does not want any more goes to others.
    pub(crate) fn want(&self, wanted: bool) {
        let mut state = self.slots.lock();
        let ticket = state.tickets;
        let Some(place) = state.stands.get_mut(&self.number) else { return };
        match (wanted, place.granted, place.ticket) {
            (true, false, None) => {
                place.ticket = Some(ticket);
                state.tickets += 1;
            }
            (false, true, _) => {
                place.granted = false;
                place.held -= 1;
                state.used -= 1;
            }
            (false, false, Some(_)) => place.ticket = None,
            _ => return,
        }
        self.slots.hand_out(&mut state);
    }

    /// A slot, when it is this partition's turn. Pending for ever while it wants none.
    pub(crate) async fn granted(&self) -> Slot {
        loop {
            if let Some(slot) = self.take() {
                return slot;
            }
            self.notify.notified().await;
        }
    }

    fn take(&self) -> Option<Slot> {
        let mut state = self.slots.lock();
        let place = state.stands.get_mut(&self.number)?;
        std::mem::take(&mut place.granted).then(|| Slot { slots: self.slots.clone(), stand: self.number })
    }

    /// How many slots are free beside the one that was just taken.
    pub(crate) fn others_free(&self) -> usize {
        let state = self.slots.lock();
        state.open.saturating_sub(state.used)
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        let mut state = self.slots.lock();
        if let Some(place) = state.stands.remove(&self.number) {
            state.used -= usize::from(place.granted);
        }
        self.slots.hand_out(&mut state);
    }
}

/// Leave for one run. Dropping it gives it back.
pub(crate) struct Slot {
    slots: Arc<Slots>,
    stand: u64,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut state = self.slots.lock();
        state.used -= 1;
        if let Some(place) = state.stands.get_mut(&self.stand) {
            place.held -= 1;
        }
        self.slots.hand_out(&mut state);
    }
}

#[cfg(test)]
mod tests;
