//! The intake: one handler's consumer, on a thread of its own.

mod assignment;
mod checks;
mod commits;
mod feed;
mod group;
mod life;
mod look;
mod lookout;
mod loss;
mod parting;
mod poller;
mod reasons;
mod set_back;
mod shared;
mod start;
mod takes;
mod taking;
#[cfg(test)]
mod testing;
mod topics;
mod watchdog;
mod widths;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use keylane_engine::{BootClock, Claims, Owners};
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};

use self::life::{Ended, Making, Signals};
use self::look::looks;
pub use self::look::{Looker, PartitionLook};
use self::poller::FINAL_COMMIT_LIMIT;
pub use self::shared::Pulse;
use self::shared::{Doorbell, LAG_UNKNOWN, Shared};
use self::watchdog::Times;
use crate::boot_clock::BootTime;
use crate::config::{ConsumerConfig, KafkaConfig};
use crate::error::KafkaError;
use crate::health::Health;

/// The longest wait for the goodbye to the group. Without a coordinator it takes as long as the session:
/// then the thread is left to itself, and the group notices when the session ends.
const LEAVE_LIMIT: Duration = Duration::from_secs(3);
/// What the polling thread may need beyond its own limits before it notices the wish to stop.
const NOTICE_LIMIT: Duration = Duration::from_secs(5);

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
    /// [`Intake::health`]. With `claims`, for a handler with a write database, each partition is taken in
    /// that database first; the takes are tasks on `runtime`.
    ///
    /// # Errors
    /// A property that is refused, a configuration the client does not accept, or no thread to be had.
    pub fn start(
        kafka: &KafkaConfig,
        config: ConsumerConfig,
        owners: Arc<dyn Owners>,
        claims: Option<Arc<dyn Claims>>,
        runtime: Handle,
    ) -> Result<Self, KafkaError> {
        Self::start_with(kafka, config, owners, claims, runtime, Arc::new(BootTime))
    }

    /// [`Intake::start`] with another clock for the proof of life.
    ///
    /// # Errors
    /// As [`Intake::start`].
    pub fn start_with(
        kafka: &KafkaConfig,
        config: ConsumerConfig,
        owners: Arc<dyn Owners>,
        claims: Option<Arc<dyn Claims>>,
        runtime: Handle,
        clock: Arc<dyn BootClock>,
    ) -> Result<Self, KafkaError> {
        kafka.check()?;
        let shared = Arc::new(Shared::new());
        let starting = Health::Connecting { since: Instant::now(), last_error: None };
        let (health_sender, health) = watch::channel(starting);
        let (looker, looks) = looks(shared.doorbell.clone());
        let (group, times) = (config.group.clone(), Times::of(config.drain_limit));
        let kafka = kafka.clone();
        let making = Making {
            kafka,
            config,
            health: health_sender,
            owners,
            claims: claims.map(|claims| (claims, runtime)),
            clock,
            shared: shared.clone(),
        };
        let poller = making.poller(making.lookout(), looks)?;
        let (ended_sender, ended) = oneshot::channel();
        let (left_sender, left) = oneshot::channel();
        let signals = Signals { ended: ended_sender, left: left_sender };
        let refused = |name: &str, error: std::io::Error| KafkaError::Thread {
            name: name.to_owned(),
            reason: error.to_string(),
        };
        let name = "kafka-intake";
        let body = move || making.live(poller, signals);
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(body)
            .map_err(|error| refused(name, error))?;
        // Rings before this line are lost, which costs the thread one rescan.
        let _first = shared.doorbell.thread.set(thread.thread().clone());
        let intake = Self { shared, health, looker, ended: Some((ended, left)) };
        watchdog::watch(&intake.shared, group, times).map_err(|error| refused("kafka-watchdog", error))?;
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

    /// Tells whether its polling thread turns, for as long as the intake lives and beyond.
    #[must_use]
    pub fn pulse(&self) -> Pulse {
        Pulse::of(&self.shared)
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
