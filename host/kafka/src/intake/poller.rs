//! The polling thread of one consumer.
//!
//! Who owns: this thread owns the consumer, all feeds and all commits; nothing of them is shared, so
//! nothing is locked. Who waits: this thread, parked, for at most [`RESCAN`]. Who wakes: a queue that
//! becomes non-empty, an inbox that has room again, an answer, somebody who looks, the wish to stop. All
//! of them only ring; every turn then looks at everything, so a lost ring costs one rescan and never a
//! record. What bounds: the prefetch of each partition's queue, the limits of its inbox, one batch per
//! partition and turn.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use keylane_engine::{BootClock, Lease, Owners, TopicPartition};
use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError as ClientError;
use rdkafka::message::BorrowedMessage;

use super::commits::Committer;
use super::feed::Feed;
use super::group::{Change, Group};
use super::life::Ended;
use super::look::{Looks, Waiting, looks};
use super::lookout::{Holdings, Lookout, lag};
use super::parting::{drain, reap};
use super::reasons::gave_up;
use super::takes::Takes;
use super::topics::TopicWatch;
use super::widths::Widths;
use super::{LAG_UNKNOWN, Shared};
use crate::config::{ConsumerConfig, GroupProtocol};
use crate::native::{SessionTimes, is_member};

/// The longest sleep between two looks at everything.
const RESCAN: Duration = Duration::from_millis(50);
/// Events of the client itself (log lines, errors, changes of the group) served in one turn. A share of the
/// turn and no store: the rest waits in the client for the next one.
const CLIENT_EVENTS: usize = 16;
/// The longest wait for the coordinator's answer to a final commit.
pub(super) const FINAL_COMMIT_LIMIT: Duration = Duration::from_secs(2);
/// Time between two measurements of the lag.
const LAG_EVERY: Duration = Duration::from_millis(250);
/// The longest wait for the coordinator to tell the group's session time-out.
const SESSION_TIMES_LIMIT: Duration = Duration::from_secs(6);

/// Kafka's own time between two heartbeats of KIP-848, where the coordinator tells none.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// A lease shorter than this could not be renewed in time; the coordinator's times must leave it.
const SHORTEST_LEASE: Duration = Duration::from_secs(1);

/// What the thread is made of. The order of the fields is the order of dropping: all but the last hold
/// the consumer, which leaves its group when the last of them is gone.
pub(super) struct Parts {
    pub(super) commits: Committer,
    pub(super) topics: TopicWatch,
    pub(super) lookout: Lookout,
    pub(super) owners: Arc<dyn Owners>,
    pub(super) config: ConsumerConfig,
    pub(super) shared: Arc<Shared>,
    pub(super) looks: Looks,
    pub(super) clock: Arc<dyn BootClock>,
    pub(super) consumer: Arc<BaseConsumer<Group>>,
}

/// See [`Parts`] for the order of the fields.
pub(super) struct Poller {
    pub(super) feeds: Vec<Feed>,
    /// Assigned, but where they start is not settled yet, or the membership is to be proven anew.
    pub(super) waiting: BTreeSet<TopicPartition>,
    pub(super) waiting_for: Option<String>,
    /// Whether the group has given an assignment, be it an empty one, and not taken the membership away.
    pub(super) joined: bool,
    /// Changes of the group that were heard and are not answered.
    pub(super) changes: Vec<Change>,
    /// For a handler with a write database.
    pub(super) takes: Option<Takes>,
    pub(super) next_settle: Instant,
    pub(super) next_check: Instant,
    next_lag: Instant,
    pub(super) widths: Widths,
    /// Until when the group's session time-out is waited for, while it is.
    session_times_until: Option<Instant>,
    records: metrics::Counter,
    partitions: metrics::Gauge,
    pub(super) parts: Parts,
}

/// Why the thread cannot go on with this client.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// Nothing that the thread can do would help.
    #[error("{0}")]
    ForGood(String),
    /// The group does not let this member in yet; the same name may be let in later.
    #[error("{0}")]
    TurnedAway(String),
}

impl Poller {
    pub(super) fn new(mut parts: Parts, takes: Option<Takes>) -> Self {
        let now = Instant::now();
        let group = parts.config.group.clone();
        let asks = parts.config.group_protocol == GroupProtocol::Consumer;
        if asks {
            parts.topics.ask_session_times(&group);
        }
        Self {
            feeds: Vec::new(),
            waiting: BTreeSet::new(),
            waiting_for: None,
            joined: false,
            changes: Vec::new(),
            takes,
            next_settle: now,
            next_check: now,
            next_lag: now,
            widths: Widths::new(now),
            session_times_until: asks.then(|| now + SESSION_TIMES_LIMIT),
            records: metrics::counter!("keylane_kafka_records_total", "group" => group.clone()),
            partitions: metrics::gauge!("keylane_kafka_partitions", "group" => group),
            parts,
        }
    }

    /// Polls until it is asked to stop, then puts everything down. Dropping the rest leaves the group.
    pub(super) fn run(&mut self) -> Result<Ended, Failure> {
        loop {
            self.parts.shared.turned();
            if let Some(until) = self.parts.shared.stop_at() {
                return Ok(self.put_down(until));
            }
            self.serve_client()?;
            for change in std::mem::take(&mut self.changes) {
                self.answer(change)?;
            }
            let now = Instant::now();
            self.parts.topics.turn(now);
            self.drop_what_expired()?;
            self.drop_what_was_overtaken()?;
            self.drop_what_was_set_back()?;
            self.drop_what_was_made_anew()?;
            self.see_to_trouble()?;
            self.see_to_cuts()?;
            self.follow_widths(now);
            if self.knows_its_term(now) {
                self.settle_waiting()?;
            }
            self.check_positions();
            // What the group said meanwhile comes before any further record.
            if !self.changes.is_empty() {
                continue;
            }
            let moved = self.serve_feeds();
            let now = Instant::now();
            self.parts.commits.hold_cuts_off(self.is_due_to_settle(now));
            self.parts.commits.turn(self.feeds.iter(), now);
            self.look(now);
            if moved == 0 {
                std::thread::park_timeout(
                    self.parts.commits.next_cut_in(now).map_or(RESCAN, |cut| cut.min(RESCAN)),
                );
            }
        }
    }

    /// What the client has to say. Records come through the partitions' own queues; should one come
    /// here nevertheless, it is kept in its place.
    pub(super) fn serve_client(&mut self) -> Result<(), Failure> {
        for _ in 0..CLIENT_EVENTS {
            match self.parts.consumer.poll(Duration::ZERO) {
                None => {}
                Some(Ok(message)) => keep_stray(&mut self.feeds, &message),
                Some(Err(ClientError::MessageConsumptionFatal(code))) => {
                    return Err(gave_up(code));
                }
                Some(Err(error)) => self.parts.lookout.heard(&error),
            }
        }
        self.hear_changes(false);
        Ok(())
    }

    /// A cut that never ends would keep its partitions for ever.
    fn see_to_cuts(&self) -> Result<(), Failure> {
        self.parts.commits.hanging_cut().map_or(Ok(()), |reason| Err(Failure::ForGood(reason)))
    }

    /// Takes over what the callback has noted; `in_doubt` makes every revocation a loss.
    pub(super) fn hear_changes(&mut self, in_doubt: bool) {
        while let Some(mut change) = self.parts.consumer.context().next_change() {
            if let Change::Revoked { lost, .. } = &mut change {
                *lost |= in_doubt;
            }
            self.changes.push(change);
        }
    }

    /// With KIP-848 the session time-out is the group's; nothing is taken before it is known, or was not
    /// told in time. There a commit does not restart the session, only a heartbeat does, and the last one
    /// may have been sent so much earlier: the lease is shorter by that.
    fn knows_its_term(&mut self, now: Instant) -> bool {
        let Some(until) = self.session_times_until else { return true };
        let told = self.parts.topics.session_times();
        if told.is_none() && now < until {
            return false;
        }
        self.session_times_until = None;
        let (group, configured) = (self.parts.config.group.as_str(), self.parts.config.session_timeout);
        let times = told.flatten().unwrap_or_else(|| {
            tracing::warn!(
                group,
                timeout = ?configured,
                "the coordinator does not tell the group's session time-out; the configured one counts"
            );
            SessionTimes { timeout: configured, heartbeat: HEARTBEAT }
        });
        if times.timeout < configured {
            tracing::warn!(
                group,
                ?configured,
                told = ?times.timeout,
                "the group's session is shorter than the host file says, and what must end within it was compared \
                 with that: have `kafka.session-timeout` say the same"
            );
        }
        let term = times.timeout.saturating_sub(times.heartbeat).max(SHORTEST_LEASE);
        tracing::info!(group, ?times, ?term, "the group's session, and the lease");
        self.parts.commits.replace_lease(Arc::new(Lease::new(term, self.parts.clock.clone())));
        true
    }

    pub(super) fn serve_feeds(&mut self) -> usize {
        let moved: usize = self.feeds.iter_mut().map(Feed::serve).sum();
        if moved > 0 {
            self.records.increment(moved as u64);
        }
        moved
    }

    fn look(&mut self, now: Instant) {
        let refused = self.takes.as_ref().map(Takes::refused).unwrap_or_default();
        let holdings = Holdings {
            feeds: &self.feeds,
            waiting: self.waiting.len().saturating_sub(refused.len()),
            refused,
            joined: self.joined,
            waiting_for: self.waiting_for.as_deref(),
            database: self.takes.as_ref().and_then(Takes::database_trouble),
            cuts: self.parts.commits.cut_trouble(),
        };
        let parts = &mut self.parts;
        parts.lookout.turn(&parts.consumer, &holdings, now);
        if now >= self.next_lag {
            self.next_lag = now + LAG_EVERY;
            // An empty assignment of KIP-848 is told to nobody.
            let idle = self.feeds.is_empty() && self.waiting.is_empty();
            if idle && parts.config.group_protocol == GroupProtocol::Consumer {
                self.joined = is_member(&parts.consumer);
            }
            self.partitions.set(self.feeds.len() as f64);
            let lag = lag(&parts.consumer, &holdings).and_then(|lag| i64::try_from(lag).ok());
            parts.shared.lag.store(lag.unwrap_or(LAG_UNKNOWN), Ordering::Relaxed);
        }
        parts.looks.answer(
            &parts.consumer,
            &self.feeds,
            &Waiting {
                partitions: &self.waiting,
                takes: self.takes.as_ref(),
                waiting_for: self.waiting_for.as_deref(),
            },
            &parts.commits,
        );
    }

    /// Takes out who asks how the partitions stand, for the poller that follows.
    pub(super) fn take_looks(&mut self) -> Looks {
        let (_nobody, silent) = looks(self.parts.shared.doorbell.clone());
        std::mem::replace(&mut self.parts.looks, silent)
    }

    /// Drains everything and commits. Owners whose lease ran out have not finished, they were stopped, and
    /// their progress may be another host's by now.
    fn put_down(&mut self, until: Instant) -> Ended {
        for feed in &self.feeds {
            feed.inbox.drain();
        }
        // The client waits for the answer to what it has told, also while it closes.
        if let Err(failure) = self.hear_the_group_out() {
            tracing::warn!(group = self.parts.config.group, %failure, "the group could not be answered");
        }
        let feeds = std::mem::take(&mut self.feeds);
        let commits = &mut self.parts.commits;
        let idle = feeds.is_empty();
        let drained = drain(&feeds, &[], commits, &self.parts.shared, until);
        commits.cut_last(
            &feeds,
            &[],
            until.saturating_duration_since(Instant::now()).max(FINAL_COMMIT_LIMIT),
        );
        let partings = reap(feeds);
        let drained = drained && partings.iter().all(|one| !one.is_lost);
        let holds = idle || commits.lease().holds();
        // A group that changes answers no commit until the change is over: what is left of the time is used.
        let limit = until.saturating_duration_since(Instant::now()).max(FINAL_COMMIT_LIMIT);
        Ended { drained: drained && holds, committed: holds && commits.finish(&partings, limit) }
    }
}

/// However the thread ends, its consumer, the last of the parts to be dropped, closes: it says goodbye to
/// the coordinator, and from here on answers by itself what the group still asks.
impl Drop for Poller {
    fn drop(&mut self) {
        self.parts.consumer.context().begin_leaving();
        self.partitions.set(0.0);
    }
}

pub(super) fn keep_stray(feeds: &mut [Feed], message: &BorrowedMessage<'_>) {
    let feed = feeds.iter_mut().find(|feed| {
        feed.partition.partition == message.partition() && *feed.partition.topic == *message.topic()
    });
    match feed {
        Some(feed) => feed.hold(message),
        None => tracing::debug!(topic = message.topic(), "a record of a partition given up"),
    }
}
