//! What is known of the cuts of one consumer: which one is under way, whom it is made of, and what was
//! refused. [`super::cutting`] has what the polling thread does with it.
//!
//! A cut is made in an order that lets no other host's work be overwritten: the group's metadata is taken
//! first, then the owners are asked for their snapshots, then each is checked against what is assigned, and
//! it is sent with *that* metadata. Should the group have given a partition away in between, its generation
//! has changed, and the coordinator refuses the whole transaction. Nothing is lost by that: the owners have
//! what was in it, and the next cut is made of what is still owned.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use keylane_engine::{CutQuestion, OutgoingRecord, Ownership, Snapshot, Token, TopicId, TopicPartition};
use rdkafka::consumer::ConsumerGroupMetadata;

use super::Item;
use super::closed::ClosedTopics;
use crate::config::{ConsumerConfig, KafkaConfig};
use crate::cuts::Cutter;
use crate::error::KafkaError;
use crate::intake::feed::Feed;
use crate::native::Ring;

/// The longest and the shortest time after which the broker ends a transaction that it hears nothing of:
/// others who take the partitions of a host that died wait for it, and so do the readers.
const TRANSACTION_MOST: Duration = Duration::from_secs(10);
const TRANSACTION_LEAST: Duration = Duration::from_secs(1);
/// A transaction that takes longer than this and so many times its limit hangs: with all that is tried again, and
/// one record after the other, it takes less.
const HANGS_LEAST: Duration = Duration::from_secs(30);
const HANGS_TIMES: u32 = 12;
/// The longest wait for an owner's snapshot. One that is late is left out.
pub(super) const ANSWER_LIMIT: Duration = Duration::from_secs(1);
/// The most bytes of one transaction; the last partition's share may pass it.
const CUT_BYTES_MAX: usize = 32 * 1024 * 1024;
/// How often that is halved at most: then a cut has one partition's share.
const HALVED_MAX: u32 = CUT_BYTES_MAX.ilog2();
/// The wait after a cut that failed; it doubles with each further one up to the longest.
const AGAIN_FIRST: Duration = Duration::from_millis(50);
const AGAIN_MOST: Duration = Duration::from_secs(5);
/// So many failures in a row are no trouble: a group that changes refuses what was begun before the change.
pub(super) const FAILURES_ORDINARY: u32 = 3;

/// Owned by the committer.
pub(in crate::intake) struct Cuts {
    pub(super) cutter: Cutter,
    /// A transaction that takes longer hangs.
    pub(super) hangs_after: Duration,
    pub(super) interval: Duration,
    pub(super) next_at: Instant,
    pub(super) step: Step,
    /// None begins now: something else comes first.
    pub(super) held_off: bool,
    /// Assignments whose last snapshot was not committed, though nothing need have moved since.
    pub(super) owed: BTreeSet<Token>,
    /// Failures in a row.
    pub(super) failures: u32,
    /// Assignments that had a part in the later ones of many failures in a row, and in none that was committed since.
    /// Brokers refuse a whole cut for one partition's sake and do not say whose, so each goes by itself.
    pub(super) suspects: BTreeSet<Token>,
    /// How often the most bytes of a cut are halved: once more by each cut that fails or is too slow, once less by each
    /// that is committed and was about as large as it may be. Brokers that are too slow for all that has ended take
    /// it in smaller parts.
    pub(super) halved: u32,
    /// The latest cut that each assignment had a part in. Who had none for longest comes first.
    turns: BTreeMap<Token, u64>,
    turn: u64,
    pub(super) trouble: Option<String>,
    pub(super) closed: ClosedTopics,
    /// By partition and offset, with the reason: events whose records were refused for good.
    pub(super) refused: BTreeMap<TopicPartition, BTreeMap<i64, String>>,
    /// The topic's id under which each partition was taken last: what is known of it here is of that one.
    pub(super) taken_under: BTreeMap<TopicPartition, TopicId>,
    /// Partitions that are to be dropped and taken anew, with the reason.
    pub(super) set_back: BTreeMap<TopicPartition, String>,
    pub(super) meters: CutMeters,
}

/// Where the cut that is under way stands.
pub(super) enum Step {
    Resting,
    Asking(Asking),
    Sending(Sending),
}

/// Owners are asked.
pub(super) struct Asking {
    pub(super) metadata: ConsumerGroupMetadata,
    pub(super) begun: Instant,
    /// By the boot clock: what is acknowledged proves the membership as of then.
    pub(super) at: Duration,
    pub(super) asked: Vec<(Token, CutQuestion)>,
    pub(super) made: Vec<(Token, Snapshot)>,
}

/// A transaction is under way.
pub(super) struct Sending {
    pub(super) begun: Instant,
    pub(super) at: Duration,
    /// What its records weigh.
    pub(super) bytes: usize,
    pub(super) parts: Vec<Part>,
}

/// One partition's part of a cut.
pub(super) struct Part {
    pub(super) item: Item,
    pub(super) number: u64,
    /// The offset and the records of each event.
    pub(super) endings: Vec<(i64, Arc<[OutgoingRecord]>)>,
}

pub(super) struct CutMeters {
    group: String,
    pub(super) seconds: metrics::Histogram,
    pub(super) records: metrics::Counter,
    pub(super) refused: metrics::Counter,
}

impl CutMeters {
    fn new(group: &str) -> Self {
        let group = group.to_owned();
        Self {
            seconds: metrics::histogram!("keylane_cut_seconds", "group" => group.clone()),
            records: metrics::counter!("keylane_cut_records_total", "group" => group.clone()),
            refused: metrics::counter!("keylane_cut_events_refused_total", "group" => group.clone()),
            group,
        }
    }

    pub(super) fn count(&self, outcome: &'static str) {
        metrics::counter!("keylane_cuts_total", "group" => self.group.clone(), "outcome" => outcome)
            .increment(1);
    }
}

impl Cuts {
    /// Brokers need not answer yet.
    pub(in crate::intake) fn start(
        kafka: &KafkaConfig,
        config: &ConsumerConfig,
        interval: Duration,
        ring: Ring,
    ) -> Result<Self, KafkaError> {
        let limit = (config.session_timeout / 2).clamp(TRANSACTION_LEAST, TRANSACTION_MOST);
        Ok(Self {
            cutter: Cutter::start(kafka, &config.group, limit, ring)?,
            hangs_after: HANGS_LEAST + limit * HANGS_TIMES,
            interval,
            next_at: Instant::now(),
            step: Step::Resting,
            held_off: false,
            owed: BTreeSet::new(),
            failures: 0,
            suspects: BTreeSet::new(),
            halved: 0,
            turns: BTreeMap::new(),
            turn: 0,
            trouble: None,
            closed: ClosedTopics::default(),
            refused: BTreeMap::new(),
            taken_under: BTreeMap::new(),
            set_back: BTreeMap::new(),
            meters: CutMeters::new(&config.group),
        })
    }

    pub(super) fn is_resting(&self) -> bool {
        matches!(self.step, Step::Resting)
    }

    /// Whether there may be something to cut of this partition now. One that is about to be dropped has no part in
    /// any cut: with what its owner holds, none would be committed. Nor has one that waits for a topic.
    pub(super) fn wants(&self, feed: &Feed, now: Instant) -> bool {
        let ownership = feed.inbox.ownership();
        let answers = !ownership.is_lost() && ownership != Ownership::Faulted;
        let has_any = feed.inbox.is_stirred() || self.owed.contains(&feed.token);
        let is_held_up =
            self.set_back.contains_key(&feed.partition) || self.closed.keeps(&feed.partition, now);
        answers && has_any && !is_held_up
    }

    /// The most bytes of the next one; the last partition's share may pass it.
    pub(super) fn bytes_max(&self) -> usize {
        CUT_BYTES_MAX >> self.halved
    }

    /// The next ones may have less.
    pub(super) fn halve(&mut self) {
        self.halved = (self.halved + 1).min(HALVED_MAX);
    }

    /// One of so many bytes is committed. A small one says nothing of larger ones.
    pub(super) fn grow(&mut self, bytes: usize) {
        if bytes >= self.bytes_max() / 2 {
            self.halved = self.halved.saturating_sub(1);
        }
    }

    /// When this assignment had its latest part in a cut.
    pub(super) fn turn_of(&self, token: Token) -> u64 {
        self.turns.get(&token).copied().unwrap_or_default()
    }

    /// These have a part in a cut now.
    pub(super) fn take_turn(&mut self, tokens: impl Iterator<Item = Token>) {
        self.turn += 1;
        self.turns.extend(tokens.map(|token| (token, self.turn)));
    }

    /// Only these are assigned.
    pub(super) fn forget_all_but(&mut self, assigned: &BTreeSet<Token>) {
        self.owed.retain(|token| assigned.contains(token));
        self.suspects.retain(|token| assigned.contains(token));
        self.turns.retain(|token, _| assigned.contains(token));
    }

    /// It is over, and the next one may follow after the usual time.
    pub(super) fn rest(&mut self, begun: Instant) {
        self.step = Step::Resting;
        self.next_at = begun + self.interval;
    }

    /// It came to nothing: what it was made of is still to be committed.
    pub(super) fn fail(&mut self, parts: &[Part], reason: String) {
        self.owed.extend(parts.iter().map(|part| part.item.token));
        self.step = Step::Resting;
        self.next_at = Instant::now() + pause_after(self.failures);
        self.failures += 1;
        if self.failures >= FAILURES_ORDINARY {
            self.suspects.extend(parts.iter().map(|part| part.item.token));
        }
        self.halve();
        let group = self.meters.group.as_str();
        match self.failures.cmp(&FAILURES_ORDINARY) {
            Ordering::Equal => tracing::warn!(group, reason, "cuts are not committed; trying again"),
            _ => tracing::info!(group, reason, "a cut was not committed; trying again"),
        }
        self.trouble = Some(reason);
    }
}

/// The pause after a try that followed so many others in vain.
pub(super) fn pause_after(failures: u32) -> Duration {
    AGAIN_FIRST.saturating_mul(1 << failures.min(8)).min(AGAIN_MOST)
}
