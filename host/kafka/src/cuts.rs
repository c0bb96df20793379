//! The way to Kafka of a handler in cuts: a transactional producer on a thread of its own, since its calls
//! block. One cut is one transaction: records, and the progress that tells of the events they are of.
//!
//! Who owns: the thread owns the producer; the intake hands it one cut at a time and looks for the answer.
//! Who waits: the thread, for a cut and then for the brokers. Who wakes: the intake by the cut, the thread by
//! ringing. What bounds: one cut, and the transaction's own time. The producer's id is made of the group's
//! name, a random number and a count: nobody takes over for another host, since what it had not committed has
//! not happened, and an open transaction of one that died ends by its time.

use std::collections::BTreeSet;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use keylane_engine::OutgoingRecord;
use rdkafka::consumer::ConsumerGroupMetadata;

use crate::config::KafkaConfig;
use crate::dlq::Reader;
use crate::error::KafkaError;
use crate::native::{Handed, Ring, list_of};
use crate::open_topics::{OpenTopics, Shut};
use crate::transaction::{Fault, Offsets, OpenError, Purpose, RefusedRecord, TransactionError, Transactions};

/// The largest batch of the client's, in bytes. Brokers refuse a batch as a whole.
const BATCH_BYTES: usize = 64 * 1024;
/// So small a batch holds one record, which is then refused for itself.
const BATCH_OF_ONE_BYTES: usize = 1;
/// How long records go one by one after a batch was refused of which each record was taken: a topic takes
/// less than a batch.
const ALONE_FOR: Duration = Duration::from_secs(60);
/// Time between two tries to open the producer.
const OPEN_AGAIN: Duration = Duration::from_secs(1);
/// The longest wait for a cut before the thread looks round.
const WAIT_FOR_CUT: Duration = Duration::from_secs(60);
/// Failures in a row after which the producer is made anew.
const FAILURES_MAX: u32 = 2;

/// What is to be committed.
pub(crate) struct Cut {
    /// Who commits, as of before the progress was made.
    pub(crate) metadata: ConsumerGroupMetadata,
    pub(crate) offsets: Vec<Handed>,
    /// In the order in which they are sent.
    pub(crate) records: Vec<Arc<[OutgoingRecord]>>,
}

/// What became of a cut.
#[derive(Debug)]
pub(crate) enum CutEnd {
    Committed,
    /// Nothing of it is ever seen. These records are at fault, or their topics, or partitions of those are silent.
    Refused(Vec<RefusedRecord>),
    /// Nothing of it is ever seen; the next one may go better.
    Failed(String),
    /// Only the group's offsets tell.
    InDoubt(String),
}

/// The intake's end. Dropped, it lets the thread end after what it is at.
pub(crate) struct Cutter {
    cuts: SyncSender<Cut>,
    ends: Receiver<CutEnd>,
    standing: Arc<Standing>,
}

/// How the producer stands. Written by the thread.
#[derive(Default)]
struct Standing {
    is_open: AtomicBool,
    /// Why it is not open, if that was tried.
    trouble: Mutex<Option<String>>,
}

impl Standing {
    fn tell(&self, opened: Result<(), String>) {
        self.is_open.store(opened.is_ok(), Ordering::Release);
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = opened.err();
    }
}

impl Cutter {
    /// A cutter of this group. Brokers need not answer yet. A transaction of which nothing is heard for
    /// `limit` is ended by the broker.
    pub(crate) fn start(
        kafka: &KafkaConfig,
        group: &str,
        limit: Duration,
        ring: Ring,
    ) -> Result<Self, KafkaError> {
        let (cuts, orders) = sync_channel(1);
        let (answers, ends) = sync_channel(1);
        let way = Way::new(kafka, group, limit)?;
        let standing = Arc::new(Standing::default());
        let (name, told) = ("kafka-cuts".to_owned(), standing.clone());
        let body = move || way.live(&orders, &answers, &told, &ring);
        let refused =
            |error: std::io::Error| KafkaError::Thread { name: name.clone(), reason: error.to_string() };
        std::thread::Builder::new().name(name.clone()).spawn(body).map_err(refused)?;
        Ok(Self { cuts, ends, standing })
    }

    /// One that asks no brokers: what becomes of each cut is answered here.
    #[cfg(test)]
    pub(crate) fn played(mut answer: impl FnMut(&Cut) -> CutEnd + Send + 'static) -> Self {
        let (cuts, orders) = sync_channel::<Cut>(1);
        let (answers, ends) = sync_channel(1);
        let standing = Arc::new(Standing::default());
        standing.tell(Ok(()));
        std::thread::spawn(move || {
            while let Ok(cut) = orders.recv()
                && answers.send(answer(&cut)).is_ok()
            {}
        });
        Self { cuts, ends, standing }
    }

    /// Whether the producer is open. A cut that had to wait for that would keep the membership unproven
    /// meanwhile: the first of a cluster takes seconds.
    pub(crate) fn is_open(&self) -> bool {
        self.standing.is_open.load(Ordering::Acquire)
    }

    /// Why the producer is not open, if that was tried.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.standing.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Hands over a cut. The one before must have been answered.
    pub(crate) fn hand_over(&self, cut: Cut) -> Result<(), String> {
        self.cuts.try_send(cut).map_err(|error| format!("the thread of the transactions is gone: {error}"))
    }

    /// What became of the cut, if that is known.
    pub(crate) fn ended(&self) -> Option<CutEnd> {
        match self.ends.try_recv() {
            Ok(end) => Some(end),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => {
                Some(CutEnd::InDoubt("the thread of the transactions is gone".to_owned()))
            }
        }
    }
}

/// The thread's own.
struct Way {
    kafka: KafkaConfig,
    name: String,
    /// Producers that were let go of.
    left: u64,
    limit: Duration,
    topics: OpenTopics,
    /// The producer, and whether it sends records one by one.
    open: Option<(Transactions, bool)>,
    alone_until: Option<Instant>,
    failures: u32,
}

impl Way {
    fn new(kafka: &KafkaConfig, group: &str, limit: Duration) -> Result<Self, KafkaError> {
        let topics = OpenTopics::new(Reader::new(kafka)?, limit);
        let name = format!("keylane.{group}.{:016x}", RandomState::new().build_hasher().finish());
        let kafka = kafka.clone();
        Ok(Self { kafka, name, left: 0, limit, topics, open: None, alone_until: None, failures: 0 })
    }

    /// The thread's life: it opens the producer whenever it is not open, and sends what it is given.
    fn live(mut self, cuts: &Receiver<Cut>, ends: &SyncSender<CutEnd>, standing: &Standing, ring: &Ring) {
        loop {
            if self.open.is_none() {
                standing.tell(self.opened(false).map(drop));
                ring();
            }
            let wait = if self.open.is_some() { WAIT_FOR_CUT } else { OPEN_AGAIN };
            let cut = match cuts.recv_timeout(wait) {
                Ok(cut) => cut,
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let end = self.carry_out(&cut);
            standing.is_open.store(self.open.is_some(), Ordering::Release);
            if ends.send(end).is_err() {
                return;
            }
            ring();
        }
    }

    fn carry_out(&mut self, cut: &Cut) -> CutEnd {
        let end = match self.shut_out(cut) {
            Ok(refused) if refused.is_empty() => self.send(cut),
            Ok(refused) => CutEnd::Refused(refused),
            Err(error) => CutEnd::Failed(error.to_string()),
        };
        if !matches!(end, CutEnd::Committed) {
            self.topics.forget();
        }
        end
    }

    /// The records of a cut that go to topics that take nothing now.
    fn shut_out(&mut self, cut: &Cut) -> Result<Vec<RefusedRecord>, KafkaError> {
        let records = || cut.records.iter().flat_map(|records| records.iter());
        let shut = self.topics.shut(records().map(|record| record.topic.as_str()))?;
        let refused = |(place, record): (usize, &OutgoingRecord)| {
            let Shut { fault, reason } = shut.get(record.topic.as_str())?.clone();
            Some(RefusedRecord { place: Some(place), topic: record.topic.clone(), fault, code: None, reason })
        };
        Ok(records().enumerate().filter_map(refused).collect())
    }

    fn send(&mut self, cut: &Cut) -> CutEnd {
        let alone = self.alone_until.is_some_and(|until| Instant::now() < until);
        let end = self.try_once(cut, alone);
        let CutEnd::Refused(refused) = &end else { return end };
        if alone || records_at_fault(refused) < 2 {
            return end;
        }
        // A batch was refused as a whole: by themselves they show which of them are at fault.
        let end = self.try_once(cut, true);
        if matches!(end, CutEnd::Committed) {
            self.alone_until = Some(Instant::now() + ALONE_FOR);
        }
        end
    }

    fn try_once(&mut self, cut: &Cut, alone: bool) -> CutEnd {
        let offsets = match list_of(&cut.offsets) {
            Ok(list) => list,
            Err(reason) => return CutEnd::Failed(reason),
        };
        let transactions = match self.opened(alone) {
            Ok(transactions) => transactions,
            Err(reason) => return CutEnd::Failed(reason),
        };
        let records = cut.records.iter().flat_map(|records| records.iter());
        let ended =
            transactions.commit_offsets(records, &Offsets { list: &offsets, metadata: &cut.metadata });
        self.judge(ended)
    }

    fn judge(&mut self, ended: Result<(), (TransactionError, bool)>) -> CutEnd {
        let (error, in_doubt) = match ended {
            Ok(()) => {
                self.failures = 0;
                return CutEnd::Committed;
            }
            Err(failed) => failed,
        };
        let is_stuck = self.open.as_ref().is_some_and(|(transactions, _)| transactions.is_stuck());
        let is_lost = is_stuck || matches!(error, TransactionError::Superseded);
        let reason = match error {
            TransactionError::Refused(refused) if refused.iter().any(is_at_fault) => {
                self.failures = 0;
                if is_lost || refused.iter().any(|one| one.fault == Fault::Silence) {
                    self.leave();
                }
                return CutEnd::Refused(refused.into_iter().filter(is_at_fault).collect());
            }
            TransactionError::Superseded => {
                "the broker has ended the transaction, or another producer took this one's place".to_owned()
            }
            error => error.into_reason().map(|(reason, _)| reason).unwrap_or_default(),
        };
        self.failures += 1;
        if is_lost && !in_doubt {
            self.leave();
        } else if in_doubt || self.failures >= FAILURES_MAX {
            self.open = None;
        }
        if !in_doubt {
            return CutEnd::Failed(reason);
        }
        // The one that takes its place ends the transaction, so that its outcome is to be read at once.
        let reopened = self.opened(false).map(drop).err();
        CutEnd::InDoubt(match reopened {
            None => reason,
            Some(also) => format!("{reason}; and then: {also}"),
        })
    }

    fn opened(&mut self, alone: bool) -> Result<&Transactions, String> {
        if self.open.as_ref().is_some_and(|(_, is_alone)| *is_alone != alone) {
            self.open = None;
        }
        let transactions = match self.open.take() {
            Some((transactions, _)) => transactions,
            // An id that brokers do not let begin may wait for a silent partition: the next try has another one.
            None => self.newly_opened(alone).inspect_err(|_| self.left += 1)?,
        };
        Ok(&self.open.insert((transactions, alone)).0)
    }

    /// Lets go of a producer whose transaction has come to nothing, whether or not brokers have ended it yet: with a
    /// silent partition they cannot, and let its producer begin no other before. The next one has another id.
    fn leave(&mut self) {
        self.open = None;
        self.left += 1;
    }

    fn id(&self) -> String {
        format!("{}.{}", self.name, self.left)
    }

    fn newly_opened(&self, alone: bool) -> Result<Transactions, String> {
        let purpose = Purpose {
            id: self.id(),
            note_topic: "",
            batch_bytes: if alone { BATCH_OF_ONE_BYTES } else { BATCH_BYTES },
            limit: self.limit,
        };
        Transactions::open(&self.kafka, purpose).map_err(|error| match error {
            OpenError::Kafka(error) => error.to_string(),
            OpenError::Transaction(error) => {
                error.into_reason().map(|(reason, _)| reason).unwrap_or_default()
            }
        })
    }
}

/// Whether the record, its topic or its partition is at fault, and not the way there.
fn is_at_fault(refused: &RefusedRecord) -> bool {
    refused.fault != Fault::Nobody
}

fn records_at_fault(refused: &[RefusedRecord]) -> usize {
    let at_fault = refused.iter().filter(|one| one.fault == Fault::Record);
    at_fault.filter_map(|one| one.place).collect::<BTreeSet<_>>().len()
}

#[cfg(test)]
mod tests;
