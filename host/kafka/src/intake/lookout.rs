//! Watches whether brokers answer and the group gives partitions, tells health, and says aloud what
//! an operator would otherwise have to guess.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError as ClientError;
use tokio::sync::watch;

use super::feed::Feed;
use super::group::Group;
use super::reasons::{PROBE_LIMIT, Reasons};
use crate::config::{ConsumerConfig, GroupProtocol};
use crate::health::{Health, PartitionFault};

/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Time between two questions to the brokers, while it is unclear whether they answer.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// Time between two lines on unreachable brokers.
const SAY_UNREACHABLE_EVERY: Duration = Duration::from_secs(5);
/// Time between two lines on a missing assignment.
pub(super) const SAY_UNASSIGNED_EVERY: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Connecting,
    Unassigned,
    Assigned,
}

/// Owned by the polling thread.
pub(super) struct Lookout {
    health: watch::Sender<Health>,
    bootstrap: String,
    reasons: Reasons,
    group: String,
    topics: Vec<String>,
    protocol: GroupProtocol,
    assignment_notice: Duration,
    phase: Phase,
    since: Instant,
    next_look: Instant,
    next_probe: Instant,
    next_word: Instant,
    reason: Option<String>,
    spoke: bool,
}

/// What the polling thread knows of its partitions.
pub(super) struct Holdings<'a> {
    pub(super) feeds: &'a [Feed],
    pub(super) waiting: usize,
    /// Those that do not start before somebody sees to them.
    pub(super) refused: Vec<PartitionFault>,
    /// Whether the group has given an assignment, be it an empty one.
    pub(super) joined: bool,
    /// Why the waiting ones wait.
    pub(super) waiting_for: Option<&'a str>,
    /// What is the matter with the handler's database, if they wait for that.
    pub(super) database: Option<&'a str>,
    /// Why cuts are not committed, for a handler in cuts.
    pub(super) cuts: Option<String>,
}

impl Holdings<'_> {
    /// Whether the group has given this member anything.
    pub(super) fn any(&self) -> bool {
        !self.feeds.is_empty() || self.waiting > 0 || !self.refused.is_empty()
    }
}

impl Lookout {
    pub(super) fn new(health: watch::Sender<Health>, bootstrap: &str, config: &ConsumerConfig) -> Self {
        let now = Instant::now();
        Self {
            health,
            bootstrap: bootstrap.to_owned(),
            reasons: Reasons::default(),
            group: config.group.clone(),
            topics: config.all_topics().map(str::to_owned).collect(),
            protocol: config.group_protocol,
            assignment_notice: config.assignment_notice,
            phase: Phase::Connecting,
            since: now,
            next_look: now,
            next_probe: now,
            next_word: now,
            reason: None,
            spoke: false,
        }
    }

    /// One that goes on telling what the former client heard: the group does not let this member in. Whoever
    /// asks again writes it to the log.
    pub(super) fn turned_away(mut self, since: Instant, reason: String) -> Self {
        self.phase = Phase::Unassigned;
        self.since = since;
        self.reason = Some(reason);
        self.next_word = Instant::now() + SAY_UNASSIGNED_EVERY;
        self
    }

    /// Looks, if it is time.
    pub(super) fn turn(&mut self, consumer: &BaseConsumer<Group>, holdings: &Holdings<'_>, now: Instant) {
        if now < self.next_look {
            return;
        }
        self.next_look = now + LOOK_EVERY;
        let assigned = holdings.any();
        let in_doubt = !assigned || consumer.context().listener.connection_lost();
        if in_doubt && now >= self.next_probe {
            self.next_probe = now + PROBE_EVERY;
            let reached = self.probe(consumer);
            self.enter(if !reached {
                Phase::Connecting
            } else if assigned {
                Phase::Assigned
            } else {
                Phase::Unassigned
            });
        } else if assigned && !in_doubt {
            self.enter(Phase::Assigned);
        } else if !assigned && self.phase == Phase::Assigned {
            self.enter(Phase::Unassigned);
        }
        self.speak(consumer, holdings, now);
        self.tell(consumer, holdings);
    }

    /// What the client reports of this member and its group.
    pub(super) fn heard(&mut self, error: &ClientError) {
        tracing::debug!(%error, "the consumer reports an error");
        self.reasons.heard(error);
    }

    fn probe(&self, consumer: &BaseConsumer<Group>) -> bool {
        let topic = self.topics.first().map(String::as_str);
        let reached = consumer.fetch_metadata(topic, PROBE_LIMIT).is_ok();
        if reached {
            consumer.context().listener.reached();
        }
        reached
    }

    fn enter(&mut self, phase: Phase) {
        if phase == self.phase {
            return;
        }
        if phase == Phase::Assigned {
            self.reasons = Reasons::default();
        }
        if self.phase == Phase::Connecting && self.spoke {
            tracing::info!(bootstrap = self.bootstrap, group = self.group, "Kafka answers again");
        }
        let now = Instant::now();
        self.phase = phase;
        self.since = now;
        self.reason = None;
        self.spoke = false;
        self.next_word = if phase == Phase::Connecting { now } else { now + self.assignment_notice };
    }

    fn speak(&mut self, consumer: &BaseConsumer<Group>, holdings: &Holdings<'_>, now: Instant) {
        let probed = self.next_probe > self.since;
        if now < self.next_word || !probed {
            return;
        }
        let (group, bootstrap) = (self.group.as_str(), self.bootstrap.as_str());
        let for_s = self.since.elapsed().as_secs();
        match self.phase {
            Phase::Connecting => {
                let error =
                    consumer.context().listener.last_error().unwrap_or_else(|| "no answer".to_owned());
                tracing::warn!(
                    bootstrap,
                    group,
                    for_s,
                    error,
                    "no Kafka broker answers; keylane keeps trying"
                );
                self.next_word = now + SAY_UNREACHABLE_EVERY;
            }
            Phase::Unassigned => {
                let reason =
                    self.reasons.likely(consumer, group, &self.topics, (holdings.joined, self.protocol));
                tracing::warn!(group, for_s, reason, "the group has given this host no partition");
                self.reason = Some(reason);
                self.next_word = now + SAY_UNASSIGNED_EVERY;
            }
            Phase::Assigned if holdings.waiting > 0 => {
                let reason = holdings.database.or(holdings.waiting_for);
                let waiting_for = reason.unwrap_or("the member that stores the start");
                let waiting = holdings.waiting;
                tracing::warn!(group, waiting, waiting_for, "partitions wait until they can be read");
                self.next_word = now + SAY_UNASSIGNED_EVERY;
            }
            Phase::Assigned => return,
        }
        self.spoke = true;
    }

    fn tell(&self, consumer: &BaseConsumer<Group>, holdings: &Holdings<'_>) {
        let health = match self.phase {
            Phase::Connecting => {
                Health::Connecting { since: self.since, last_error: consumer.context().listener.last_error() }
            }
            Phase::Unassigned => {
                let (since, joined, reason) = (self.since, holdings.joined, self.reason.clone());
                Health::Unassigned { since, joined, reason }
            }
            Phase::Assigned => {
                let mut faulted = faults(holdings.feeds);
                let partitions = holdings.feeds.len() - faulted.len();
                faulted.extend(holdings.refused.iter().cloned());
                let database = holdings.database.map(str::to_owned);
                let (waiting, cuts) = (holdings.waiting, holdings.cuts.clone());
                Health::Assigned { partitions, waiting, database, cuts, faulted }
            }
        };
        self.health.send_if_modified(|told| {
            let news = *told != health;
            if news {
                *told = health;
            }
            news
        });
    }
}

fn faults(feeds: &[Feed]) -> Vec<PartitionFault> {
    feeds
        .iter()
        .filter_map(|feed| {
            Some(PartitionFault { partition: feed.partition.clone(), reason: feed.stopped()? })
        })
        .collect()
}

/// Records between the partitions' progress and their ends. None until every end is known.
pub(super) fn lag(consumer: &BaseConsumer<Group>, holdings: &Holdings<'_>) -> Option<u64> {
    let behind = |feed: &Feed| feed.inbox.lag(crate::native::known_high_watermark(consumer, &feed.partition));
    // All are asked, since each shows its own as a metric.
    let lags: Vec<Option<u64>> = holdings.feeds.iter().map(behind).collect();
    if holdings.waiting > 0 || !holdings.refused.is_empty() || lags.is_empty() {
        return None;
    }
    lags.into_iter().sum()
}
