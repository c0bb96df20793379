//! The host's budget: how many bytes of events, and of records that wait for their cut, the whole host may hold,
//! over all its handlers.
//!
//! Who owns: the host, one budget, shared by every inbox. Who waits: nobody; an inbox that is refused
//! room puts its poller's wake down as hungry. Who wakes: whoever gives bytes back while some are hungry.
//! What bounds: the budget in bytes, and beside it the [`Floor`] of each partition and one batch: below its
//! floor an inbox takes a batch whatever the host holds, else a handler that fills the host and does not
//! get on would keep the partitions of all others from their events. So the host holds at most the budget
//! and, for each of its partitions, a floor and a batch. The records of a partition in cuts have a floor of as
//! many bytes for themselves, above which no run begins while the host is full (one at a time does where no cut
//! can take anything before something further down has ended); they come on top, with what the runs that are out
//! then give. The hungry are at most one per assignment.
//!
//! Every byte is charged to one assignment's [`Room`], and every hungry entry belongs to one
//! [`Seat`]: both give back what is left when they are dropped, so that a partition that is taken away
//! leaves nothing behind.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use metrics::Gauge;

use crate::inbox::Wake;
use crate::meters::RoomMeters;

/// What a partition may hold however full the host is. All of its records count, also those that wait for
/// an operator or a later attempt: were they left out, the host's bound would be that of all inboxes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Floor {
    /// Records delivered and not yet ended.
    pub records: usize,
    /// Their weight in bytes.
    pub bytes: usize,
}

/// One usual batch of the intake.
impl Default for Floor {
    fn default() -> Self {
        Self { records: 256, bytes: 256 * 1024 }
    }
}

impl Floor {
    fn is_above(&self, records: usize, bytes: usize) -> bool {
        records < self.records && bytes < self.bytes
    }
}

/// The bytes of events and of records that wait for their cut, as many as the host may hold at once.
pub struct HostBudget {
    bytes_max: usize,
    floor: Floor,
    bytes: AtomicUsize,
    /// Those that were refused, by seat.
    hungry: Mutex<BTreeMap<u64, Wake>>,
    /// Whether there are any, so that giving back costs no lock while there are none.
    any_hungry: AtomicBool,
    seats: AtomicU64,
    held: Gauge,
    hungry_told: Gauge,
}

impl HostBudget {
    /// A budget of this many bytes ([`crate::Event::weight_bytes`], [`crate::OutgoingRecord::weight_bytes`]). Made
    /// once, after the recorder of the metrics is installed.
    #[must_use]
    pub fn new(bytes_max: usize) -> Arc<Self> {
        Self::with_floor(bytes_max, Floor::default())
    }

    /// A budget beside which each partition has another floor than the usual one.
    #[must_use]
    pub fn with_floor(bytes_max: usize, floor: Floor) -> Arc<Self> {
        metrics::gauge!("keylane_host_buffered_bytes_max").set(bytes_max as f64);
        metrics::gauge!("keylane_host_floor_records").set(floor.records as f64);
        metrics::gauge!("keylane_host_floor_bytes").set(floor.bytes as f64);
        let held = metrics::gauge!("keylane_host_buffered_bytes");
        held.set(0.0);
        Arc::new(Self {
            bytes_max,
            floor,
            bytes: AtomicUsize::new(0),
            hungry: Mutex::default(),
            any_hungry: AtomicBool::new(false),
            seats: AtomicU64::new(0),
            held,
            hungry_told: metrics::gauge!("keylane_host_hungry_partitions"),
        })
    }

    /// Bytes held now.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.bytes.load(Ordering::Acquire)
    }

    /// Partitions that were refused room and not woken yet.
    #[must_use]
    pub fn hungry(&self) -> usize {
        self.hungry.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn has_room(&self) -> bool {
        self.held_bytes() < self.bytes_max
    }

    fn charge(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::AcqRel);
        self.held.increment(bytes as f64);
    }

    fn give_back(&self, bytes: usize) {
        if bytes == 0 {
            return;
        }
        let before = self.bytes.fetch_sub(bytes, Ordering::AcqRel);
        assert!(before >= bytes, "more bytes given back to the host than were charged");
        self.held.decrement(bytes as f64);
        if self.any_hungry.load(Ordering::Acquire) && self.has_room() {
            self.wake_hungry();
        }
    }

    /// Wakes are called outside the lock: one may come back and ask for room.
    fn wake_hungry(&self) {
        let hungry = {
            let mut hungry = self.hungry.lock().unwrap_or_else(PoisonError::into_inner);
            self.any_hungry.store(false, Ordering::Release);
            std::mem::take(&mut *hungry)
        };
        self.hungry_told.set(0.0);
        for wake in hungry.values() {
            wake();
        }
    }
}

impl std::fmt::Debug for HostBudget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HostBudget({} of {} bytes)", self.held_bytes(), self.bytes_max)
    }
}

/// One poller's place among those that may be hungry. Held by the [`crate::Inbox`].
pub(crate) struct Seat {
    budget: Arc<HostBudget>,
    number: u64,
    wake: Wake,
}

impl Seat {
    pub(crate) fn new(budget: Arc<HostBudget>, wake: Wake) -> Self {
        let number = budget.seats.fetch_add(1, Ordering::Relaxed);
        Self { budget, number, wake }
    }

    /// Whether the host has room. If not, the poller is woken when it has.
    pub(crate) fn has_room(&self) -> bool {
        if self.budget.has_room() {
            return true;
        }
        {
            let mut hungry = self.budget.hungry.lock().unwrap_or_else(PoisonError::into_inner);
            hungry.insert(self.number, self.wake.clone());
            self.budget.any_hungry.store(true, Ordering::Release);
            self.budget.hungry_told.set(hungry.len() as f64);
        }
        // Bytes that were given back before the entry was seen have woken nobody: look again.
        self.budget.has_room()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut hungry = self.budget.hungry.lock().unwrap_or_else(PoisonError::into_inner);
        if hungry.remove(&self.number).is_some() {
            self.budget.hungry_told.set(hungry.len() as f64);
        }
    }
}

/// What one assignment holds: records and bytes delivered and not ended, and bytes that wait for their cut. Each
/// change is measured where it is made, because the owner sleeps while it takes nothing in.
pub(crate) struct Room {
    records: AtomicUsize,
    bytes: AtomicUsize,
    /// What events that have ended gave out, until it is committed.
    outgoing_bytes: AtomicUsize,
    /// Handed over, and not taken in by the owner.
    deliveries: AtomicUsize,
    budget: Arc<HostBudget>,
    meters: RoomMeters,
}

impl Room {
    pub(crate) fn new(budget: Arc<HostBudget>, meters: RoomMeters) -> Self {
        let (records, bytes, deliveries) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        Self { records, bytes, outgoing_bytes: AtomicUsize::new(0), deliveries, budget, meters }
    }

    pub(crate) fn records(&self) -> usize {
        self.records.load(Ordering::Acquire)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Acquire)
    }

    /// Whether less is held than what is always the partition's own.
    pub(crate) fn is_below_floor(&self) -> bool {
        self.budget.floor.is_above(self.records(), self.bytes())
    }

    /// Why the host keeps the partition from more, if it does.
    pub(crate) fn why_refused(&self) -> Option<String> {
        let HostBudget { bytes_max, floor, .. } = &*self.budget;
        (!self.is_below_floor() && !self.budget.has_room()).then(|| {
            format!(
                "the host holds {} bytes of events and records, of at most {bytes_max}, and this partition no less than \
                 the {} records or {} bytes that are always its own",
                self.budget.held_bytes(),
                floor.records,
                floor.bytes
            )
        })
    }

    /// Notes a delivery of so many records and bytes, before it is handed over.
    pub(crate) fn charge(&self, records: usize, bytes: usize) {
        self.deliveries.fetch_add(1, Ordering::AcqRel);
        self.records.fetch_add(records, Ordering::AcqRel);
        self.bytes.fetch_add(bytes, Ordering::AcqRel);
        self.meters.deliveries.increment(1.0);
        self.meters.records.increment(records as f64);
        self.meters.bytes.increment(bytes as f64);
        self.budget.charge(bytes);
    }

    /// The owner has taken one delivery in. Answers how many waited until then.
    pub(crate) fn take_in(&self) -> usize {
        let waited = self.deliveries.fetch_sub(1, Ordering::AcqRel);
        assert!(waited >= 1, "a delivery was taken in that nobody handed over");
        self.meters.deliveries.decrement(1.0);
        waited
    }

    /// Gives back what has ended; answers what was held before, and whether the floor was reached then and
    /// is not any more.
    pub(crate) fn release(&self, records: usize, bytes: usize) -> (usize, usize, bool) {
        let records_before = self.records.fetch_sub(records, Ordering::AcqRel);
        let bytes_before = self.bytes.fetch_sub(bytes, Ordering::AcqRel);
        assert!(records_before >= records, "more records released than were delivered");
        assert!(bytes_before >= bytes, "more bytes released than were delivered");
        self.meters.records.decrement(records as f64);
        self.meters.bytes.decrement(bytes as f64);
        self.budget.give_back(bytes);
        let floor = self.budget.floor;
        let sank = !floor.is_above(records_before, bytes_before)
            && floor.is_above(records_before - records, bytes_before - bytes);
        (records_before, bytes_before, sank)
    }

    /// Notes records that wait for their cut.
    pub(crate) fn hold_outgoing(&self, bytes: usize) {
        self.outgoing_bytes.fetch_add(bytes, Ordering::AcqRel);
        self.budget.charge(bytes);
    }

    /// Gives back what is committed.
    pub(crate) fn release_outgoing(&self, bytes: usize) {
        let before = self.outgoing_bytes.fetch_sub(bytes, Ordering::AcqRel);
        assert!(before >= bytes, "more bytes of records released than were held");
        self.budget.give_back(bytes);
    }

    /// Whether there is room for what another run gives out. The partition's own next cut makes some at the latest,
    /// so nobody is to be woken.
    pub(crate) fn has_outgoing_room(&self) -> bool {
        self.outgoing_bytes.load(Ordering::Acquire) < self.budget.floor.bytes || self.budget.has_room()
    }

    /// Why the host keeps the partition from another run, where it does.
    pub(crate) fn why_no_outgoing(&self) -> String {
        let HostBudget { bytes_max, floor, .. } = &*self.budget;
        format!(
            "the host holds {} bytes of events and records, of at most {bytes_max}, and this partition no less than \
             the {} bytes of records that are always its own",
            self.budget.held_bytes(),
            floor.bytes
        )
    }

    /// Gives back everything: the assignment's events are gone from memory, and what they gave out.
    pub(crate) fn clear(&self) {
        self.budget.give_back(self.outgoing_bytes.swap(0, Ordering::AcqRel));
        let records = self.records.swap(0, Ordering::AcqRel);
        let bytes = self.bytes.swap(0, Ordering::AcqRel);
        self.meters.deliveries.decrement(self.deliveries.swap(0, Ordering::AcqRel) as f64);
        self.meters.records.decrement(records as f64);
        self.meters.bytes.decrement(bytes as f64);
        self.budget.give_back(bytes);
    }
}

/// A batch may have been handed over while the owner went: it is given back here at the latest.
impl Drop for Room {
    fn drop(&mut self) {
        self.clear();
    }
}
