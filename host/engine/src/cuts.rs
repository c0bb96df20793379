//! Cuts: how the effects of a handler without a database happen once, where all they are is records.
//!
//! What such a handler produces is held, with the endings of its events, until one Kafka transaction takes
//! the records together with the progress that tells of these endings: a cut. Until then nothing has
//! happened, so an event may be done again by whoever owns its partition next. The intake cuts, because it
//! alone knows what is assigned; the owner answers it with a [`Snapshot`], made at one moment: records and
//! progress belong together and are never sent apart.
//!
//! Who owns: the owner holds what is not committed; the intake has a copy of what it sends. Who waits: nobody;
//! the intake looks whether an answer has come. Who wakes: the owner, by the assignment's wake, when there is
//! something to cut for the first time since the last snapshot, and when it has answered. What bounds:
//! [`CUT_RECORDS_MAX`] and [`CUT_BYTES_MAX`] for each partition, at which no run begins, and the host's budget
//! for all of them ([`crate::HostBudget`]); one question at a time. Where nothing of what is held can be cut before
//! something further down has ended, runs go on one at a time, and what they may add is bounded by the inbox alone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{mpsc, oneshot, watch};

use crate::inbox::Wake;
use crate::ports::{DeadLetter, OutgoingRecord};
use crate::progress::Progress;

/// So many records that wait for their cut keep a partition from beginning another run.
pub(crate) const CUT_RECORDS_MAX: usize = 10_000;
/// So many bytes of them do.
pub(crate) const CUT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Makes the record of a dead letter.
pub type LetterForm = Arc<dyn Fn(&DeadLetter) -> OutgoingRecord + Send + Sync>;

/// An event that has ended, with the records that are to be committed with that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// The event's offset.
    pub offset: i64,
    /// What it gave out, in order; its dead letter, if it ended so. Never empty.
    pub records: Arc<[OutgoingRecord]>,
}

/// What an owner has to commit, as of one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// How far the partition is.
    pub progress: Progress,
    /// What has ended with records since the last committed cut and is told by the progress, in the order of
    /// its ending: of each lane, what comes first.
    pub endings: Vec<Ending>,
    /// The number to be told when it is committed ([`crate::Inbox::cut_committed`]).
    pub number: u64,
}

/// What became of a question for a snapshot.
#[derive(Debug, PartialEq, Eq)]
pub enum CutAnswer {
    /// The owner has not answered yet.
    Pending,
    /// Its answer.
    Made(Box<Snapshot>),
    /// The owner has ended, and holds nothing any more.
    Gone,
}

/// A question for a snapshot that is under way.
pub struct CutQuestion(oneshot::Receiver<Snapshot>);

impl CutQuestion {
    /// Looks whether it is answered. After an answer the owner is gone, as far as this question knows.
    pub fn answer(&mut self) -> CutAnswer {
        match self.0.try_recv() {
            Ok(snapshot) => CutAnswer::Made(Box::new(snapshot)),
            Err(oneshot::error::TryRecvError::Empty) => CutAnswer::Pending,
            Err(oneshot::error::TryRecvError::Closed) => CutAnswer::Gone,
        }
    }
}

/// The intake's end.
pub(crate) struct CutAsker {
    questions: mpsc::Sender<oneshot::Sender<Snapshot>>,
    committed: watch::Sender<u64>,
    stirred: Arc<AtomicBool>,
}

/// The owner's end.
pub(crate) struct CutAsked {
    pub(crate) questions: mpsc::Receiver<oneshot::Sender<Snapshot>>,
    /// The number of the last snapshot that was committed.
    pub(crate) committed: watch::Receiver<u64>,
    stirred: Arc<AtomicBool>,
}

/// The two ends of one assignment.
pub(crate) fn cuts() -> (CutAsker, CutAsked) {
    let (question_sender, questions) = mpsc::channel(1);
    let (committed_sender, committed) = watch::channel(0);
    let stirred = Arc::new(AtomicBool::new(false));
    (
        CutAsker { questions: question_sender, committed: committed_sender, stirred: stirred.clone() },
        CutAsked { questions, committed, stirred },
    )
}

impl CutAsker {
    pub(crate) fn is_stirred(&self) -> bool {
        self.stirred.load(Ordering::Acquire)
    }

    pub(crate) fn ask(&self) -> Option<CutQuestion> {
        let (answer, answered) = oneshot::channel();
        self.questions.try_send(answer).ok()?;
        Some(CutQuestion(answered))
    }

    pub(crate) fn committed(&self, number: u64) {
        self.committed.send_replace(number);
    }
}

impl CutAsked {
    /// There is something to cut. Tells the intake the first time since the last snapshot.
    pub(crate) fn stir(&self, wake: &Wake) {
        if !self.stirred.swap(true, Ordering::AcqRel) {
            wake();
        }
    }

    /// Everything so far goes into a snapshot.
    pub(crate) fn settle(&self) {
        self.stirred.store(false, Ordering::Release);
    }
}

/// What waits for its cut, held by the owner.
pub(crate) struct Basket {
    pub(crate) letters: LetterForm,
    /// Events whose records were refused for good, with the reason: they have failed, and are not run.
    refused: BTreeMap<i64, String>,
    /// In the order of ending.
    held: BTreeMap<u64, Ending>,
    counted: u64,
    records: usize,
    bytes: usize,
    /// The last snapshot, and what was in it.
    out: (u64, Vec<u64>),
    /// How many endings it had to leave out, since the progress could not tell of them.
    untold: usize,
}

impl Basket {
    pub(crate) fn new(letters: LetterForm, refused: BTreeMap<i64, String>) -> Self {
        let (held, out) = (BTreeMap::new(), (0, Vec::new()));
        Self { letters, refused, held, counted: 0, records: 0, bytes: 0, out, untold: 0 }
    }

    /// An event has ended with these records. Answers their weight in bytes.
    pub(crate) fn hold(&mut self, offset: i64, records: Vec<OutgoingRecord>) -> usize {
        if records.is_empty() {
            return 0;
        }
        let bytes = weight_bytes(&records);
        self.records += records.len();
        self.bytes += bytes;
        self.counted += 1;
        self.held.insert(self.counted, Ending { offset, records: records.into() });
        bytes
    }

    /// Records and bytes that are held.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.records, self.bytes)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.records >= CUT_RECORDS_MAX || self.bytes >= CUT_BYTES_MAX
    }

    /// Whether no cut can take anything of what is held before something further down has ended, as far as the last
    /// snapshot knows: its progress could tell of nothing of it.
    pub(crate) fn is_stuck(&self) -> bool {
        !self.held.is_empty() && self.untold == self.held.len()
    }

    /// Whether there are any such events whose refusal was not told yet.
    pub(crate) fn has_refused(&self) -> bool {
        !self.refused.is_empty()
    }

    /// Whether the records of this event were refused, and that was not told yet.
    pub(crate) fn is_refused(&self, offset: i64) -> bool {
        self.refused.contains_key(&offset)
    }

    /// Why an event is not to be run, told once: whoever has it tried again after that means it.
    pub(crate) fn take_refused(&mut self, offset: i64) -> Option<String> {
        self.refused.remove(&offset)
    }

    /// All that is held of events that the progress tells of.
    pub(crate) fn snapshot(&mut self, progress: Progress, is_told: impl Fn(i64) -> bool) -> Snapshot {
        let told = self.held.iter().filter(|(_, ending)| is_told(ending.offset));
        let (numbers, endings): (Vec<u64>, Vec<Ending>) =
            told.map(|(number, ending)| (*number, ending.clone())).unzip();
        let number = self.out.0 + 1;
        self.untold = self.held.len() - numbers.len();
        self.out = (number, numbers);
        Snapshot { progress, endings, number }
    }

    /// A snapshot is committed: what was in it has happened. Of an older one than the last nothing is known
    /// any more; what it had was asked for once more. Answers the weight of what is let go, in bytes.
    pub(crate) fn committed(&mut self, number: u64) -> usize {
        if number != self.out.0 {
            return 0;
        }
        let before = self.bytes;
        for number in std::mem::take(&mut self.out.1) {
            let Some(ending) = self.held.remove(&number) else { continue };
            self.records -= ending.records.len();
            self.bytes -= weight_bytes(&ending.records);
        }
        before - self.bytes
    }
}

fn weight_bytes(records: &[OutgoingRecord]) -> usize {
    records.iter().map(OutgoingRecord::weight_bytes).sum()
}

#[cfg(test)]
mod tests;
