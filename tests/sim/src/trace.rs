//! The trace of a seed: everything that happened, in one list, for the checkers and for people.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use keylane_engine::{Epoch, FailureClass, GapSet};

use crate::database::{EndedAs, Row};

/// The world itself, where an entry belongs to no host.
pub const WORLD: u8 = u8::MAX;

/// A partition of the topic as one handler's group sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The handler, from 0.
    pub handler: u8,
    /// The partition's number.
    pub partition: i32,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "h{}[{}]", self.handler, self.partition)
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    Done,
    Failed(FailureClass),
}

/// Why an assignment ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The group wants the partition back, and waits for it.
    Revoked,
    /// The group has given it to others already.
    Lost,
    /// The host cannot prove that it is still a member.
    LeaseOut,
    /// The handler's database says that another has it, or does not say how it stands.
    Overtaken,
    /// What the host knows of it does not hold: records were refused, or a cut is in doubt.
    SetBack,
    /// The host leaves.
    Leaving,
}

/// Something that happened. `number` is an assignment's number, unique in the world: its token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    Started,
    Crashed,
    /// The process was stopped and goes on now, this much later.
    Woke {
        stopped_ms: u64,
    },
    /// The machine slept: the boot-time clock went on, the other clocks did not.
    Slept {
        slept_ms: u64,
    },
    /// A fault of the plan that is told by its name.
    Fault(&'static str),
    /// The coordinator gave a member up.
    Evicted {
        handler: u8,
        member: u64,
    },
    Assigned {
        handler: u8,
        partitions: Vec<i32>,
    },
    Revoked {
        handler: u8,
        partitions: Vec<i32>,
        lost: bool,
    },
    RevokeAnswered {
        handler: u8,
        numbers: Vec<u64>,
    },
    Taken {
        place: Place,
        number: u64,
        base: i64,
        ended: Vec<Range<i64>>,
        note: String,
    },
    Delivered {
        place: Place,
        number: u64,
        offsets: Vec<i64>,
        /// What each of them weighs, in bytes.
        weights: Vec<usize>,
        next: i64,
    },
    /// The poller hands a commit of what it found to the client, to prove the membership before it takes
    /// the partition under this number.
    Proving {
        place: Place,
        number: u64,
        offset: i64,
        payload: Arc<str>,
    },
    /// The poller hands a commit to the client.
    Submitted {
        place: Place,
        number: u64,
        offset: i64,
        payload: Arc<str>,
        truncated: bool,
    },
    /// The coordinator has a commit.
    Applied {
        place: Place,
        number: u64,
        offset: i64,
        rewound: bool,
    },
    /// An acknowledgement reached the host.
    Acknowledged {
        handler: u8,
        sent_ms: u64,
    },
    /// An owner was asked to drain.
    Draining {
        place: Place,
        number: u64,
    },
    /// The wait for that is over; `in_time`: the owner has nothing out any more.
    Drained {
        place: Place,
        number: u64,
        in_time: bool,
    },
    /// An assignment is over; `committed`: the coordinator has acknowledged its last progress; `gone`: its
    /// owner has ended.
    Closed {
        place: Place,
        number: u64,
        why: Why,
        drained: bool,
        committed: bool,
        truncated: bool,
        gone: bool,
    },
    RunBegan {
        place: Place,
        number: u64,
        run: u64,
        events: usize,
    },
    Began {
        place: Place,
        number: u64,
        run: u64,
        offset: i64,
        key: Option<u32>,
        attempt: u32,
    },
    Ended {
        place: Place,
        number: u64,
        run: u64,
        offset: i64,
        how: How,
        after_ms: Option<u64>,
    },
    BrokenOff {
        place: Place,
        number: u64,
        run: u64,
        offset: i64,
    },
    RunGone {
        place: Place,
        number: u64,
        run: u64,
        answered: bool,
    },
    LetterAsked {
        place: Place,
        number: u64,
        offset: i64,
        attempts: u32,
        class: FailureClass,
    },
    LetterAcked {
        place: Place,
        number: u64,
        offset: i64,
    },
    /// The sending of a letter has ended, acknowledged or not.
    LetterGone {
        place: Place,
        number: u64,
        offset: i64,
    },
    /// An operator is about to give an event up.
    SkipAsked {
        place: Place,
        number: u64,
        offset: i64,
    },
    Resumed {
        place: Place,
        number: u64,
        offset: Option<i64>,
    },
    /// Another product wrote its own metadata over the group's.
    Spoiled {
        place: Place,
    },
    Faulted {
        place: Place,
        number: u64,
    },
    /// An event begins once more in its run: what it did before was undone with the others.
    Again {
        place: Place,
        number: u64,
        run: u64,
        offset: i64,
    },
    /// All that a run has done so far is undone.
    Undone {
        place: Place,
        number: u64,
        run: u64,
    },
    /// An owner has the database note something that no run does: a floor, or what an operator gave up.
    Noting {
        place: Place,
    },
    /// That is over, however it went.
    NotingGone {
        place: Place,
    },
    /// The database has a new owner of a partition, who learns this.
    Granted {
        place: Place,
        epoch: Epoch,
        restored: Option<GapSet>,
    },
    /// The database has a commit, under this epoch: events that have ended, and those that left a row, in
    /// the order of their statements.
    Committed {
        place: Place,
        epoch: Epoch,
        commit: u64,
        endings: Vec<(i64, EndedAs)>,
        effects: Vec<i64>,
    },
    /// The database has a floor.
    FloorRaised {
        place: Place,
        floor: i64,
    },
    /// A backup of the database stands again: later commits than this one are not in it.
    Restored {
        handler: u8,
        back_to: u64,
    },
    /// A partition is taken with an event whose records were refused: it has failed.
    Refused {
        place: Place,
        number: u64,
        offset: i64,
    },
    /// Brokers tell a producer of this host that a topic is not there.
    TopicGone {
        handler: u8,
        topic: u32,
    },
    /// A transaction is committed: partitions with offset and payload, and records in the order of the log.
    Cut {
        handler: u8,
        parts: Vec<(i32, i64, Arc<str>)>,
        rows: Vec<Row>,
    },
    /// The world is calm from here on.
    Calm,
}

/// A note with its time and host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Milliseconds of the world's time.
    pub at_ms: u64,
    /// Which host, or [`WORLD`].
    pub host: u8,
    /// What happened.
    pub note: Note,
}

impl std::fmt::Display for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let who = if self.host == WORLD { "world".to_owned() } else { format!("host {}", self.host) };
        write!(f, "{:>8} ms  {who}  {:?}", self.at_ms, self.note)
    }
}

#[derive(Debug, Default)]
struct Written {
    entries: Vec<Entry>,
    seen: BTreeMap<&'static str, u64>,
}

/// The trace while it is written. Shared by everything in one world, which runs on one thread.
#[derive(Debug, Clone, Default)]
pub struct Trace(Arc<Mutex<Written>>);

impl Trace {
    /// Writes an entry.
    pub fn note(&self, at_ms: u64, host: u8, note: Note) {
        self.0.lock().unwrap().entries.push(Entry { at_ms, host, note });
    }

    /// Counts something that the seeds together must reach.
    pub fn saw(&self, what: &'static str) {
        *self.0.lock().unwrap().seen.entry(what).or_default() += 1;
    }

    /// The entries in the order of their times, and what was seen how often. Hosts take turns of a few
    /// milliseconds, so that entries were written a little out of order; whatever one host learns of
    /// another took longer than a turn.
    pub fn finish(&self) -> (Vec<Entry>, BTreeMap<&'static str, u64>) {
        let mut written = self.0.lock().unwrap();
        let mut entries = std::mem::take(&mut written.entries);
        entries.sort_by_key(|entry| entry.at_ms);
        (entries, std::mem::take(&mut written.seen))
    }
}
