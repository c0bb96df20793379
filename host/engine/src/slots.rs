//! Slots: how many runs of one handler may be out at once, and which partition gets the next one.
//!
//! A free slot goes to the waiting partition that holds the fewest, the one that has waited longest among
//! equals. So partitions that want as many as they can get hold `ceil(slots / partitions)` each, and what
//! one of them does not use the others may: a hot partition cannot starve the others. One partition alone
//! would take all slots, and if its runs then hang there is none left for the next that has work. So an
//! eighth of the slots (none of fewer than eight) is kept back from each single partition while the
//! handler has others here.
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

/// The slots of one handler.
pub(crate) struct Slots {
    total: usize,
    state: Mutex<State>,
    used: Gauge,
}

#[derive(Default)]
struct State {
    used: usize,
    stands: BTreeMap<u64, Claim>,
    stands_made: u64,
    tickets: u64,
}

/// What one partition holds and wants.
struct Claim {
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
        Arc::new(Self { total, state: Mutex::default(), used })
    }

    /// A place for one more partition.
    pub(crate) fn stand(self: &Arc<Self>) -> Stand {
        let notify = Arc::new(Notify::new());
        let mut state = self.lock();
        state.stands_made += 1;
        let number = state.stands_made;
        let claim = Claim { held: 0, ticket: None, granted: false, notify: notify.clone() };
        state.stands.insert(number, claim);
        Stand { slots: self.clone(), number, notify }
    }

    /// A panic elsewhere leaves the counts whole: they are changed in single steps.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands free slots to those that wait.
    fn hand_out(&self, state: &mut State) {
        while state.used < self.total {
            let cap = self.cap(state.stands.len());
            let waiting = state.stands.values_mut().filter(|claim| claim.held < cap);
            let next = waiting
                .filter_map(|claim| Some((claim.held, claim.ticket?, claim)))
                .min_by_key(|(held, ticket, _)| (*held, *ticket));
            let Some((_, _, claim)) = next else { break };
            claim.ticket = None;
            claim.granted = true;
            claim.held += 1;
            claim.notify.notify_one();
            state.used += 1;
        }
        self.used.set(state.used as f64);
    }

    /// The most slots of one partition among so many.
    fn cap(&self, partitions: usize) -> usize {
        if partitions > 1 { self.total - self.total / RESERVE_PART } else { self.total }
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
        let Some(claim) = state.stands.get_mut(&self.number) else { return };
        match (wanted, claim.granted, claim.ticket) {
            (true, false, None) => {
                claim.ticket = Some(ticket);
                state.tickets += 1;
            }
            (false, true, _) => {
                claim.granted = false;
                claim.held -= 1;
                state.used -= 1;
            }
            (false, false, Some(_)) => claim.ticket = None,
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
        let claim = state.stands.get_mut(&self.number)?;
        std::mem::take(&mut claim.granted).then(|| Slot { slots: self.slots.clone(), stand: self.number })
    }

    /// How many slots are free beside the one that was just taken.
    pub(crate) fn others_free(&self) -> usize {
        self.slots.total - self.slots.lock().used
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        let mut state = self.slots.lock();
        if let Some(claim) = state.stands.remove(&self.number) {
            state.used -= usize::from(claim.granted);
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
        if let Some(claim) = state.stands.get_mut(&self.stand) {
            claim.held -= 1;
        }
        self.slots.hand_out(&mut state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As many slots as this stand gets now.
    fn grab(stand: &Stand) -> Vec<Slot> {
        let mut slots = Vec::new();
        loop {
            stand.want(true);
            match stand.take() {
                Some(slot) => slots.push(slot),
                None => return slots,
            }
        }
    }

    #[test]
    fn one_partition_alone_takes_all_slots() {
        let slots = Slots::new("bench", 16);
        let stand = slots.stand();
        assert_eq!(grab(&stand).len(), 16);
        stand.want(false);
        assert_eq!(slots.lock().used, 0, "given back when they were dropped");
    }

    #[test]
    fn a_partition_whose_runs_hang_leaves_slots_to_the_others() {
        let slots = Slots::new("bench", 16);
        let (hanging, other) = (slots.stand(), slots.stand());
        let hung = grab(&hanging);
        assert_eq!(hung.len(), 14, "an eighth is kept back");
        assert_eq!(grab(&other).len(), 2);
    }

    #[test]
    fn a_freed_slot_goes_to_the_partition_that_holds_the_fewest() {
        let slots = Slots::new("bench", 6);
        let (hot, mild, late) = (slots.stand(), slots.stand(), slots.stand());
        let mut of_hot = grab(&hot);
        assert_eq!(of_hot.len(), 6, "too few to keep any back");
        mild.want(true);
        late.want(true);
        let mut of_mild = Vec::new();
        let mut of_late = Vec::new();
        for _ in 0..4 {
            of_hot.pop();
            for (stand, held) in [(&mild, &mut of_mild), (&late, &mut of_late), (&hot, &mut of_hot)] {
                held.extend(stand.take());
                stand.want(true);
            }
        }
        assert_eq!((of_hot.len(), of_mild.len(), of_late.len()), (2, 2, 2));
    }

    #[test]
    fn a_partition_that_is_taken_away_leaves_nothing_behind() {
        let slots = Slots::new("bench", 3);
        let (gone, stays) = (slots.stand(), slots.stand());
        gone.want(true);
        let held = gone.take();
        gone.want(true);
        gone.want(true);
        drop(gone);
        assert_eq!(slots.lock().used, 1, "its run is still out, its unused grant is not");
        drop(held);
        assert_eq!(slots.lock().used, 0);
        assert_eq!(grab(&stays).len(), 3);
        stays.want(true);
        stays.want(false);
        assert_eq!(slots.lock().used, 0, "an unwanted grant is given back");
    }
}
