//! What goes into a partition and what comes out: two closed enums, one level only.

use crate::failure::FailureClass;
use crate::lane::LaneId;

/// A run of one partition, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunId(pub u64);

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A record arrived that is to be handled in its lane. Offsets arrive in order.
    Arrived {
        /// Its offset.
        offset: i64,
        /// Its lane.
        lane: LaneId,
    },
    /// A record arrived that the handler does not want: it ends at once.
    Skipped {
        /// Its offset.
        offset: i64,
    },
    /// A record arrived that must not be handled but buried: it goes to the dead letters at once.
    Condemned {
        /// Its offset.
        offset: i64,
    },
    /// No offset below `next` is still to come: the client has passed what was compacted away, markers of
    /// transactions, or the log's end. One that was known already changes nothing.
    Reached {
        /// The first offset that may still come.
        next: i64,
    },
    /// A slot is free for this partition. Answered by [`Action::Start`] or [`Action::Decline`].
    Slot {
        /// How many slots are free, this one counted.
        free: usize,
    },
    /// A run has ended, with one verdict for each of its attempts, in their order.
    RunEnded {
        /// Which run.
        run: RunId,
        /// What became of its attempts.
        verdicts: Vec<Verdict>,
        /// How long it took, in microseconds, to size the next runs by.
        spent_us: u64,
        /// How often it was undone because another transaction was in its way, where fewer runs at once
        /// are no remedy any more: the next runs are shorter.
        conflicts: u32,
    },
    /// A dead letter has been acknowledged.
    Buried {
        /// The offset of the event it holds.
        offset: i64,
    },
    /// Time has passed: lanes whose deadline is reached become ready.
    Tick,
    /// An operator's wish: go on, with attempts counted anew.
    Resume {
        /// The head of a parked or paused lane, which then goes on; a partition that this very event
        /// halted goes on with it. None: all paused lanes, and the partition if it is halted.
        offset: Option<i64>,
    },
    /// An operator's wish: the event at the head of a parked or paused lane is given up. Answered by
    /// [`Action::Skip`]; its lane waits on.
    SkipHead {
        /// The head's offset.
        offset: i64,
    },
    /// It is noted that a head is given up. It ends as skipped and its lane goes on; a partition that this
    /// very event halted goes on with it.
    HeadSkipped {
        /// The head's offset.
        offset: i64,
    },
}

/// What became of one attempt in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Handled; its effects are real.
    Done,
    /// Failed; its effects are undone.
    Failed {
        /// What kind of failure.
        class: FailureClass,
        /// Not before this many milliseconds from now, if the handler said so; the policy's longest wait
        /// bounds it, so that a handler's mistake cannot park a key for years.
        after_ms: Option<u64>,
    },
    /// Not begun; it costs no attempt.
    NotStarted,
}

/// Something to do, in the order given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Start this run on the slot that was free.
    Start {
        /// The run's name, to be given back with its verdicts.
        run: RunId,
        /// Its attempts. Those of one lane stand together, in offset order.
        attempts: Vec<RunAttempt>,
    },
    /// Nothing may start: give the slot back.
    Decline,
    /// Write this event to the dead letters, and say so when that is acknowledged.
    Bury {
        /// The event's offset.
        offset: i64,
        /// How many attempts it had.
        attempts: u32,
    },
    /// An operator gave this event up: note that wherever endings are kept, and say so when it holds.
    Skip {
        /// The event's offset.
        offset: i64,
    },
    /// This event is at its last step, and its lane waits for an operator.
    Pause {
        /// The event's offset.
        offset: i64,
    },
    /// The partition begins nothing more until an operator resumes it: say so loudly. Comes after the
    /// [`Action::Pause`] of the event that led to it, and again when the event it names was dealt with
    /// and another one holds the partition.
    Halt(Halt),
    /// The event's story has ended: its memory may go.
    End {
        /// The event's offset.
        offset: i64,
        /// How it ended.
        ending: Ending,
    },
    /// An operator's wish named no event that waits at the head of a parked or paused lane.
    Refused {
        /// The offset that was named.
        offset: i64,
    },
}

/// Why a partition begins nothing more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Halt {
    /// An event is at its last step, and that is to stop. It goes on when no such event is left.
    Exhausted {
        /// The event's offset.
        offset: i64,
    },
    /// Too many of the latest events ended badly. Only [`Input::Resume`] without an offset ends this.
    Flood {
        /// How many of them, the one that was stopped on its way to the dead letters counted.
        bad: usize,
        /// How many endings were looked at.
        of: usize,
    },
}

/// One attempt of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunAttempt {
    /// The event's offset.
    pub offset: i64,
    /// 1 the first time.
    pub number: u32,
    /// The event's lane.
    pub lane: LaneId,
}

/// How an event's story ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ending {
    /// Handled.
    Done,
    /// In the dead letters, acknowledged.
    DeadLettered,
    /// Not wanted by the handler, or given up by an operator.
    Skipped,
    /// Under an earlier assignment: the restored gap set had it.
    Before,
}
