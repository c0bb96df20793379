//! The intake: one handler's consumer, on a thread of its own.

mod commits;
mod feed;
mod group;
mod lookout;
mod poller;
mod start;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;
use std::time::{Duration, Instant};

use keylane_engine::Owners;
use rdkafka::consumer::{BaseConsumer, Consumer};
use tokio::sync::{oneshot, watch};

use self::commits::Committer;
use self::group::Group;
use self::lookout::Lookout;
use self::poller::{FINAL_COMMIT_LIMIT, Failure, Poller};
use crate::config::{ConsumerConfig, KafkaConfig};
use crate::error::KafkaError;
use crate::health::Health;

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
}

impl Shared {
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
        kafka.check()?;
        let shared = Arc::new(Shared {
            stop: OnceLock::new(),
            doorbell: Arc::new(Doorbell::default()),
            lag: AtomicI64::new(LAG_UNKNOWN),
        });
        let starting = Health::Connecting { since: Instant::now(), last_error: None };
        let (health_sender, health) = watch::channel(starting);
        let lookout = Lookout::new(health_sender, &kafka.bootstrap, &config);
        let poller = poller(kafka, config, lookout, owners, shared.clone())?;
        let (ended_sender, ended) = oneshot::channel();
        let (left_sender, left) = oneshot::channel();
        let signals = Signals { ended: ended_sender, left: left_sender };
        let name = "kafka-intake".to_owned();
        let (doorbell, body) = (shared.doorbell.clone(), move || live(poller, signals));
        let thread = std::thread::Builder::new()
            .name(name.clone())
            .spawn(body)
            .map_err(|error| KafkaError::Thread { name, reason: error.to_string() })?;
        // Rings before this line are lost, which costs the thread one rescan.
        let _first = doorbell.thread.set(thread.thread().clone());
        Ok(Self { shared, health, ended: Some((ended, left)) })
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

fn poller(
    kafka: &KafkaConfig,
    config: ConsumerConfig,
    lookout: Lookout,
    owners: Arc<dyn Owners>,
    shared: Arc<Shared>,
) -> Result<(Poller, watch::Sender<Health>), KafkaError> {
    let client = |reason: String| KafkaError::Client { bootstrap: kafka.bootstrap.clone(), reason };
    let mut consumer: BaseConsumer<Group> = kafka
        .consumer(&config)
        .create_with_context(Group::default())
        .map_err(|error| KafkaError::from_creation(&kafka.bootstrap, error))?;
    let doorbell = shared.doorbell.clone();
    consumer.set_nonempty_callback(move || doorbell.ring());
    let consumer = Arc::new(consumer);
    let commits = Committer::new(consumer.clone(), config.group.clone(), config.commit_interval)
        .ok_or_else(|| client("no queue for commits".to_owned()))?;
    let topics: Vec<&str> = config.topics.iter().map(String::as_str).collect();
    consumer.subscribe(&topics).map_err(|error| client(error.to_string()))?;
    let health = lookout.health();
    Ok((Poller::new(consumer, commits, lookout, owners, config, shared), health))
}

/// The thread's life. A panic is a fault of the host: it is told, and the partitions are given up.
fn live((mut poller, health): (Poller, watch::Sender<Health>), signals: Signals) {
    let reason = match catch_unwind(AssertUnwindSafe(|| poller.run())) {
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
