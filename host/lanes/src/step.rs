//! What goes into a partition and what comes out: two closed enums, one level only.

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
    },
    /// A dead letter has been acknowledged.
    Buried {
        /// The offset of the event it holds.
        offset: i64,
    },
    /// Time has passed: lanes whose deadline is reached become ready.
    Tick,
}

/// What became of one attempt in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Handled; its effects are real.
    Done,
    /// Failed; a later attempt may help.
    Retry {
        /// Not before this many milliseconds from now, if the handler said so; the policy's longest wait
        /// bounds it, so that a handler's mistake cannot park a key for years.
        after_ms: Option<u64>,
    },
    /// Failed, and no later attempt can help.
    Rejected,
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
    /// Nothing is ready: give the slot back.
    Decline,
    /// Write this event to the dead letters, and say so when that is acknowledged.
    Bury {
        /// The event's offset.
        offset: i64,
        /// How many attempts it had.
        attempts: u32,
    },
    /// The event's story has ended: its memory may go.
    End {
        /// The event's offset.
        offset: i64,
        /// How it ended.
        ending: Ending,
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
    /// Not wanted by the handler.
    Skipped,
}
