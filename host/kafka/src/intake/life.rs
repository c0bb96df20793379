//! The polling thread's life: how its client is made, why it is made anew, and what is told at its end.
//!
//! A static member of KIP-848 that was killed lives on in its group until its session ends, and until then
//! the coordinator turns away whoever comes with its name. The client takes that for its own end. So it is
//! dropped, and another one asks again every [`ASK_AGAIN`], without end: two hosts that were given one name
//! look the same from here, and the second is let in when the first goes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use keylane_engine::{BootClock, Claims, Lease, Owners};
use rdkafka::consumer::{BaseConsumer, Consumer};
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};

use super::commits::Committer;
use super::commits::cuts::Cuts;
use super::group::Group;
use super::look::Looks;
use super::lookout::{Lookout, SAY_UNASSIGNED_EVERY};
use super::poller::{Failure, Parts, Poller};
use super::shared::Shared;
use super::takes::Takes;
use super::topics::TopicWatch;
use crate::config::{ConsumerConfig, KafkaConfig};
use crate::error::KafkaError;
use crate::health::Health;
use crate::native::{CommitQueue, Inquiries};

/// Time between being turned away and asking again.
const ASK_AGAIN: Duration = Duration::from_secs(3);

/// What the polling thread says when everything is put down, before it leaves the group.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Ended {
    pub(super) drained: bool,
    pub(super) committed: bool,
}

/// Where the thread tells that it has put everything down, and that it has left.
pub(super) struct Signals {
    pub(super) ended: oneshot::Sender<Ended>,
    pub(super) left: oneshot::Sender<()>,
}

/// A member that the group does not let in.
struct TurnedAway {
    since: Instant,
    /// When that was said last.
    said_at: Option<Instant>,
}

impl TurnedAway {
    fn now() -> Self {
        Self { since: Instant::now(), said_at: None }
    }

    /// Counts it, and says it the first time and then now and then.
    fn tell(&mut self, group: &str, reason: &str) {
        metrics::counter!("keylane_kafka_turned_away_total", "group" => group.to_owned()).increment(1);
        if self.said_at.is_some_and(|said_at| said_at.elapsed() < SAY_UNASSIGNED_EVERY) {
            return;
        }
        self.said_at = Some(Instant::now());
        let for_s = self.since.elapsed().as_secs();
        tracing::warn!(group, reason, for_s, "the group turned this member away; it asks again");
    }
}

/// What a polling thread is made from, as often as it takes.
pub(super) struct Making {
    pub(super) kafka: KafkaConfig,
    pub(super) config: ConsumerConfig,
    pub(super) health: watch::Sender<Health>,
    pub(super) owners: Arc<dyn Owners>,
    /// For a handler with a write database: its claims, and where they are asked.
    pub(super) claims: Option<(Arc<dyn Claims>, Handle)>,
    pub(super) clock: Arc<dyn BootClock>,
    pub(super) shared: Arc<Shared>,
}

impl Making {
    /// Who tells how the member is doing.
    pub(super) fn lookout(&self) -> Lookout {
        Lookout::new(self.health.clone(), &self.kafka.bootstrap, &self.config)
    }

    /// A member that asks to be let into its group.
    pub(super) fn poller(&self, lookout: Lookout, looks: Looks) -> Result<Poller, KafkaError> {
        let Self { kafka, config, owners, clock, shared, .. } = self;
        let client = |reason: String| KafkaError::Client { bootstrap: kafka.bootstrap.clone(), reason };
        let no_memory = || client("no memory for a queue".to_owned());
        let ring = || {
            let doorbell = shared.doorbell.clone();
            move || doorbell.ring()
        };
        let mut consumer: BaseConsumer<Group> = kafka
            .consumer(config)
            .create_with_context(Group::default())
            .map_err(|error| KafkaError::from_creation(&kafka.bootstrap, error))?;
        consumer.set_nonempty_callback(ring());
        let consumer = Arc::new(consumer);
        let commits = CommitQueue::new(consumer.clone(), Box::new(ring())).ok_or_else(no_memory)?;
        let inquiries = Inquiries::new(consumer.clone(), Box::new(ring())).ok_or_else(no_memory)?;
        let lease = Arc::new(Lease::new(config.session_timeout, clock.clone()));
        let topics = TopicWatch::new(inquiries, config.all_topics());
        let names: Vec<&str> = config.all_topics().collect();
        consumer.subscribe(&names).map_err(|error| client(error.to_string()))?;
        let (group, interval) = (config.group.clone(), config.commit_interval);
        let takes = self
            .claims
            .clone()
            .map(|(claims, runtime)| Takes::new(claims, runtime, shared.doorbell.clone(), &config.group));
        let cuts = config.cut_interval.map(|every| Cuts::start(kafka, config, every, Box::new(ring())));
        let cuts = cuts.transpose()?;
        let parts = Parts {
            commits: Committer::new(commits, consumer.clone(), group, interval, lease, cuts),
            topics,
            lookout,
            owners: owners.clone(),
            config: config.clone(),
            shared: shared.clone(),
            looks,
            clock: clock.clone(),
            consumer,
        };
        Ok(Poller::new(parts, takes))
    }

    /// Polls until it is asked to stop; asks anew where it is turned away. Whatever the end is, the poller is
    /// left where it was: its own end may take long, and is not to come before the word about it.
    fn attend(&self, place: &mut Option<Poller>) -> Result<Ended, Failure> {
        let mut turned_away: Option<TurnedAway> = None;
        while let Some(poller) = place.as_mut() {
            let reason = match poller.run() {
                Err(Failure::TurnedAway(reason)) => reason,
                ended => return ended,
            };
            let (looks, is_idle) = (poller.take_looks(), poller.feeds.is_empty());
            *place = None;
            let turned_away = turned_away.get_or_insert_with(TurnedAway::now);
            turned_away.tell(&self.config.group, &reason);
            let since = turned_away.since;
            if !self.may_ask_again(since, &reason) {
                return Ok(Ended { drained: is_idle, committed: is_idle });
            }
            let poller = self.poller(self.lookout().turned_away(since, reason), looks);
            *place = Some(poller.map_err(|error| Failure::ForGood(error.to_string()))?);
        }
        Ok(Ended::default())
    }

    /// Waits until it is time to ask again. Answers whether nobody wants the thread to stop.
    fn may_ask_again(&self, since: Instant, reason: &str) -> bool {
        let reason = Some(reason.to_owned());
        self.health.send_replace(Health::Unassigned { since, joined: false, reason });
        let until = Instant::now() + ASK_AGAIN;
        while self.shared.stop_at().is_none() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            std::thread::park_timeout(left);
            self.shared.turned();
        }
        false
    }

    /// The thread's life. A panic is a fault of the host: it is told, and the partitions are given up.
    pub(super) fn live(self, poller: Poller, signals: Signals) {
        let mut place = Some(poller);
        let outcome = catch_unwind(AssertUnwindSafe(|| self.attend(&mut place)));
        self.shared.over.store(true, Ordering::Release);
        let reason = match outcome {
            Ok(Ok(ended)) => {
                // Nobody listens after a drop without stop.
                let _unheard = signals.ended.send(ended);
                drop(place);
                self.health.send_replace(Health::Stopped);
                let _unheard = signals.left.send(());
                return;
            }
            Ok(Err(failure)) => failure.to_string(),
            Err(_) => "the polling thread panicked; see the log before this line".to_owned(),
        };
        tracing::error!(reason, "the consumer stopped");
        self.health.send_replace(Health::Failed { reason });
    }
}
