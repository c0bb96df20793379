//! The inbox of one assigned partition: the seam between the thread that polls Kafka and the task
//! that owns the partition.
//!
//! Who owns: the poller holds the [`Inbox`], the owner task the [`Intake`]. Who waits: nobody on the
//! poller's side ([`Inbox::deliver`] never blocks; the poller asks [`Inbox::has_room`] first); the owner
//! waits for batches. Who wakes: a batch wakes the owner, and freed room wakes the poller through the
//! callback it gave. What bounds: [`InboxLimits`] for the partition and [`crate::HostBudget`] for the whole host;
//! a full inbox stops only its own partition.
//!
//! One inbox is one assignment. A partition that is taken away and comes back gets a new inbox, so
//! nothing late of the former assignment can reach the new one.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use crate::assignment::Assignment;
use crate::budget::{Room, Seat};
use crate::control::{Control, Request, control};
use crate::cuts::{CutAsked, CutAsker, CutQuestion, cuts};
use crate::ending::{Out, Ownership, Parting, Stop};
use crate::event::{Event, TopicPartition};
use crate::handler::HandlerOptions;
use crate::leader_epochs::LeaderEpochs;
use crate::meters::{LagMeter, RoomMeters};
use crate::progress::{Progress, ProgressMaker};

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

/// Deliveries that may wait between the poller and the owner; the limits above bound their contents.
pub(crate) const DELIVERIES_WAITING: usize = 64;

/// How often a blocked poller looks whether the owner is done.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// Called when a full inbox has room again. Must not block.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// What the poller hands over at once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Delivery {
    /// Records in offset order; may be empty, to tell only how far the client is.
    pub events: Vec<Event>,
    /// The offset after the last one that the client has passed: no record below it is still to come,
    /// whether it was handed over, compacted away or the marker of a transaction.
    pub next: i64,
}

/// The poller's end. Dropping it tells the owner that the partition is lost: it stops at once.
pub struct Inbox {
    partition: TopicPartition,
    deliveries: mpsc::Sender<Delivery>,
    room: Arc<Room>,
    seat: Seat,
    limits: InboxLimits,
    drain: watch::Sender<bool>,
    stop: Stop,
    progress: watch::Receiver<Progress>,
    ownership: watch::Receiver<Ownership>,
    control: Control,
    cut: CutAsker,
    lag: LagMeter,
    leader_epochs: Arc<LeaderEpochs>,
}

/// The owner's end.
pub(crate) struct Intake {
    pub(crate) deliveries: mpsc::Receiver<Delivery>,
    pub(crate) requests: mpsc::Receiver<Request>,
    pub(crate) drain: watch::Receiver<bool>,
    /// For the runs that are out, which look between their events: see [`Stop`].
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) progress: watch::Sender<Progress>,
    pub(crate) ownership: watch::Sender<Ownership>,
    pub(crate) cut: CutAsked,
    /// Of what was read, which is more than what was delivered.
    pub(crate) leader_epochs: Arc<LeaderEpochs>,
    room: Arc<Room>,
    limits: InboxLimits,
    wake: Wake,
}

/// Makes the two ends for one assignment.
pub(crate) fn inbox(
    assignment: &Assignment,
    maker: &ProgressMaker,
    options: &HandlerOptions,
) -> (Inbox, Intake) {
    let HandlerOptions { inbox: limits, budget, .. } = options;
    let (delivery_sender, deliveries) = mpsc::channel(DELIVERIES_WAITING);
    let (drain_sender, drain) = watch::channel(false);
    let (progress_sender, progress) = watch::channel(maker.of(&assignment.restored));
    let (ownership_sender, ownership) = watch::channel(Ownership::Running);
    let (control, requests) = control();
    let (asker, asked) = cuts();
    let meters = RoomMeters::new(&options.name, &assignment.partition);
    let room = Arc::new(Room::new(budget.clone(), meters));
    let stop = Arc::new(AtomicBool::new(false));
    let leader_epochs = Arc::new(LeaderEpochs::default());
    let poller = Inbox {
        partition: assignment.partition.clone(),
        deliveries: delivery_sender,
        room: room.clone(),
        seat: Seat::new(budget.clone(), assignment.wake.clone()),
        limits: *limits,
        drain: drain_sender,
        stop: Stop(stop.clone()),
        progress,
        ownership,
        control,
        cut: asker,
        lag: LagMeter::new(&options.name, &assignment.partition),
        leader_epochs: leader_epochs.clone(),
    };
    let owner = Intake {
        deliveries,
        requests,
        drain,
        stop,
        progress: progress_sender,
        ownership: ownership_sender,
        cut: asked,
        leader_epochs,
        room,
        limits: *limits,
        wake: assignment.wake.clone(),
    };
    (poller, owner)
}

impl Inbox {
    /// The partition this inbox is for.
    #[must_use]
    pub fn partition(&self) -> &TopicPartition {
        &self.partition
    }

    /// Whether another batch may be delivered. The last batch may pass the limits by its own size, and an
    /// inbox below its floor ([`crate::Floor`]) takes a batch even where the host is full. One who was
    /// refused is woken when there may be room.
    #[must_use]
    pub fn has_room(&self) -> bool {
        let open = !self.deliveries.is_closed() && self.deliveries.capacity() > 0;
        let own = self.room.records() < self.limits.records && self.room.bytes() < self.limits.bytes;
        open && own && (self.room.is_below_floor() || self.seat.has_room())
    }

    /// Hands over records in offset order. Never blocks.
    ///
    /// # Errors
    /// Gives the delivery back when the owner has ended or the caller did not ask [`Self::has_room`] first.
    pub fn deliver(&self, delivery: Delivery) -> Result<(), Delivery> {
        let Ok(place) = self.deliveries.try_reserve() else { return Err(delivery) };
        let weight_bytes: usize = delivery.events.iter().map(Event::weight_bytes).sum();
        self.room.charge(delivery.events.len(), weight_bytes);
        place.send(delivery);
        Ok(())
    }

    /// How far the partition is: what a commit is to say. At first what the assignment began with.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.progress.borrow().clone()
    }

    /// Records between the progress and the end of the log, as far as that is known: answered, and shown as
    /// a metric. The poller asks every now and then, because it alone hears of the log's end.
    #[must_use]
    pub fn lag(&self, end: Option<i64>) -> Option<u64> {
        // What had ended before may reach beyond the end that was heard of last.
        let lag = u64::try_from(end? - self.progress.borrow().offset).unwrap_or(0);
        self.lag.set(lag);
        Some(lag)
    }

    /// Where the poller notes the leaders of what it reads, before it delivers it.
    #[must_use]
    pub fn leader_epochs(&self) -> &Arc<LeaderEpochs> {
        &self.leader_epochs
    }

    /// How the owner's story stands.
    #[must_use]
    pub fn ownership(&self) -> Ownership {
        self.ownership.borrow().clone()
    }

    /// The operator's way to the owner. It may outlive the inbox, and then answers that the owner is gone.
    #[must_use]
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// Whether anything may have ended or moved since the last snapshot, for a handler in cuts.
    #[must_use]
    pub fn is_stirred(&self) -> bool {
        self.cut.is_stirred()
    }

    /// Asks the owner how far the partition is and what belongs to that, for a handler in cuts. None where an
    /// earlier question is not answered yet, or the owner has ended.
    #[must_use]
    pub fn ask_cut(&self) -> Option<CutQuestion> {
        self.cut.ask()
    }

    /// Tells the owner that the snapshot with this number is committed. One that is not need not be told: what
    /// was in it is in the next one as well.
    pub fn cut_committed(&self, number: u64) {
        self.cut.committed(number);
    }

    /// Asks the owner to start nothing new and finish what runs; runs stop between two events.
    pub fn drain(&self) {
        self.stop.tell();
        self.drain.send_replace(true);
    }

    /// Blocks this thread until the owner has drained, or the limit has passed.
    /// Answers whether the progress is final. Not for use inside the async runtime.
    #[must_use]
    pub fn wait_drained(&self, limit: Duration) -> bool {
        let until = std::time::Instant::now() + limit;
        loop {
            let ended = self.ownership.borrow().is_final();
            if ended || self.ownership.has_changed().is_err() {
                return ended;
            }
            if std::time::Instant::now() >= until {
                return false;
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// Ends the assignment without waiting: what still runs is being broken off.
    #[must_use]
    pub fn part(self) -> Parting {
        let Self { deliveries, drain, stop, ownership, .. } = self;
        drop((stop, deliveries, drain));
        Parting(ownership)
    }
}

impl Intake {
    /// Gives back the room of events that have ended, and wakes the poller if it may have been waiting.
    pub(crate) fn release(&self, records: usize, bytes: usize) {
        let (records_before, bytes_before, sank_below_floor) = self.room.release(records, bytes);
        let was_full = records_before >= self.limits.records || bytes_before >= self.limits.bytes;
        if was_full || sank_below_floor {
            (self.wake)();
        }
    }

    /// Notes records that wait for their cut, by their weight in bytes.
    pub(crate) fn hold_outgoing(&self, bytes: usize) {
        self.room.hold_outgoing(bytes);
    }

    /// Gives back the room of those that are committed.
    pub(crate) fn release_outgoing(&self, bytes: usize) {
        self.room.release_outgoing(bytes);
    }

    /// Whether the host has room for what another run gives out.
    pub(crate) fn has_outgoing_room(&self) -> bool {
        self.room.has_outgoing_room()
    }

    /// Why it has none.
    pub(crate) fn why_no_outgoing(&self) -> String {
        self.room.why_no_outgoing()
    }

    /// There may be something to cut.
    pub(crate) fn stir(&self) {
        self.cut.stir(&self.wake);
    }

    /// Wakes the poller.
    pub(crate) fn wake(&self) {
        (self.wake)();
    }

    /// What a run or a dead letter holds while it is out.
    pub(crate) fn out(&self) -> Out {
        Out(self.ownership.clone())
    }

    /// A delivery has been taken in: wakes the poller if it may have been waiting for a place.
    pub(crate) fn made_room_for_a_delivery(&self) {
        if self.room.take_in() >= DELIVERIES_WAITING {
            (self.wake)();
        }
    }

    /// Why the poller hands over nothing more, if so: the partition's own limits, or the host's budget.
    pub(crate) fn why_full(&self) -> Option<String> {
        let (records, bytes) = self.held();
        let InboxLimits { records: records_max, bytes: bytes_max } = self.limits;
        if records < records_max && bytes < bytes_max {
            return self.room.why_refused();
        }
        Some(format!(
            "{records} records of {bytes} bytes are in the host and have not ended; the most of a partition \
             are {records_max} records and {bytes_max} bytes"
        ))
    }

    /// Records and bytes now in the host for this partition.
    pub(crate) fn held(&self) -> (usize, usize) {
        (self.room.records(), self.room.bytes())
    }
}

/// The owner is gone, and with it the events; the poller's end may live on with a fault to tell of.
impl Drop for Intake {
    fn drop(&mut self) {
        self.deliveries.close();
        self.room.clear();
    }
}

/// Makes an owner for each partition that Kafka assigns. Implemented by the engine, called by the poller.
pub trait Owners: Send + Sync + 'static {
    /// Starts the owner of a newly assigned partition, whose lease has been proven. Called on the poller's
    /// thread; must not block.
    fn assign(&self, assignment: Assignment) -> Inbox;
}
