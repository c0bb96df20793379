//! The outbox in a SQLite file. What the relay writes goes through the one writer; looks into an outbox that
//! is mostly empty go through a connection of their own that only reads, so that they are in nobody's way.

/// Begins a query of the topics that have records to send: one step through the index for each.
macro_rules! topics {
    () => {
        "WITH RECURSIVE topics (topic) AS \
        (SELECT min(topic) FROM keylane_outbox WHERE kind = 1 AND parked <= 0 UNION ALL \
        SELECT (SELECT min(topic) FROM keylane_outbox WHERE kind = 1 AND parked <= 0 \
        AND keylane_outbox.topic > topics.topic) FROM topics WHERE topics.topic IS NOT NULL)"
    };
}

mod rows;
#[cfg(test)]
mod tests;
mod view;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use keylane_engine::{Boxed, Epoch};
use tokio::sync::Mutex;

use crate::error::DatabaseError;
use crate::relay::{
    Advance, Applicant, Batch, Dropped, LEASES, Leased, ListedRow, MailEnded, Numbering, Outbox,
    OutboxCounts, OutboxError, Selection, Standing, StoredRow, UnderWay, next_batch, noted,
};
use crate::sqlite::Sqlite;
use crate::sqlite::connection::{Connection, host};
use crate::sqlite::file::File;
use crate::sqlite::tables::{get, only};
use crate::sqlite::writing::Writing;

/// The outbox of a file.
pub(crate) struct SqliteOutbox {
    database: Arc<Sqlite>,
    /// Made by the first look; none after a fault.
    looking: Mutex<Option<Connection>>,
}

impl SqliteOutbox {
    pub(crate) fn new(database: Arc<Sqlite>) -> Self {
        Self { database, looking: Mutex::new(None) }
    }

    /// A transaction of whoever has the lease, with the relay's row.
    async fn owned(&self, epoch: Epoch) -> Result<(Writing, RelayRow), OutboxError> {
        let file = &self.database.file;
        let mut writing = begin(file).await?;
        let row = RelayRow::read(&mut writing, file).await?;
        if row.epoch != epoch {
            writing.rollback().await;
            return Err(OutboxError::NotOwner);
        }
        Ok((writing, row))
    }

    async fn lease(&self, applicant: &Applicant) -> Result<Leased, OutboxError> {
        let file = &self.database.file;
        let mut writing = begin(file).await?;
        let row = RelayRow::read(&mut writing, file).await?;
        let is_held = row.is_held(applicant.time);
        if let Some(stands) = row.fleet.filter(|fleet| *fleet != applicant.fleet) {
            writing.rollback().await;
            return Err(OutboxError::OtherFleet { stands, asked: applicant.fleet.clone() });
        }
        if applicant.former != Some(row.epoch) && is_held {
            writing.rollback().await;
            return Ok(Leased::Held { by: row.host });
        }
        let raise = "UPDATE keylane_relay SET fleet = $1, host = $2, until_us = $3, \
                     epoch_count = epoch_count + 1, epoch_nonce = random() RETURNING epoch_count, epoch_nonce";
        let raise = host(raise).bind(applicant.fleet.clone()).bind(applicant.host.clone());
        let rows = writing.fetch(raise.bind(later_us(applicant.time))).await?;
        let raised = only(&rows, &file.url)?;
        let epoch = Epoch { count: get(raised, 0, &file.url)?, nonce: get(raised, 1, &file.url)? };
        writing.commit().await?;
        Ok(Leased::Ours(epoch))
    }

    async fn renew(&self, epoch: Epoch, until_us: i64) -> Result<Standing, OutboxError> {
        let (mut writing, row) = self.owned(epoch).await?;
        writing.run(host("UPDATE keylane_relay SET until_us = $1").bind(until_us)).await?;
        writing.commit().await?;
        Ok(row.standing)
    }

    async fn begin_numbering(&self, epoch: Epoch, numbering: i64) -> Result<(), OutboxError> {
        let (mut writing, _) = self.owned(epoch).await?;
        let begin = "UPDATE keylane_relay SET begun = 2, numbering = $1, sent = 0, highest = 0, batch = '[]'";
        writing.run(host(begin).bind(numbering)).await?;
        Ok(writing.commit().await?)
    }

    async fn know_numbering(&self, epoch: Epoch, numbering: i64) -> Result<(), OutboxError> {
        let (mut writing, _) = self.owned(epoch).await?;
        let text = "UPDATE keylane_relay SET next_numbering = max(next_numbering, $1), \
                    begun = CASE begun WHEN 1 THEN 2 ELSE begun END";
        writing.run(host(text).bind(numbering)).await?;
        Ok(writing.commit().await?)
    }

    async fn advance(&self, epoch: Epoch, step: Advance) -> Result<Batch, OutboxError> {
        let file = &self.database.file;
        let (mut writing, row) = self.owned(epoch).await?;
        let mut standing = row.standing;
        if standing != step.expected {
            writing.rollback().await;
            return Err(OutboxError::SetBack { left: step.expected, found: standing });
        }
        if step.under_way == UnderWay::Sent {
            rows::delete(&mut writing, file, &row.batch).await?;
            standing.sent = standing.highest;
        }
        rows::refuse(&mut writing, &step.refused).await?;
        let ids = rows::pick(&mut writing, file, &step).await?;
        if !ids.is_empty() {
            standing.highest = next_batch(standing.highest);
        }
        let batch = rows::read(&mut writing, file, &ids).await?;
        let note = "UPDATE keylane_relay SET sent = $1, highest = $2, batch = $3, until_us = $4";
        let note = host(note).bind(standing.sent).bind(standing.highest).bind(rows::list(&ids));
        writing.run(note.bind(later_us(step.lease))).await?;
        writing.commit().await?;
        Ok(Batch { standing, rows: batch })
    }

    async fn mails(&self, epoch: Epoch, rows: usize) -> Result<Vec<StoredRow>, OutboxError> {
        let file = &self.database.file;
        let (mut writing, _) = self.owned(epoch).await?;
        let ids = rows::pick_mails(&mut writing, file, rows).await?;
        let mails = rows::read(&mut writing, file, &ids).await?;
        writing.commit().await?;
        Ok(mails)
    }

    async fn mails_ended(&self, epoch: Epoch, ended: &[MailEnded]) -> Result<(), OutboxError> {
        let (mut writing, _) = self.owned(epoch).await?;
        let file = &self.database.file;
        let (sent, refused) = noted(ended, &rows::same_mails(&mut writing, file, ended).await?);
        rows::delete(&mut writing, file, &sent).await?;
        rows::refuse(&mut writing, &refused).await?;
        Ok(writing.commit().await?)
    }

    async fn retry(&self, which: Selection) -> Result<u64, OutboxError> {
        let mut writing = begin(&self.database.file).await?;
        let text = "UPDATE keylane_outbox SET not_before_us = 0 WHERE parked = 1 \
                    AND ($1 IS NULL OR id IN (SELECT value FROM json_each($1)))";
        let ids = match which {
            Selection::Refused => None,
            Selection::Rows(ids) => Some(rows::list(&ids)),
        };
        let retried = writing.run(host(text).bind(ids)).await?;
        writing.commit().await?;
        Ok(retried)
    }

    async fn drop_rows(&self, which: Selection) -> Result<Dropped, OutboxError> {
        let file = &self.database.file;
        let mut writing = begin(file).await?;
        let row = RelayRow::read(&mut writing, file).await?;
        let asked = match which {
            Selection::Rows(ids) => ids,
            Selection::Refused => {
                let refused = writing.fetch(host("SELECT id FROM keylane_outbox WHERE parked = 1")).await?;
                refused.iter().map(|row| get(row, 0, &file.url)).collect::<Result<Vec<i64>, _>>()?
            }
        };
        let (under_way, free): (Vec<i64>, Vec<i64>) =
            asked.into_iter().partition(|id| row.batch.contains(id));
        let dropped = rows::delete(&mut writing, file, &free).await?;
        writing.commit().await?;
        Ok(Dropped { dropped, under_way })
    }

    async fn reset(&self) -> Result<(), OutboxError> {
        let mut writing = begin(&self.database.file).await?;
        let text = "UPDATE keylane_relay SET begun = 1, fleet = NULL, until_us = 0, \
                    next_numbering = max(numbering + 1, next_numbering + 1, $1), \
                    epoch_count = epoch_count + 1, epoch_nonce = random()";
        writing.run(host(text).bind(now_us())).await?;
        Ok(writing.commit().await?)
    }
}

/// The relay's row.
struct RelayRow {
    fleet: Option<String>,
    host: String,
    until_us: i64,
    epoch: Epoch,
    standing: Standing,
    batch: Vec<i64>,
}

impl RelayRow {
    async fn read(writing: &mut Writing, file: &File) -> Result<Self, DatabaseError> {
        let text = "SELECT fleet, coalesce(host, ''), until_us, epoch_count, epoch_nonce, begun, numbering, sent, \
                    highest, batch, next_numbering FROM keylane_relay";
        let rows = writing.fetch(host(text)).await?;
        let (row, url) = (only(&rows, &file.url)?, &file.url);
        let numbering = match get::<i64>(row, 5, url)? {
            0 => Numbering::Fresh,
            1 => Numbering::Reset { former: get(row, 6, url)?, next: get(row, 10, url)? },
            _ => Numbering::Begun(get(row, 6, url)?),
        };
        Ok(Self {
            fleet: get(row, 0, url)?,
            host: get(row, 1, url)?,
            until_us: get(row, 2, url)?,
            epoch: Epoch { count: get(row, 3, url)?, nonce: get(row, 4, url)? },
            standing: Standing { numbering, sent: get(row, 7, url)?, highest: get(row, 8, url)? },
            batch: serde_json::from_str(&get::<String>(row, 9, url)?).map_err(|error| {
                DatabaseError::Tables {
                    url: url.to_string(),
                    reason: format!("the batch under way: {error}"),
                }
            })?,
        })
    }

    /// Whether another host has the lease. One that would be good for longer than leases are was written before the
    /// machine's clock was set back: nobody can say how old it is, and whoever has it still learns by its epoch.
    fn is_held(&self, lease: Duration) -> bool {
        let now = now_us();
        self.until_us > now && self.until_us <= now.saturating_add(micros(lease.saturating_mul(LEASES)))
    }
}

async fn begin(file: &File) -> Result<Writing, DatabaseError> {
    Writing::begin(file, file.writer_wait, file.lock_wait).await
}

/// Hosts of one file share a machine, and so a clock.
fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

fn later_us(time: Duration) -> i64 {
    now_us().saturating_add(micros(time))
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

impl Outbox for SqliteOutbox {
    fn database(&self) -> &str {
        &self.database.identity.database
    }

    fn lease(&self, applicant: &Applicant) -> Boxed<'_, Result<Leased, OutboxError>> {
        let applicant = applicant.clone();
        Box::pin(async move { self.lease(&applicant).await })
    }

    fn renew(&self, epoch: Epoch, time: Duration) -> Boxed<'_, Result<Standing, OutboxError>> {
        Box::pin(async move { self.renew(epoch, later_us(time)).await })
    }

    fn release(&self, epoch: Epoch) -> Boxed<'_, Result<(), OutboxError>> {
        Box::pin(async move { self.renew(epoch, 0).await.map(drop) })
    }

    fn begin_numbering(&self, epoch: Epoch, numbering: i64) -> Boxed<'_, Result<(), OutboxError>> {
        Box::pin(self.begin_numbering(epoch, numbering))
    }

    fn know_numbering(&self, epoch: Epoch, numbering: i64) -> Boxed<'_, Result<(), OutboxError>> {
        Box::pin(self.know_numbering(epoch, numbering))
    }

    fn advance(&self, epoch: Epoch, step: Advance) -> Boxed<'_, Result<Batch, OutboxError>> {
        Box::pin(self.advance(epoch, step))
    }

    fn has_records(&self, paused: &[String]) -> Boxed<'_, Result<bool, OutboxError>> {
        let paused = paused.to_vec();
        Box::pin(async move { self.has_records(&paused).await })
    }

    fn has_mails(&self) -> Boxed<'_, Result<bool, OutboxError>> {
        Box::pin(self.has_mails())
    }

    fn mails(&self, epoch: Epoch, rows: usize) -> Boxed<'_, Result<Vec<StoredRow>, OutboxError>> {
        Box::pin(self.mails(epoch, rows))
    }

    fn mails_ended(&self, epoch: Epoch, ended: Vec<MailEnded>) -> Boxed<'_, Result<(), OutboxError>> {
        Box::pin(async move { self.mails_ended(epoch, &ended).await })
    }

    fn counts(&self) -> Boxed<'_, Result<OutboxCounts, OutboxError>> {
        Box::pin(self.counts())
    }

    fn list(&self, refused_only: bool, rows: usize) -> Boxed<'_, Result<Vec<ListedRow>, OutboxError>> {
        Box::pin(self.list(refused_only, rows))
    }

    fn retry(&self, which: Selection) -> Boxed<'_, Result<u64, OutboxError>> {
        Box::pin(self.retry(which))
    }

    fn drop_rows(&self, which: Selection) -> Boxed<'_, Result<Dropped, OutboxError>> {
        Box::pin(self.drop_rows(which))
    }

    fn reset(&self) -> Boxed<'_, Result<(), OutboxError>> {
        Box::pin(self.reset())
    }
}
