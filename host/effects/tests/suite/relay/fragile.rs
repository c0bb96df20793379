//! A relay that dies, or is stopped and goes on later, at one step of its work.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use keylane_effects::{
    Advance, Applicant, Batch, DatabaseError, Dropped, Leased, ListedRow, MailEnded, Outbox, OutboxCounts,
    OutboxError, Selection, Standing, StoredRow,
};
use keylane_engine::{Boxed, Epoch};
use tokio::sync::{Mutex, watch};

use super::frozen::{Freezing, Frost};

/// The steps of a relay's work around which it can die.
pub const STEPS: [&str; 19] = [
    "before the lease",
    "after the lease",
    "before the way is opened",
    "after the way was opened",
    "before a renewal",
    "after a renewal",
    "before the transaction",
    "before the transaction is committed",
    "after the transaction was committed",
    "before the numbering",
    "after the numbering",
    "before a batch is made",
    "after a batch was made",
    "before mails are read",
    "after mails were read",
    "before the mail",
    "after the mail",
    "before mails are noted",
    "after mails were noted",
];

/// How long one relay lives.
pub struct Life {
    /// The step at which it stops, and how often it still comes there before.
    end: Mutex<Option<(&'static str, u32)>>,
    /// Where it stands still, if it does.
    stopped: watch::Sender<Option<&'static str>>,
    /// Set when it goes on.
    goes_on: watch::Sender<bool>,
}

impl Life {
    /// Stops when it comes to this step for this time, counted from 0.
    pub fn until(step: &'static str, times: u32) -> Arc<Self> {
        assert!(STEPS.contains(&step), "{step}");
        Self::new(Some((step, times)))
    }

    /// Never stops.
    pub fn immortal() -> Arc<Self> {
        Self::new(None)
    }

    fn new(end: Option<(&'static str, u32)>) -> Arc<Self> {
        let (stopped, goes_on) = (watch::Sender::new(None), watch::Sender::new(false));
        Arc::new(Self { end: Mutex::new(end), stopped, goes_on })
    }

    /// A step. Where the life ends here, nothing comes after it, of whichever part of the relay, until it
    /// goes on.
    pub async fn point(&self, name: &'static str) {
        assert!(STEPS.contains(&name), "{name}");
        let mut end = self.end.lock().await;
        match &mut *end {
            Some((step, times)) if *step == name && *times > 0 => *times -= 1,
            Some((step, _)) if *step == name => {
                *end = None;
                self.stopped.send_replace(Some(name));
                self.goes_on.subscribe().wait_for(|goes_on| *goes_on).await.unwrap();
            }
            _ => {}
        }
    }

    /// Where it stopped.
    pub async fn stopped(&self) -> &'static str {
        let mut stopped = self.stopped.subscribe();
        let name = stopped.wait_for(Option::is_some).await.unwrap();
        name.unwrap()
    }

    /// Whether it has stopped.
    pub fn has_stopped(&self) -> bool {
        self.stopped.borrow().is_some()
    }

    pub fn go_on(&self) {
        self.goes_on.send_replace(true);
    }
}

/// The database of one relay, which may die around each of its transactions.
pub struct Fragile {
    pub inner: Arc<dyn Outbox>,
    pub life: Arc<Life>,
    pub frost: Arc<Frost>,
    /// So many notes of what became of mails are not taken.
    pub lost_notes: AtomicU32,
    /// Counting takes so long.
    pub counting: Duration,
}

impl Fragile {
    pub fn new(inner: Arc<dyn Outbox>, life: &Arc<Life>) -> Self {
        Self {
            inner,
            life: life.clone(),
            frost: Frost::never(),
            lost_notes: AtomicU32::new(0),
            counting: Duration::ZERO,
        }
    }

    async fn around<T>(
        &self,
        before: &'static str,
        call: impl Future<Output = T> + Send,
        after: &'static str,
    ) -> T {
        self.life.point(before).await;
        let answer = Freezing::new(call, &self.frost).await;
        self.life.point(after).await;
        answer
    }
}

impl Outbox for Fragile {
    fn database(&self) -> &str {
        self.inner.database()
    }

    fn lease(&self, applicant: &Applicant) -> Boxed<'_, Result<Leased, OutboxError>> {
        let applicant = applicant.clone();
        let call = async move { self.inner.lease(&applicant).await };
        Box::pin(self.around("before the lease", call, "after the lease"))
    }

    fn renew(&self, epoch: Epoch, time: Duration) -> Boxed<'_, Result<Standing, OutboxError>> {
        let call = self.inner.renew(epoch, time);
        Box::pin(self.around("before a renewal", call, "after a renewal"))
    }

    fn release(&self, epoch: Epoch) -> Boxed<'_, Result<(), OutboxError>> {
        self.inner.release(epoch)
    }

    fn begin_numbering(&self, epoch: Epoch, numbering: i64) -> Boxed<'_, Result<(), OutboxError>> {
        let call = self.inner.begin_numbering(epoch, numbering);
        Box::pin(self.around("before the numbering", call, "after the numbering"))
    }

    fn know_numbering(&self, epoch: Epoch, numbering: i64) -> Boxed<'_, Result<(), OutboxError>> {
        self.inner.know_numbering(epoch, numbering)
    }

    fn advance(&self, epoch: Epoch, step: Advance) -> Boxed<'_, Result<Batch, OutboxError>> {
        let call = self.inner.advance(epoch, step);
        Box::pin(self.around("before a batch is made", call, "after a batch was made"))
    }

    fn has_records(&self, paused: &[String]) -> Boxed<'_, Result<bool, OutboxError>> {
        self.inner.has_records(paused)
    }

    fn has_mails(&self) -> Boxed<'_, Result<bool, OutboxError>> {
        self.inner.has_mails()
    }

    fn mails(&self, epoch: Epoch, rows: usize) -> Boxed<'_, Result<Vec<StoredRow>, OutboxError>> {
        let call = self.inner.mails(epoch, rows);
        Box::pin(self.around("before mails are read", call, "after mails were read"))
    }

    fn mails_ended(&self, epoch: Epoch, ended: Vec<MailEnded>) -> Boxed<'_, Result<(), OutboxError>> {
        let fewer = |left: u32| left.checked_sub(1);
        let is_lost = self.lost_notes.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fewer).is_ok();
        let call = async move {
            if is_lost {
                let (url, reason) = ("test".to_owned(), "it is away for a moment".to_owned());
                return Err(DatabaseError::Unavailable { url, reason }.into());
            }
            self.inner.mails_ended(epoch, ended).await
        };
        Box::pin(self.around("before mails are noted", call, "after mails were noted"))
    }

    fn counts(&self) -> Boxed<'_, Result<OutboxCounts, OutboxError>> {
        Box::pin(async {
            tokio::time::sleep(self.counting).await;
            self.inner.counts().await
        })
    }

    fn list(&self, refused_only: bool, rows: usize) -> Boxed<'_, Result<Vec<ListedRow>, OutboxError>> {
        self.inner.list(refused_only, rows)
    }

    fn retry(&self, which: Selection) -> Boxed<'_, Result<u64, OutboxError>> {
        self.inner.retry(which)
    }

    fn drop_rows(&self, which: Selection) -> Boxed<'_, Result<Dropped, OutboxError>> {
        self.inner.drop_rows(which)
    }

    fn reset(&self) -> Boxed<'_, Result<(), OutboxError>> {
        self.inner.reset()
    }
}
