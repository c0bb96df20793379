//! The task of a relay: waits for the lease, works while it has it, and takes over anew after any trouble.
//!
//! Who owns: one task of each host for each database; at most one of them has the lease. Who waits: the
//! others, who ask again [`RENEWALS`] times in a lease's time; a task waits for nothing else but the database and the ways
//! out, which have limits of their own. Who wakes: the clock, or [`Relay::stop`]. What bounds: one batch and
//! one handful of mails under way.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use keylane_engine::Epoch;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::relay::ports::{MailSender, RelaySenders, SendError};
use crate::relay::store::{Applicant, Leased, Outbox, OutboxError};
use crate::relay::{mails, meters, records};

/// How long a lease is good without being renewed, unless the configuration says otherwise.
const LEASE: Duration = Duration::from_secs(10);
/// A lease is renewed, and asked for by the others, so often in its time.
const RENEWALS: u32 = 4;
/// How long giving the lease back may take; one that is not given back runs out.
const RELEASE_LIMIT: Duration = Duration::from_secs(3);
/// Time between two looks at the outbox's figures.
const COUNT_EVERY: Duration = Duration::from_secs(15);
/// The wait after trouble; each further trouble in a row doubles it, up to the other.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// Time between two words about a relay that is stopped.
const SAY_STOPPED_EVERY: Duration = Duration::from_secs(300);
/// How long a stop waits for the batch under way, beside what a mail may take, before that is given up.
const STOP_LIMIT: Duration = Duration::from_secs(15);

/// Whose relay this is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayConfig {
    /// The fleet.
    pub fleet: String,
    /// This host's name, for people.
    pub host: String,
    /// The database's name in the host's configuration, for logs and metrics.
    pub name: String,
    /// How long the lease is good without being renewed: so long the outbox waits when the host that
    /// relays dies. What keeps two of them apart are epochs, not this.
    pub lease: Duration,
    /// How long a stop waits for the batch under way, beside what the mails under way may take: a mail that is
    /// given up after the server took it is sent again.
    pub stop: Duration,
}

impl RelayConfig {
    /// All else by default.
    #[must_use]
    pub fn new(fleet: impl Into<String>, host: impl Into<String>, name: impl Into<String>) -> Self {
        let (fleet, host, name) = (fleet.into(), host.into(), name.into());
        Self { fleet, host, name, lease: LEASE, stop: STOP_LIMIT }
    }
}

/// What a relay does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RelayStatus {
    /// It has the lease and opens the way to Kafka.
    Opening,
    /// It relays.
    Relaying,
    /// Another host does.
    Standby {
        /// That host.
        by: String,
    },
    /// Something does not answer; it tries again.
    Failing {
        /// What.
        reason: String,
    },
    /// It does nothing until an operator decides.
    Stopped {
        /// Why, and what can be done.
        reason: String,
    },
}

/// A relay that runs.
pub struct Relay {
    task: JoinHandle<()>,
    stopping: watch::Sender<bool>,
    status: watch::Receiver<RelayStatus>,
    stop_limit: Duration,
}

impl Relay {
    /// Starts it. Neither database nor Kafka need answer yet.
    #[must_use]
    pub fn start(
        runtime: &Handle,
        outbox: Arc<dyn Outbox>,
        senders: Arc<dyn RelaySenders>,
        mail: Option<Arc<dyn MailSender>>,
        config: RelayConfig,
    ) -> Self {
        let (stopping, stopped) = watch::channel(false);
        let (say, status) = watch::channel(RelayStatus::Opening);
        let stop_limit =
            config.stop.saturating_add(mail.as_ref().map_or(Duration::ZERO, |mail| mail.limit()));
        let work = Work { outbox, senders, mail, config, stopped, say, lease: Mutex::new(None) };
        let task = runtime.spawn(work.run());
        Self { task, stopping, status, stop_limit }
    }

    /// What it does now.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<RelayStatus> {
        self.status.clone()
    }

    /// Ends it after the batch and the mails under way, and gives the lease back. Waits no longer than that may
    /// take.
    pub async fn stop(mut self) {
        let _ended = self.stopping.send(true);
        let _given_up = tokio::time::timeout(self.stop_limit, &mut self.task).await;
    }
}

impl Drop for Relay {
    /// Ends it at once, wherever it is: what became of that, whoever relays next finds out.
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Why a turn with the lease has ended.
#[derive(Debug)]
pub(super) enum End {
    /// The host stops, or another part of the turn has ended.
    Asked,
    /// The lease or the way is another's now.
    Lost,
    /// Something does not answer.
    Failed(String),
    /// Database and Kafka do not agree.
    Stopped(String),
}

impl From<OutboxError> for End {
    fn from(error: OutboxError) -> Self {
        match error {
            OutboxError::NotOwner => Self::Lost,
            OutboxError::OtherFleet { .. } => Self::Stopped(error.to_string()),
            // Whoever takes over, this host as well, compares the outbox with Kafka.
            OutboxError::SetBack { .. } => Self::Failed(error.to_string()),
            OutboxError::Database(error) if error.can_retry() => Self::Failed(error.to_string()),
            OutboxError::Database(error) => Self::Stopped(error.to_string()),
        }
    }
}

impl From<SendError> for End {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Superseded => Self::Lost,
            SendError::Refused { .. } | SendError::Failed(_) => Self::Failed(error.to_string()),
        }
    }
}

/// What the task has.
pub(super) struct Work {
    pub(super) outbox: Arc<dyn Outbox>,
    pub(super) senders: Arc<dyn RelaySenders>,
    pub(super) mail: Option<Arc<dyn MailSender>>,
    pub(super) config: RelayConfig,
    stopped: watch::Receiver<bool>,
    say: watch::Sender<RelayStatus>,
    /// Until when the lease is good, by this host's clock; counted from before it was asked for.
    lease: Mutex<Option<Instant>>,
}

impl Work {
    async fn run(self) {
        let mut former = None;
        let mut troubles = 0_u32;
        let mut said: Option<(String, Instant)> = None;
        let mut stopped = self.stopped.clone();
        while !*stopped.borrow() {
            let began = Instant::now();
            let pause = match self.turn(&mut former).await {
                End::Asked => Duration::ZERO,
                End::Lost => self.every(),
                End::Failed(reason) => {
                    metrics::counter!(meters::FAILED, "database" => self.config.name.clone()).increment(1);
                    troubles = if began.elapsed() > PAUSE_MAX { 0 } else { troubles };
                    tracing::warn!(database = self.config.name, reason, "the relay begins anew");
                    self.tell(RelayStatus::Failing { reason });
                    troubles = troubles.saturating_add(1);
                    FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(troubles.min(10))).min(PAUSE_MAX)
                }
                End::Stopped(reason) => {
                    self.say_stopped(&mut said, reason);
                    self.every()
                }
            };
            let _over = tokio::time::timeout(jittered(pause), stopped.wait_for(|stopped| *stopped)).await;
        }
        if let Some(epoch) = former {
            let _given_up = tokio::time::timeout(RELEASE_LIMIT, self.outbox.release(epoch)).await;
        }
    }

    fn every(&self) -> Duration {
        self.config.lease / RENEWALS
    }

    /// Says it aloud once, and again every few minutes.
    fn say_stopped(&self, said: &mut Option<(String, Instant)>, reason: String) {
        let fresh = |(before, at): &(String, Instant)| *before == reason && at.elapsed() < SAY_STOPPED_EVERY;
        if !said.as_ref().is_some_and(fresh) {
            tracing::error!(database = self.config.name, reason, "the relay has stopped");
            *said = Some((reason.clone(), Instant::now()));
        }
        self.tell(RelayStatus::Stopped { reason });
    }

    fn tell(&self, status: RelayStatus) {
        let relaying = f64::from(u8::from(status == RelayStatus::Relaying));
        metrics::gauge!(meters::RELAYING, "database" => self.config.name.clone()).set(relaying);
        self.say.send_if_modified(|told| {
            let changed = *told != status;
            *told = status;
            changed
        });
    }

    /// Waits for the lease and works for as long as it is had.
    async fn turn(&self, former: &mut Option<Epoch>) -> End {
        let epoch = match self.lease(*former).await {
            Ok(epoch) => epoch,
            Err(end) => return end,
        };
        *former = Some(epoch);
        metrics::counter!(meters::TAKEN, "database" => self.config.name.clone()).increment(1);
        self.tell(RelayStatus::Opening);
        let (end, _) = watch::channel(false);
        let parts = async {
            let done = self.open_and_work(epoch, &end).await;
            let _told = end.send(true);
            done
        };
        let (worked, renewed) = tokio::join!(parts, self.renew(epoch, &end));
        first_reason(renewed, worked)
    }

    async fn lease(&self, former: Option<Epoch>) -> Result<Epoch, End> {
        let asked = Instant::now();
        let RelayConfig { fleet, host, lease: time, .. } = self.config.clone();
        let applicant = Applicant { fleet, host, former, time };
        match self.outbox.lease(&applicant).await? {
            Leased::Ours(epoch) => {
                self.note_lease(asked);
                Ok(epoch)
            }
            Leased::Held { by } => {
                self.tell(RelayStatus::Standby { by });
                Err(End::Lost)
            }
        }
    }

    fn note_lease(&self, asked: Instant) {
        *self.lease.lock().unwrap_or_else(PoisonError::into_inner) = Some(asked + self.config.lease);
    }

    /// Whether the lease is surely still ours.
    fn has_lease(&self) -> bool {
        let until = *self.lease.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() < until)
    }

    /// Whether something may still be begun that only the one with the lease may do.
    pub(super) fn may_begin(&self, end: &watch::Sender<bool>) -> bool {
        self.has_lease() && !*end.borrow() && !*self.stopped.borrow()
    }

    /// Renews the lease, however long the ways out take, and shows the outbox's figures.
    async fn renew(&self, epoch: Epoch, end: &watch::Sender<bool>) -> End {
        let mut counted: Option<Instant> = None;
        while !pause(end, &self.stopped, self.every()).await {
            let asked = Instant::now();
            if let Err(error) = self.outbox.renew(epoch, self.config.lease).await {
                let _told = end.send(true);
                return error.into();
            }
            self.note_lease(asked);
            if counted.is_none_or(|counted| counted.elapsed() > COUNT_EVERY) {
                counted = Some(Instant::now());
                self.show_counts().await;
            }
        }
        End::Asked
    }

    async fn show_counts(&self) {
        let Ok(counts) = self.outbox.counts().await else { return };
        let name = || self.config.name.clone();
        metrics::gauge!(meters::ROWS, "database" => name(), "kind" => "record").set(counts.records as f64);
        metrics::gauge!(meters::ROWS, "database" => name(), "kind" => "mail").set(counts.mails as f64);
        metrics::gauge!(meters::PARKED, "database" => name()).set(counts.parked as f64);
        metrics::gauge!(meters::OLDEST, "database" => name()).set(counts.oldest_ms as f64 / 1_000.0);
    }

    async fn open_and_work(&self, epoch: Epoch, end: &watch::Sender<bool>) -> End {
        match self.open(epoch).await {
            Ok((sender, opened)) => {
                self.tell(RelayStatus::Relaying);
                let one = async {
                    let done = records::relay(self, epoch, end, sender, opened).await;
                    let _told = end.send(true);
                    done
                };
                let other = async {
                    let done = mails::relay(self, epoch, end).await;
                    let _told = end.send(true);
                    done
                };
                let (records, mails) = tokio::join!(one, other);
                first_reason(records, mails)
            }
            Err(end) => end,
        }
    }

    /// Waits, unless the turn ends. Answers whether it has.
    pub(super) async fn pause(&self, end: &watch::Sender<bool>, time: Duration) -> bool {
        pause(end, &self.stopped, time).await
    }
}

/// Waits, unless the turn ends. Answers whether it has.
async fn pause(end: &watch::Sender<bool>, stopped: &watch::Receiver<bool>, time: Duration) -> bool {
    let (mut end, mut stopped) = (end.subscribe(), stopped.clone());
    let either = async {
        tokio::select! {
            // A sender that is gone has ended as well.
            _ = end.wait_for(|ended| *ended) => {}
            _ = stopped.wait_for(|stopped| *stopped) => {}
        }
    };
    tokio::time::timeout(time, either).await.is_ok()
}

/// The reason that is none of having been asked.
fn first_reason(one: End, other: End) -> End {
    match (one, other) {
        (End::Asked, other) => other,
        (one, _) => one,
    }
}

/// Between half of it and all of it, so that hosts do not ask in step.
fn jittered(time: Duration) -> Duration {
    use std::hash::{BuildHasher, RandomState};
    let share = RandomState::new().hash_one(()) % 512;
    time.mul_f64(0.5 + share as f64 / 1_024.0)
}
