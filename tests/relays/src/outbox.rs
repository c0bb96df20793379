//! The relay's port to the outbox: requests that travel to the [`crate::table`].

use std::time::Duration;

use keylane_effects::{
    Advance, Applicant, Batch, DatabaseError, Dropped, Leased, ListedRow, MailEnded, Outbox, OutboxCounts,
    OutboxError, Selection, Standing, StoredRow,
};
use keylane_engine::{Boxed, Epoch};

use crate::shared::{Link, Shared};
use crate::table::later;

/// The outbox as one process reaches it.
pub struct LinkedOutbox {
    /// What wakes a relay in its own process goes by this; each process has one of its own.
    identity: String,
    link: Link,
}

impl LinkedOutbox {
    pub fn new(identity: String, link: Link) -> Self {
        Self { identity, link }
    }

    async fn ask<T>(
        &self,
        act: impl FnOnce(&mut Shared, u64) -> Result<T, OutboxError>,
    ) -> Result<T, OutboxError> {
        self.link.ask_database(act).await.unwrap_or_else(|| {
            let (url, reason) = ("model".to_owned(), "it does not answer".to_owned());
            Err(DatabaseError::Unavailable { url, reason }.into())
        })
    }
}

impl Outbox for LinkedOutbox {
    fn database(&self) -> &str {
        &self.identity
    }

    fn lease(&self, applicant: &Applicant) -> Boxed<'_, Result<Leased, OutboxError>> {
        let applicant = applicant.clone();
        Box::pin(self.ask(move |shared, now_ms| {
            let leased = shared.table.lease(&applicant, now_ms);
            if matches!(leased, Leased::Ours(_)) {
                shared.saw("lease taken");
                shared.note(now_ms, format!("{} has the lease", applicant.host));
            }
            Ok(leased)
        }))
    }

    fn renew(&self, epoch: Epoch, time: Duration) -> Boxed<'_, Result<Standing, OutboxError>> {
        Box::pin(self.ask(move |shared, now_ms| {
            let mistake = shared.mistake;
            let renewed = shared.table.renew(epoch, later(now_ms, time), mistake);
            if renewed.is_err() {
                shared.saw("renewal of a former owner refused");
            }
            renewed
        }))
    }

    fn release(&self, epoch: Epoch) -> Boxed<'_, Result<(), OutboxError>> {
        Box::pin(self.ask(move |shared, _| {
            let mistake = shared.mistake;
            shared.saw("lease given back");
            shared.table.renew(epoch, 0, mistake).map(drop)
        }))
    }

    fn begin_numbering(&self, epoch: Epoch, numbering: i64) -> Boxed<'_, Result<(), OutboxError>> {
        Box::pin(self.ask(move |shared, now_ms| {
            let mistake = shared.mistake;
            shared.saw("numbering begun");
            shared.note(now_ms, format!("numbering {numbering} begins"));
            shared.table.begin_numbering(epoch, numbering, mistake)
        }))
    }

    fn know_numbering(&self, epoch: Epoch, numbering: i64) -> Boxed<'_, Result<(), OutboxError>> {
        Box::pin(self.ask(move |shared, now_ms| {
            let mistake = shared.mistake;
            shared.note(now_ms, format!("numbering {numbering} is known"));
            shared.table.know_numbering(epoch, numbering, mistake)
        }))
    }

    fn advance(&self, epoch: Epoch, step: Advance) -> Boxed<'_, Result<Batch, OutboxError>> {
        let host = self.link.host;
        Box::pin(self.ask(move |shared, now_ms| {
            let mistake = shared.mistake;
            let batch = shared.table.advance(epoch, &step, now_ms, mistake);
            match &batch {
                Ok(batch) if batch.rows.is_empty() => {}
                Ok(batch) => {
                    shared.saw("batch made");
                    let number = batch.standing.highest;
                    let ids: Vec<i64> = batch.rows.iter().map(|row| row.id).collect();
                    shared.note(now_ms, format!("host {host} makes batch {number} of {ids:?}"));
                }
                Err(OutboxError::SetBack { .. }) => shared.saw("set back under a relay"),
                Err(_) => shared.saw("batch of a former owner refused"),
            }
            batch
        }))
    }

    fn has_records(&self, paused: &[String]) -> Boxed<'_, Result<bool, OutboxError>> {
        let paused = paused.to_vec();
        Box::pin(self.ask(move |shared, now_ms| {
            Ok(!shared.table.ready(now_ms, &paused, 1, shared.mistake).is_empty())
        }))
    }

    fn has_mails(&self) -> Boxed<'_, Result<bool, OutboxError>> {
        Box::pin(self.ask(|shared, now_ms| Ok(shared.table.has_mails(now_ms))))
    }

    fn mails(&self, epoch: Epoch, rows: usize) -> Boxed<'_, Result<Vec<StoredRow>, OutboxError>> {
        Box::pin(self.ask(move |shared, now_ms| shared.table.mails(epoch, rows, now_ms, shared.mistake)))
    }

    fn mails_ended(&self, epoch: Epoch, ended: Vec<MailEnded>) -> Boxed<'_, Result<(), OutboxError>> {
        Box::pin(self.ask(move |shared, now_ms| {
            let mistake = shared.mistake;
            shared.table.mails_ended(epoch, &ended, now_ms, mistake)
        }))
    }

    fn counts(&self) -> Boxed<'_, Result<OutboxCounts, OutboxError>> {
        Box::pin(self.ask(|_, _| Ok(OutboxCounts::default())))
    }

    fn list(&self, _refused_only: bool, _rows: usize) -> Boxed<'_, Result<Vec<ListedRow>, OutboxError>> {
        unreachable!("commands are not part of this")
    }

    fn retry(&self, _which: Selection) -> Boxed<'_, Result<u64, OutboxError>> {
        unreachable!("commands are not part of this")
    }

    fn drop_rows(&self, _which: Selection) -> Boxed<'_, Result<Dropped, OutboxError>> {
        unreachable!("the operator of the model has a way of his own")
    }

    fn reset(&self) -> Boxed<'_, Result<(), OutboxError>> {
        unreachable!("the operator of the model has a way of his own")
    }
}
