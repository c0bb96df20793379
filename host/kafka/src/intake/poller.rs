//! The polling thread of one consumer.
//!
//! Who owns: this thread owns the consumer, all feeds and all commits; nothing of them is shared, so
//! nothing is locked. Who waits: this thread, parked, for at most [`RESCAN`]. Who wakes: a queue that
//! becomes non-empty, an inbox that has room again, the wish to stop. All of them only ring; every turn
//! then looks at everything, so a lost ring costs one rescan and never a record. What bounds: the
//! prefetch of each partition's queue, the limits of its inbox, one batch per partition and turn.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use keylane_engine::{Owners, TopicPartition, Wake};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError as ClientError;
use rdkafka::message::BorrowedMessage;
use rdkafka::{Message, Offset, TopicPartitionList};

use super::commits::Committer;
use super::feed::Feed;
use super::group::{Change, Group};
use super::lookout::{Holdings, Lookout, lag};
use super::start::{Settled, Starter};
use super::{Ended, LAG_UNKNOWN, Shared};
use crate::config::ConsumerConfig;

/// The longest sleep between two looks at everything.
const RESCAN: Duration = Duration::from_millis(50);
/// Events of the client itself (log lines, errors, changes of the group) served in one turn.
const CLIENT_EVENTS: usize = 16;
/// Time between two tries to settle where partitions start.
const SETTLE_EVERY: Duration = Duration::from_millis(250);
/// The longest wait for the coordinator's answer to a final commit.
pub(super) const FINAL_COMMIT_LIMIT: Duration = Duration::from_secs(2);
/// The longest wait until the runs of partitions that were given up are broken off.
const REAP_LIMIT: Duration = Duration::from_secs(1);
/// Time between two measurements of the lag.
const LAG_EVERY: Duration = Duration::from_millis(250);

/// The order of the fields is the order of dropping: feeds and commit queue hold the consumer, which
/// leaves its group when the last of them is gone.
pub(super) struct Poller {
    feeds: Vec<Feed>,
    /// Assigned, but where they start is not settled yet.
    waiting: BTreeSet<TopicPartition>,
    waiting_for: Option<String>,
    /// Whether the group has given an assignment, be it an empty one, and not taken the membership away.
    joined: bool,
    next_settle: Instant,
    next_lag: Instant,
    commits: Committer,
    lookout: Lookout,
    owners: Arc<dyn Owners>,
    config: ConsumerConfig,
    shared: Arc<Shared>,
    records: metrics::Counter,
    partitions: metrics::Gauge,
    consumer: Arc<BaseConsumer<Group>>,
}

/// Why the thread cannot go on.
pub(super) struct Failure(pub(super) String);

impl Poller {
    pub(super) fn new(
        consumer: Arc<BaseConsumer<Group>>,
        commits: Committer,
        lookout: Lookout,
        owners: Arc<dyn Owners>,
        config: ConsumerConfig,
        shared: Arc<Shared>,
    ) -> Self {
        let now = Instant::now();
        Self {
            feeds: Vec::new(),
            waiting: BTreeSet::new(),
            waiting_for: None,
            joined: false,
            next_settle: now,
            next_lag: now,
            commits,
            lookout,
            owners,
            shared,
            records: metrics::counter!("keylane_kafka_records_total", "group" => config.group.clone()),
            partitions: metrics::gauge!("keylane_kafka_partitions", "group" => config.group.clone()),
            config,
            consumer,
        }
    }

    /// Polls until it is asked to stop, then puts everything down. Dropping the rest leaves the group.
    pub(super) fn run(&mut self) -> Result<Ended, Failure> {
        loop {
            if let Some(until) = self.shared.stop_at() {
                return Ok(self.put_down(until));
            }
            self.serve_client()?;
            while let Some(change) = self.consumer.context().next_change() {
                self.answer(change)?;
            }
            self.settle_waiting();
            let moved = self.serve_feeds();
            let now = Instant::now();
            self.commits.turn(&mut self.feeds, now);
            self.look(now);
            if moved == 0 {
                std::thread::park_timeout(RESCAN);
            }
        }
    }

    /// What the client has to say. Records come through the partitions' own queues; should one come
    /// here nevertheless, it is kept in its place.
    fn serve_client(&mut self) -> Result<(), Failure> {
        for _ in 0..CLIENT_EVENTS {
            match self.consumer.poll(Duration::ZERO) {
                None => {}
                Some(Ok(message)) => keep_stray(&mut self.feeds, &message),
                Some(Err(ClientError::MessageConsumptionFatal(code))) => {
                    return Err(Failure(format!("the client gave up for good: {code}")));
                }
                // The listener has logged it with the client's own words.
                Some(Err(error)) => tracing::debug!(%error, "the consumer reports an error"),
            }
        }
        Ok(())
    }

    /// Every change is answered exactly once, the empty ones too: the client waits for it, and
    /// fetches nothing for any partition until it comes.
    fn answer(&mut self, change: Change) -> Result<(), Failure> {
        match change {
            Change::Assigned(partitions) => {
                self.joined = true;
                self.say("assigned", &partitions);
                self.waiting.extend(partitions);
                let settled = self.settle();
                self.admit(settled)
                    .map_err(|error| Failure(format!("the assignment was not accepted: {error}")))
            }
            Change::Revoked { partitions, lost } => {
                self.joined &= !lost;
                self.say(if lost { "lost" } else { "revoked" }, &partitions);
                let given_up = self.give_up(&partitions, lost);
                self.consumer
                    .incremental_unassign(&given_up)
                    .map_err(|error| Failure(format!("the revocation was not accepted: {error}")))
            }
        }
    }

    fn say(&self, what: &str, partitions: &[TopicPartition]) {
        let names: Vec<String> = partitions.iter().map(ToString::to_string).collect();
        tracing::info!(group = self.config.group, partitions = names.join(" "), "{what}");
    }

    /// Settles starts, and answers with what is settled. A failure is tried again later.
    fn settle(&mut self) -> Settled {
        if self.waiting.is_empty() {
            return Vec::new();
        }
        let mut owned = self.waiting.clone();
        owned.extend(self.feeds.iter().map(|feed| feed.partition.clone()));
        let starter = Starter { consumer: &self.consumer, start: self.config.start, owned: &owned };
        let settled = starter.settle(&self.waiting, &mut self.commits);
        self.next_settle = Instant::now() + SETTLE_EVERY;
        match settled {
            Ok(settled) => {
                self.waiting_for = None;
                settled
            }
            Err(reason) => {
                tracing::warn!(group = self.config.group, reason, "starts are not settled; trying again");
                self.waiting_for = Some(reason);
                Vec::new()
            }
        }
    }

    fn settle_waiting(&mut self) {
        if self.waiting.is_empty() || Instant::now() < self.next_settle {
            return;
        }
        let settled = self.settle();
        if settled.is_empty() {
            return;
        }
        if let Err(error) = self.admit(settled) {
            tracing::warn!(group = self.config.group, %error, "settled partitions were not taken; trying again");
        }
    }

    /// Starts reading partitions. Each gets its own queue before the client fetches for it, so that none
    /// of its records can come through the common one.
    fn admit(&mut self, settled: Settled) -> Result<(), ClientError> {
        let mut list = TopicPartitionList::with_capacity(settled.len());
        let mut admitted = Vec::with_capacity(settled.len());
        for (partition, start) in settled {
            let Some(queue) = self.consumer.split_partition_queue(&partition.topic, partition.partition)
            else {
                tracing::error!(%partition, "the client has no queue for this partition; trying again");
                continue;
            };
            list.add_partition_offset(&partition.topic, partition.partition, Offset::Offset(start))?;
            let doorbell = self.shared.doorbell.clone();
            let wake: Wake = Arc::new(move || doorbell.ring());
            let inbox = self.owners.assign(partition, wake);
            admitted.push(Feed::new(inbox, queue, start, self.shared.doorbell.clone()));
        }
        self.consumer.incremental_assign(&list)?;
        for feed in &admitted {
            self.waiting.remove(&feed.partition);
        }
        self.feeds.append(&mut admitted);
        Ok(())
    }

    /// Puts partitions down: they finish what runs, their final positions are committed, and their
    /// owners end. What is lost already belongs to others, so it is dropped at once.
    fn give_up(&mut self, partitions: &[TopicPartition], lost: bool) -> TopicPartitionList {
        for partition in partitions {
            self.waiting.remove(partition);
        }
        let (mut gone, kept): (Vec<Feed>, Vec<Feed>) = std::mem::take(&mut self.feeds)
            .into_iter()
            .partition(|feed| partitions.contains(&feed.partition));
        self.feeds = kept;
        let mut list = TopicPartitionList::with_capacity(gone.len());
        for feed in &gone {
            list.add_partition(&feed.partition.topic, feed.partition.partition);
        }
        if !lost {
            drain(&gone, Instant::now() + self.config.drain_limit);
            self.commits.finish(&mut gone, FINAL_COMMIT_LIMIT);
        }
        reap(gone);
        list
    }

    fn serve_feeds(&mut self) -> usize {
        let moved: usize = self.feeds.iter_mut().map(Feed::serve).sum();
        if moved > 0 {
            self.records.increment(moved as u64);
        }
        moved
    }

    fn look(&mut self, now: Instant) {
        let holdings = Holdings {
            feeds: &self.feeds,
            waiting: self.waiting.len(),
            joined: self.joined,
            waiting_for: self.waiting_for.as_deref(),
        };
        self.lookout.turn(&self.consumer, &holdings, now);
        if now >= self.next_lag {
            self.next_lag = now + LAG_EVERY;
            self.partitions.set(self.feeds.len() as f64);
            let lag = lag(&self.consumer, &holdings).and_then(|lag| i64::try_from(lag).ok());
            self.shared.lag.store(lag.unwrap_or(LAG_UNKNOWN), Ordering::Relaxed);
        }
    }

    /// Drains everything and commits.
    fn put_down(&mut self, until: Instant) -> Ended {
        let drained = drain(&self.feeds, until);
        let committed = self.commits.finish(&mut self.feeds, FINAL_COMMIT_LIMIT);
        self.feeds.clear();
        Ended { drained, committed }
    }
}

/// However the thread ends, its consumer, the last field to be dropped, closes: it says goodbye to the
/// coordinator, and from here on answers by itself what the group still asks.
impl Drop for Poller {
    fn drop(&mut self) {
        self.consumer.context().begin_leaving();
        self.partitions.set(0.0);
    }
}

/// Asks all owners to finish what runs, and waits for them together.
fn drain(feeds: &[Feed], until: Instant) -> bool {
    for feed in feeds {
        feed.inbox.drain();
    }
    let mut all = true;
    for feed in feeds {
        let left = until.saturating_duration_since(Instant::now());
        if !feed.inbox.wait_drained(left) {
            tracing::warn!(partition = %feed.partition, "not drained in time; what runs is broken off and repeats");
            all = false;
        }
    }
    all
}

/// Ends the owners, and waits until what was broken off is gone: nobody else may have the partitions
/// before.
fn reap(gone: Vec<Feed>) {
    let until = Instant::now() + REAP_LIMIT;
    for feed in gone {
        let partition = feed.partition.clone();
        if !feed.close(until.saturating_duration_since(Instant::now())) {
            tracing::warn!(%partition, "what runs is not broken off in time; the partition is given up all the same");
        }
    }
}

fn keep_stray(feeds: &mut [Feed], message: &BorrowedMessage<'_>) {
    let feed = feeds.iter_mut().find(|feed| {
        feed.partition.partition == message.partition() && *feed.partition.topic == *message.topic()
    });
    match feed {
        Some(feed) => feed.hold(message),
        None => tracing::debug!(topic = message.topic(), "a record of a partition given up"),
    }
}
