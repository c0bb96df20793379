//! The task of a relay: waits for the lease, works while it has it, and takes over anew after any trouble.
//!
//! Who owns: one task of each host for each database; at most one of them has the lease. Who waits: the
//! others, who ask again [`RENEWALS`] times in a lease's time; the one that has it, while its outbox is empty; a
//! task waits for nothing else but the database and the ways out, which have limits of their own. Who wakes: the
//! clock, [`Relay::stop`], or a run of this process (`news.rs`). What bounds: one batch and one handful of mails
//! under way.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use keylane_engine::{Epoch, Lease};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::database::OutboxKind;
use crate::relay::config::{RelayConfig, RelayStatus};
use crate::relay::news::{Listener, News};
use crate::relay::ports::{MailSender, RelaySenders, SendError};
use crate::relay::stopping::{Stop, Stopper, stop};
use crate::relay::store::{Applicant, Leased, Outbox, OutboxError};
use crate::relay::{mails, meters, records};

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
/// A relay that runs.
pub struct Relay {
    task: JoinHandle<()>,
    stopper: Stopper,
    status: watch::Receiver<RelayStatus>,
    /// How long a stop may take.
    stop: Duration,
    /// How much longer a mail may take.
    mail: Duration,
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
        let (stopper, stopping) = stop();
        let (say, status) = watch::channel(RelayStatus::Opening);
        let mail_limit = mail.as_ref().map_or(Duration::ZERO, |mail| mail.limit());
        let news = News::of(outbox.database());
        let (lease, stop) = (Lease::new(config.lease, config.clock.clone()), config.stop);
        let work = Work { outbox, senders, mail, config, news, stopping, say, lease };
        let task = runtime.spawn(work.run());
        Self { task, stopper, status, stop, mail: mail_limit }
    }

    /// What it does now.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<RelayStatus> {
        self.status.clone()
    }

    /// Ends it when what lies in the outbox has left, or has had a while for that; after the batch and the mails
    /// under way; and gives the lease back. Waits no longer than that may take.
    pub async fn stop(mut self) {
        self.stopper.ask(self.stop);
        let limit = self.stop.saturating_add(self.mail);
        let _given_up = tokio::time::timeout(limit, &mut self.task).await;
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
    /// The host stops and nothing is left to do, or another part of the turn has ended.
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
    news: Arc<News>,
    stopping: Stop,
    say: watch::Sender<RelayStatus>,
    /// Whether the lease is surely still ours: counted from before it was asked for, by a clock that goes on while
    /// the machine sleeps. Another host may send the same mails meanwhile.
    lease: Lease,
}

impl Work {
    async fn run(self) {
        let mut former = None;
        let mut troubles = 0_u32;
        let mut said: Option<(String, Instant)> = None;
        while !self.stopping.is_asked() {
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
            let _over = tokio::time::timeout(self.jittered(pause), self.stopping.asked()).await;
        }
        if let Some(epoch) = former {
            let _given_up = tokio::time::timeout(RELEASE_LIMIT, self.outbox.release(epoch)).await;
        }
    }

    /// Time between two renewals of the lease.
    pub(super) fn every(&self) -> Duration {
        self.config.lease / RENEWALS
    }

    /// Between half of it and all of it, so that hosts do not ask in step.
    fn jittered(&self, time: Duration) -> Duration {
        let mut hasher = DefaultHasher::new();
        (&self.config.host, self.config.clock.now()).hash(&mut hasher);
        time.mul_f64(0.5 + (hasher.finish() % 512) as f64 / 1_024.0)
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

    pub(super) fn tell(&self, status: RelayStatus) {
        let relaying = matches!(status, RelayStatus::Relaying | RelayStatus::WithoutMail);
        let relaying = f64::from(u8::from(relaying));
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
            let _told = end.send_replace(true);
            done
        };
        let (worked, renewed, ()) = tokio::join!(parts, self.renew(epoch, &end), self.show_figures(&end));
        first_reason(renewed, worked)
    }

    async fn lease(&self, former: Option<Epoch>) -> Result<Epoch, End> {
        let asked = self.lease.now();
        let RelayConfig { fleet, host, lease: time, .. } = self.config.clone();
        let applicant = Applicant { fleet, host, former, time };
        match self.outbox.lease(&applicant).await? {
            Leased::Ours(epoch) => {
                self.lease.renew(asked);
                Ok(epoch)
            }
            Leased::Held { by } => {
                self.tell(RelayStatus::Standby { by });
                Err(End::Lost)
            }
        }
    }

    /// Whether something may still be begun that only the one with the lease may do.
    pub(super) fn may_begin(&self, end: &watch::Sender<bool>) -> bool {
        self.lease.holds() && !self.is_over(end)
    }

    /// Whether nothing may be begun any more, because the turn ends or because a stop has taken its time.
    pub(super) fn is_over(&self, end: &watch::Sender<bool>) -> bool {
        *end.borrow() || self.stopping.is_over()
    }

    /// Whether the host stops: whoever finds nothing to do after it has seen this has ended.
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.is_asked()
    }

    /// Renews the lease, however long the ways out take.
    async fn renew(&self, epoch: Epoch, end: &watch::Sender<bool>) -> End {
        // Also while the host stops, since mails may still be begun then.
        while tokio::time::timeout(self.every(), ended(end)).await.is_err() {
            let asked = self.lease.now();
            if let Err(error) = self.outbox.renew(epoch, self.config.lease).await {
                let _told = end.send_replace(true);
                return error.into();
            }
            self.lease.renew(asked);
        }
        End::Asked
    }

    /// Shows the outbox's figures until the turn ends. Counting reads all of it, which may take longer than a lease is
    /// good for: nothing waits for that.
    async fn show_figures(&self, end: &watch::Sender<bool>) {
        let showing = async {
            loop {
                tokio::time::sleep(self.every()).await;
                self.show_counts().await;
                tokio::time::sleep(COUNT_EVERY).await;
            }
        };
        tokio::select! {
            () = ended(end) => {}
            () = showing => {}
        }
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
                    tell_the_other(&done, end);
                    done
                };
                let other = async {
                    let done = mails::relay(self, epoch, end).await;
                    tell_the_other(&done, end);
                    done
                };
                let (records, mails) = tokio::join!(one, other);
                first_reason(records, mails)
            }
            Err(end) => end,
        }
    }

    /// Listens for rows of this kind.
    pub(super) fn listen(&self, kind: OutboxKind) -> Listener {
        self.news.listen(kind)
    }

    /// Waits for news, or so long, unless the turn ends or the host stops. Answers whether one of them does.
    pub(super) async fn rest(&self, end: &watch::Sender<bool>, time: Duration, news: &mut Listener) -> bool {
        tokio::select! {
            over = self.pause(end, time) => over,
            () = news.heard() => false,
        }
    }

    /// Waits, unless the turn ends or the host stops. Answers whether one of them does.
    pub(super) async fn pause(&self, end: &watch::Sender<bool>, time: Duration) -> bool {
        let either = async {
            tokio::select! {
                () = ended(end) => {}
                () = self.stopping.asked() => {}
            }
        };
        tokio::time::timeout(time, either).await.is_ok()
    }
}

/// Waits until the turn ends. A sender that is gone has ended it as well.
async fn ended(end: &watch::Sender<bool>) {
    let mut end = end.subscribe();
    let _ended_or_gone = end.wait_for(|ended| *ended).await;
}

/// One part of a turn that has nothing more to do leaves the other one to its own.
fn tell_the_other(done: &End, end: &watch::Sender<bool>) {
    if !matches!(done, End::Asked) {
        end.send_replace(true);
    }
}

/// The reason that is none of having been asked.
fn first_reason(one: End, other: End) -> End {
    match (one, other) {
        (End::Asked, other) => other,
        (one, _) => one,
    }
}
