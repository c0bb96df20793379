//! The intake: one handler's consumer, on a thread of its own.

mod assignment;
mod commits;
mod feed;
mod group;
mod look;
mod lookout;
mod loss;
mod parting;
mod poller;
mod reasons;
mod start;
mod topics;
mod watchdog;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

use keylane_engine::{BootClock, Lease, Owners};
use rdkafka::consumer::{BaseConsumer, Consumer};
use tokio::sync::{oneshot, watch};

use self::commits::Committer;
use self::group::Group;
pub use self::look::{Looker, PartitionLook};
use self::look::{Looks, looks};
use self::lookout::Lookout;
use self::poller::{FINAL_COMMIT_LIMIT, Failure, Parts, Poller};
use self::topics::TopicWatch;
use crate::boot_clock::BootTime;
use crate::config::{ConsumerConfig, KafkaConfig};
use crate::error::KafkaError;
use crate::health::Health;
use crate::native::{CommitQueue, Inquiries};

/// The longest wait for the goodbye to the group. Without a coordinator it takes as long as the session:
/// then the thread is left to itself, and the group notices when the session ends.
const LEAVE_LIMIT: Duration = Duration::from_secs(3);
/// What the polling thread may need beyond its own limits before it notices the wish to stop.
const NOTICE_LIMIT: Duration = Duration::from_secs(5);
/// What [`Shared::lag`] holds while the lag is not known.
const LAG_UNKNOWN: i64 = -1;

/// Wakes the polling thread. Ringing never blocks and may be done by anybody.
#[derive(Debug, Default)]
struct Doorbell {
    thread: OnceLock<Thread>,
}

impl Doorbell {
    fn ring(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }
}

/// What the handle and the polling thread share.
#[derive(Debug)]
struct Shared {
    /// Set once: until when partitions may drain.
    stop: OnceLock<Instant>,
    doorbell: Arc<Doorbell>,
    lag: AtomicI64,
    /// When the thread began its latest turn.
    turned_at: Mutex<Instant>,
    /// Set when the thread has ended.
    over: AtomicBool,
}

impl Shared {
    fn new() -> Self {
        Self {
            stop: OnceLock::new(),
            doorbell: Arc::new(Doorbell::default()),
            lag: AtomicI64::new(LAG_UNKNOWN),
            turned_at: Mutex::new(Instant::now()),
            over: AtomicBool::new(false),
        }
    }

    /// The thread begins a turn. The lock is held for one assignment, by the thread and the watchdog.
    fn turned(&self) {
        *self.turned_at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// How long the latest turn has taken. None when the thread has ended.
    fn turn_age(&self) -> Option<Duration> {
        let turned_at = *self.turned_at.lock().unwrap_or_else(PoisonError::into_inner);
        (!self.over.load(Ordering::Acquire)).then(|| turned_at.elapsed())
    }

    fn stop_at(&self) -> Option<Instant> {
        self.stop.get().copied()
    }

    fn ask_to_stop(&self, until: Instant) {
        // The first wish counts.
        let _already = self.stop.set(until);
        self.doorbell.ring();
    }
}

/// How an intake ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Farewell {
    /// Everything that ran was finished.
    pub drained: bool,
    /// The coordinator has the final positions.
    pub committed: bool,
    /// The group knows that this member is gone, so others get its partitions at once.
    pub left: bool,
}

/// What the polling thread says when everything is put down, before it leaves the group.
#[derive(Debug, Clone, Copy, Default)]
struct Ended {
    drained: bool,
    committed: bool,
}

/// Where the thread tells that it has put everything down, and that it has left.
struct Signals {
    ended: oneshot::Sender<Ended>,
    left: oneshot::Sender<()>,
}

/// One handler's consumer. Dropping it without [`Intake::stop`] gives the partitions up at once and
/// does not wait.
#[derive(Debug)]
pub struct Intake {
    shared: Arc<Shared>,
    health: watch::Receiver<Health>,
    looker: Looker,
    ended: Option<(oneshot::Receiver<Ended>, oneshot::Receiver<()>)>,
}

impl Intake {
    /// Joins the group and starts reading. Returns at once: brokers need not answer yet, see
    /// [`Intake::health`].
    ///
    /// # Errors
    /// A property that is refused, a configuration the client does not accept, or no thread to be had.
    pub fn start(
        kafka: &KafkaConfig,
        config: ConsumerConfig,
        owners: Arc<dyn Owners>,
    ) -> Result<Self, KafkaError> {
        Self::start_with(kafka, config, owners, Arc::new(BootTime))
    }

    /// [`Intake::start`] with another clock for the proof of life.
    ///
    /// # Errors
    /// As [`Intake::start`].
    pub fn start_with(
        kafka: &KafkaConfig,
        config: ConsumerConfig,
        owners: Arc<dyn Owners>,
        clock: Arc<dyn BootClock>,
    ) -> Result<Self, KafkaError> {
        kafka.check()?;
        let shared = Arc::new(Shared::new());
        let starting = Health::Connecting { since: Instant::now(), last_error: None };
        let (health_sender, health) = watch::channel(starting);
        let lookout = Lookout::new(health_sender, &kafka.bootstrap, &config);
        let (looker, looks) = looks(shared.doorbell.clone());
        let (group, drain_limit) = (config.group.clone(), config.drain_limit);
        let making = Making { kafka, config, lookout, looks, owners, clock, shared: shared.clone() };
        let poller = making.poller()?;
        let (ended_sender, ended) = oneshot::channel();
        let (left_sender, left) = oneshot::channel();
        let signals = Signals { ended: ended_sender, left: left_sender };
        let refused = |name: &str, error: std::io::Error| KafkaError::Thread {
            name: name.to_owned(),
            reason: error.to_string(),
        };
        let (life, name) = (shared.clone(), "kafka-intake");
        let body = move || live(poller, signals, &life);
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(body)
            .map_err(|error| refused(name, error))?;
        // Rings before this line are lost, which costs the thread one rescan.
        let _first = shared.doorbell.thread.set(thread.thread().clone());
        let intake = Self { shared, health, looker, ended: Some((ended, left)) };
        watchdog::watch(&intake.shared, group, drain_limit)
            .map_err(|error| refused("kafka-watchdog", error))?;
        Ok(intake)
    }

    /// How it is doing, now and from now on.
    #[must_use]
    pub fn health(&self) -> watch::Receiver<Health> {
        self.health.clone()
    }

    /// Records of this host's partitions that are not ended yet, as of the latest fetches. None while it
    /// is not known.
    #[must_use]
    pub fn lag(&self) -> Option<u64> {
        u64::try_from(self.shared.lag.load(Ordering::Relaxed)).ok()
    }

    /// Looks at the partitions, for as long as the intake lives and beyond.
    #[must_use]
    pub fn looker(&self) -> Looker {
        self.looker.clone()
    }

    /// Finishes what runs, for at most `limit`, commits, and leaves the group. Events that were not
    /// finished are repeated by whoever gets the partition next.
    pub async fn stop(mut self, limit: Duration) -> Farewell {
        self.shared.ask_to_stop(Instant::now() + limit);
        let Some((ended, left)) = self.ended.take() else {
            return Farewell { drained: false, committed: false, left: false };
        };
        let put_down = limit + FINAL_COMMIT_LIMIT + NOTICE_LIMIT;
        let ended = tokio::time::timeout(put_down, ended).await;
        let Ended { drained, committed } = ended.ok().and_then(Result::ok).unwrap_or_default();
        let left = matches!(tokio::time::timeout(LEAVE_LIMIT, left).await, Ok(Ok(())));
        if !left {
            tracing::warn!("the goodbye to the group was not heard; it notices when the session ends");
        }
        Farewell { drained, committed, left }
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        self.shared.ask_to_stop(Instant::now());
    }
}

/// What a polling thread is made from.
struct Making<'a> {
    kafka: &'a KafkaConfig,
    config: ConsumerConfig,
    lookout: Lookout,
    looks: Looks,
    owners: Arc<dyn Owners>,
    clock: Arc<dyn BootClock>,
    shared: Arc<Shared>,
}

impl Making<'_> {
    fn poller(self) -> Result<(Poller, watch::Sender<Health>), KafkaError> {
        let Self { kafka, config, lookout, looks, owners, clock, shared } = self;
        let client = |reason: String| KafkaError::Client { bootstrap: kafka.bootstrap.clone(), reason };
        let no_memory = || client("no memory for a queue".to_owned());
        let ring = || {
            let doorbell = shared.doorbell.clone();
            move || doorbell.ring()
        };
        let mut consumer: BaseConsumer<Group> = kafka
            .consumer(&config)
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
        let commits = Committer::new(commits, consumer.clone(), group, interval, lease);
        let health = lookout.health();
        let parts = Parts { commits, topics, lookout, owners, config, shared, looks, clock, consumer };
        Ok((Poller::new(parts), health))
    }
}

/// The thread's life. A panic is a fault of the host: it is told, and the partitions are given up.
fn live((mut poller, health): (Poller, watch::Sender<Health>), signals: Signals, shared: &Shared) {
    let outcome = catch_unwind(AssertUnwindSafe(|| poller.run()));
    shared.over.store(true, Ordering::Release);
    let reason = match outcome {
        Ok(Ok(ended)) => {
            // Nobody listens after a drop without stop.
            let _unheard = signals.ended.send(ended);
            drop(poller);
            health.send_replace(Health::Stopped);
            let _unheard = signals.left.send(());
            return;
        }
        Ok(Err(Failure(reason))) => reason,
        Err(_) => "the polling thread panicked; see the log before this line".to_owned(),
    };
    tracing::error!(reason, "the consumer stopped");
    health.send_replace(Health::Failed { reason });
}
