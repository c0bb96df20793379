//! The inbox of one assigned partition: the seam between the thread that polls Kafka and the task
//! that owns the partition.
//!
//! Who owns: the poller holds the [`Inbox`], the owner task the [`Intake`]. Who waits: nobody on the
//! poller's side ([`Inbox::deliver`] never blocks; the poller asks [`Inbox::has_room`] first); the owner
//! waits for batches. Who wakes: a batch wakes the owner, and freed room wakes the poller through the
//! callback it gave. What bounds: [`InboxLimits`]; a full inbox stops only its own partition.
//!
//! One inbox is one assignment. A partition that is taken away and comes back gets a new inbox, so
//! nothing late of the former assignment can reach the new one: this is the assignment's token.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use crate::event::{Event, TopicPartition};

/// How much of a partition may be in the host at once, counted until an event has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InboxLimits {
    /// Records delivered and not yet ended.
    pub records: usize,
    /// Their weight in bytes ([`Event::weight_bytes`]).
    pub bytes: usize,
}

impl Default for InboxLimits {
    fn default() -> Self {
        Self { records: 5_000, bytes: 8 * 1024 * 1024 }
    }
}

/// Batches that may wait between the poller and the owner; the limits above bound their contents.
const BATCHES_WAITING: usize = 64;

/// How often a blocked poller looks whether the owner is done.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// Called when a full inbox has room again. Must not block.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// How far a partition is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    /// Every event below this offset has ended. None until the first record arrived.
    pub watermark: Option<i64>,
}

/// How the owner's story with this assignment stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ownership {
    /// Runs are started and finished.
    Running,
    /// Nothing new is started; what runs is being finished.
    Draining,
    /// Nothing runs any more and the position is final.
    Drained,
    /// The partition stopped on a fault of the host itself; the position is final.
    Faulted,
}

/// Room taken by what was delivered and has not ended.
#[derive(Debug, Default)]
struct Room {
    records: AtomicUsize,
    bytes: AtomicUsize,
}

/// The poller's end. Dropping it tells the owner that the partition is lost: it stops at once.
pub struct Inbox {
    partition: TopicPartition,
    batches: mpsc::Sender<Vec<Event>>,
    room: Arc<Room>,
    limits: InboxLimits,
    drain: watch::Sender<bool>,
    position: watch::Receiver<Position>,
    ownership: watch::Receiver<Ownership>,
}

/// The owner's end.
pub(crate) struct Intake {
    pub(crate) partition: TopicPartition,
    pub(crate) batches: mpsc::Receiver<Vec<Event>>,
    pub(crate) drain: watch::Receiver<bool>,
    pub(crate) position: watch::Sender<Position>,
    pub(crate) ownership: watch::Sender<Ownership>,
    room: Arc<Room>,
    limits: InboxLimits,
    wake: Wake,
}

/// Makes the two ends for one assignment of a partition.
pub(crate) fn inbox(partition: TopicPartition, limits: InboxLimits, wake: Wake) -> (Inbox, Intake) {
    let (batch_sender, batches) = mpsc::channel(BATCHES_WAITING);
    let (drain_sender, drain) = watch::channel(false);
    let (position_sender, position) = watch::channel(Position::default());
    let (ownership_sender, ownership) = watch::channel(Ownership::Running);
    let room = Arc::new(Room::default());
    let poller = Inbox {
        partition: partition.clone(),
        batches: batch_sender,
        room: room.clone(),
        limits,
        drain: drain_sender,
        position,
        ownership,
    };
    let owner = Intake {
        partition,
        batches,
        drain,
        position: position_sender,
        ownership: ownership_sender,
        room,
        limits,
        wake,
    };
    (poller, owner)
}

impl Inbox {
    /// The partition this inbox is for.
    #[must_use]
    pub fn partition(&self) -> &TopicPartition {
        &self.partition
    }

    /// Whether another batch may be delivered. The last batch may pass the limits by its own size.
    #[must_use]
    pub fn has_room(&self) -> bool {
        !self.batches.is_closed()
            && self.room.records.load(Ordering::Acquire) < self.limits.records
            && self.room.bytes.load(Ordering::Acquire) < self.limits.bytes
            && self.batches.capacity() > 0
    }

    /// Hands over records in offset order. Never blocks.
    ///
    /// # Errors
    /// Gives the batch back when the owner has ended or the caller did not ask [`Self::has_room`] first.
    pub fn deliver(&self, events: Vec<Event>) -> Result<(), Vec<Event>> {
        let weight_bytes: usize = events.iter().map(Event::weight_bytes).sum();
        let records = events.len();
        self.room.records.fetch_add(records, Ordering::AcqRel);
        self.room.bytes.fetch_add(weight_bytes, Ordering::AcqRel);
        self.batches.try_send(events).map_err(|refused| {
            self.room.records.fetch_sub(records, Ordering::AcqRel);
            self.room.bytes.fetch_sub(weight_bytes, Ordering::AcqRel);
            refused.into_inner()
        })
    }

    /// How far the owner is.
    #[must_use]
    pub fn position(&self) -> Position {
        *self.position.borrow()
    }

    /// How the owner's story stands.
    #[must_use]
    pub fn ownership(&self) -> Ownership {
        *self.ownership.borrow()
    }

    /// Asks the owner to start nothing new and finish what runs.
    pub fn drain(&self) {
        self.drain.send_replace(true);
    }

    /// Blocks this thread until the owner has drained, or the limit has passed.
    /// Answers whether the position is final. Not for use inside the async runtime.
    #[must_use]
    pub fn wait_drained(&self, limit: Duration) -> bool {
        let until = std::time::Instant::now() + limit;
        loop {
            let ended = matches!(self.ownership(), Ownership::Drained | Ownership::Faulted);
            if ended || self.ownership.has_changed().is_err() {
                return ended;
            }
            if std::time::Instant::now() >= until {
                return false;
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }
}

impl Inbox {
    /// Ends the assignment: what still runs is broken off. Blocks this thread until it is gone, or the
    /// limit has passed. Answers whether it is gone. Not for use inside the async runtime.
    #[must_use]
    pub fn close(self, limit: Duration) -> bool {
        let Self { batches, drain, ownership, .. } = self;
        drop((batches, drain));
        let until = std::time::Instant::now() + limit;
        // The owner's end of this channel goes with the owner's task.
        while ownership.has_changed().is_ok() {
            if std::time::Instant::now() >= until {
                return false;
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        true
    }
}

impl Intake {
    /// Gives back the room of events that have ended, and wakes the poller if it may have been waiting.
    pub(crate) fn release(&self, records: usize, bytes: usize) {
        let records_before = self.room.records.fetch_sub(records, Ordering::AcqRel);
        let bytes_before = self.room.bytes.fetch_sub(bytes, Ordering::AcqRel);
        assert!(records_before >= records, "more records released than were delivered");
        assert!(bytes_before >= bytes, "more bytes released than were delivered");
        if records_before >= self.limits.records || bytes_before >= self.limits.bytes {
            (self.wake)();
        }
    }

    /// Records and bytes now in the host for this partition.
    pub(crate) fn held(&self) -> (usize, usize) {
        (self.room.records.load(Ordering::Acquire), self.room.bytes.load(Ordering::Acquire))
    }
}

/// Makes an owner for each partition that Kafka assigns. Implemented by the engine, called by the poller.
pub trait Owners: Send + Sync + 'static {
    /// Starts the owner of a newly assigned partition. Called on the poller's thread; must not block.
    fn assign(&self, partition: TopicPartition, wake: Wake) -> Inbox;
}
