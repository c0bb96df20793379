//! The outbox in PostgreSQL, by connections of its own. Each transaction of the relay's locks the relay's row first, so that there is
//! one at a time, and whoever was overtaken finds the epoch changed. It sees what is committed when each of
//! its statements begins, which is all that it needs: rows are chosen because they are visible.

/// Begins a query of the topics that have records to send: one step through the index for each.
macro_rules! topics {
    () => {
        "WITH RECURSIVE topics (topic) AS \
        (SELECT min(topic) FROM keylane.outbox WHERE kind = 1 AND parked <= 0 UNION ALL \
        SELECT (SELECT min(topic) FROM keylane.outbox WHERE kind = 1 AND parked <= 0 \
        AND outbox.topic > topics.topic) FROM topics WHERE topics.topic IS NOT NULL)"
    };
}

mod rows;
mod view;

use std::sync::Arc;
use std::time::Duration;

use keylane_engine::{Boxed, Epoch};
use sqlx::Row;

use crate::postgres::Postgres;
use crate::postgres::ownership::{END_MAX, begin_in, granted};
use crate::postgres::server::Server;
use crate::postgres::session::Session;
use crate::relay::{
    Advance, Applicant, Batch, Dropped, LEASES, Leased, ListedRow, MailEnded, Numbering, Outbox,
    OutboxCounts, OutboxError, Selection, Standing, StoredRow, UnderWay, next_batch, noted,
};

/// The outbox of a database.
pub(crate) struct PostgresOutbox {
    database: Arc<Postgres>,
}

impl PostgresOutbox {
    pub(crate) fn new(database: Arc<Postgres>) -> Self {
        Self { database }
    }

    /// Does something under the host's clock. None where another host has the lease.
    async fn owning<T>(
        &self,
        doing: impl Future<Output = Result<Option<T>, sqlx::Error>>,
    ) -> Result<T, OutboxError> {
        let server = &self.database.server;
        server.within(server.lock_wait, doing).await?.ok_or(OutboxError::NotOwner)
    }

    async fn lease(&self, applicant: &Applicant) -> Result<Leased, OutboxError> {
        let server = &self.database.server;
        let leasing = async {
            let mut session = begin(server).await?;
            let pid = session.known()?.pid;
            // Who keeps the row for longer than a lease lasts has lost it: a host that was stopped in the middle.
            let locking = RelayRow::lock(&mut session, applicant.time);
            let row = granted(server, pid, applicant.time, "the relay's row", locking).await?;
            if let Some(stands) = row.fleet.filter(|fleet| *fleet != applicant.fleet) {
                session.rollback().await;
                let asked = applicant.fleet.clone();
                return Ok(Err(OutboxError::OtherFleet { stands, asked }));
            }
            if applicant.former != Some(row.epoch) && row.is_held {
                session.rollback().await;
                return Ok(Ok(Leased::Held { by: row.host }));
            }
            let text = "UPDATE keylane.relay SET fleet = $1, host = $2, epoch = epoch + 1, nonce = \
                ('x' || substr(replace(gen_random_uuid()::text, '-', ''), 1, 16))::bit(64)::bigint, \
                held_until = clock_timestamp() + $3 * interval '1 millisecond' RETURNING epoch, nonce";
            let raise = sqlx::query(text).bind(&applicant.fleet).bind(&applicant.host);
            let raised = raise.bind(millis(applicant.time)).fetch_one(session.connection()?).await?;
            let epoch = Epoch { count: raised.try_get(0)?, nonce: raised.try_get(1)? };
            session.commit().await?;
            Ok(Ok(Leased::Ours(epoch)))
        };
        server.within(applicant.time.saturating_add(END_MAX), leasing).await?
    }

    async fn renew(&self, epoch: Epoch, time: Duration) -> Result<Standing, OutboxError> {
        let renewing = async {
            let Some((mut session, row)) = owned(&self.database.server, epoch).await? else {
                return Ok(None);
            };
            let text =
                "UPDATE keylane.relay SET held_until = clock_timestamp() + $1 * interval '1 millisecond'";
            sqlx::query(text).bind(millis(time)).execute(session.connection()?).await?;
            session.commit().await?;
            Ok(Some(row.standing))
        };
        self.owning(renewing).await
    }

    async fn begin_numbering(&self, epoch: Epoch, numbering: i64) -> Result<(), OutboxError> {
        let beginning = async {
            let Some((mut session, _)) = owned(&self.database.server, epoch).await? else { return Ok(None) };
            let text =
                "UPDATE keylane.relay SET begun = 2, numbering = $1, sent = 0, highest = 0, batch = '{}'";
            sqlx::query(text).bind(numbering).execute(session.connection()?).await?;
            session.commit().await.map(Some)
        };
        self.owning(beginning).await
    }

    async fn know_numbering(&self, epoch: Epoch, numbering: i64) -> Result<(), OutboxError> {
        let knowing = async {
            let Some((mut session, _)) = owned(&self.database.server, epoch).await? else { return Ok(None) };
            let text = "UPDATE keylane.relay SET next_numbering = greatest(next_numbering, $1), \
                        begun = CASE begun WHEN 1 THEN 2 ELSE begun END";
            sqlx::query(text).bind(numbering).execute(session.connection()?).await?;
            session.commit().await.map(Some)
        };
        self.owning(knowing).await
    }

    async fn advance(&self, epoch: Epoch, step: Advance) -> Result<Batch, OutboxError> {
        let advancing = async {
            let Some((mut session, row)) = owned(&self.database.server, epoch).await? else {
                return Ok(None);
            };
            let mut standing = row.standing;
            if standing != step.expected {
                session.rollback().await;
                return Ok(Some(Err(OutboxError::SetBack { left: step.expected, found: standing })));
            }
            if step.under_way == UnderWay::Sent {
                rows::delete(&mut session, &row.batch).await?;
                standing.sent = standing.highest;
            }
            rows::refuse(&mut session, &step.refused).await?;
            let ids = rows::pick(&mut session, &step).await?;
            if !ids.is_empty() {
                standing.highest = next_batch(standing.highest);
            }
            let batch = rows::read(&mut session, &ids).await?;
            let text = "UPDATE keylane.relay SET sent = $1, highest = $2, batch = $3, \
                        held_until = clock_timestamp() + $4 * interval '1 millisecond'";
            let note = sqlx::query(text).bind(standing.sent).bind(standing.highest).bind(ids);
            note.bind(millis(step.lease)).execute(session.connection()?).await?;
            session.commit().await?;
            Ok(Some(Ok(Batch { standing, rows: batch })))
        };
        self.owning(advancing).await?
    }

    async fn mails(&self, epoch: Epoch, most: usize) -> Result<Vec<StoredRow>, OutboxError> {
        let reading = async {
            let Some((mut session, _)) = owned(&self.database.server, epoch).await? else { return Ok(None) };
            let ids = rows::pick_mails(&mut session, most).await?;
            let mails = rows::read(&mut session, &ids).await?;
            session.commit().await?;
            Ok(Some(mails))
        };
        self.owning(reading).await
    }

    async fn mails_ended(&self, epoch: Epoch, ended: &[MailEnded]) -> Result<(), OutboxError> {
        let noting = async {
            let Some((mut session, _)) = owned(&self.database.server, epoch).await? else { return Ok(None) };
            let (sent, refused) = noted(ended, &rows::same_mails(&mut session, ended).await?);
            rows::delete(&mut session, &sent).await?;
            rows::refuse(&mut session, &refused).await?;
            session.commit().await.map(Some)
        };
        self.owning(noting).await
    }

    async fn retry(&self, which: Selection) -> Result<u64, OutboxError> {
        let ids = match which {
            Selection::Refused => None,
            Selection::Rows(ids) => Some(ids),
        };
        let retrying = async {
            let mut session = begin(&self.database.server).await?;
            let text = "UPDATE keylane.outbox SET not_before = clock_timestamp() \
                        WHERE parked = 1 AND ($1::bigint[] IS NULL OR id = ANY ($1))";
            let retried = sqlx::query(text).bind(ids).execute(session.connection()?).await?;
            session.commit().await?;
            Ok(Some(retried.rows_affected()))
        };
        self.owning(retrying).await
    }

    async fn drop_rows(&self, which: Selection) -> Result<Dropped, OutboxError> {
        let dropping = async {
            let mut session = begin(&self.database.server).await?;
            let row = RelayRow::lock(&mut session, Duration::ZERO).await?;
            let asked = match which {
                Selection::Rows(ids) => ids,
                Selection::Refused => {
                    let refused = sqlx::query_scalar("SELECT id FROM keylane.outbox WHERE parked = 1");
                    refused.fetch_all(session.connection()?).await?
                }
            };
            let (under_way, free): (Vec<i64>, Vec<i64>) =
                asked.into_iter().partition(|id| row.batch.contains(id));
            let dropped = rows::delete(&mut session, &free).await?;
            session.commit().await?;
            Ok(Some(Dropped { dropped, under_way }))
        };
        self.owning(dropping).await
    }

    async fn reset(&self) -> Result<(), OutboxError> {
        let resetting = async {
            let mut session = begin(&self.database.server).await?;
            let text = "UPDATE keylane.relay SET begun = 1, fleet = NULL, held_until = '-infinity', \
                next_numbering = greatest(numbering + 1, next_numbering + 1, \
                (extract(epoch FROM clock_timestamp()) * 1000000)::bigint), \
                epoch = epoch + 1, nonce = \
                ('x' || substr(replace(gen_random_uuid()::text, '-', ''), 1, 16))::bit(64)::bigint";
            sqlx::query(text).execute(session.connection()?).await?;
            session.commit().await.map(Some)
        };
        self.owning(resetting).await
    }
}

/// The relay's row, locked until the transaction ends.
struct RelayRow {
    fleet: Option<String>,
    host: String,
    is_held: bool,
    epoch: Epoch,
    standing: Standing,
    batch: Vec<i64>,
}

impl RelayRow {
    /// `lease` is how long one is good. One that would be good for longer was written before the server's clock
    /// was set back: nobody can say how old it is, and whoever has it still learns by its epoch.
    async fn lock(session: &mut Session, lease: Duration) -> Result<Self, sqlx::Error> {
        let text = "SELECT fleet, coalesce(host, ''), held_until > clock_timestamp() \
                    AND held_until <= clock_timestamp() + $1 * interval '1 millisecond', epoch, nonce, \
                    begun::integer, numbering, sent, highest, batch, next_numbering FROM keylane.relay FOR UPDATE";
        let row = sqlx::query(text).bind(millis(lease.saturating_mul(LEASES)));
        let row = row.fetch_one(session.connection()?).await?;
        let numbering = match row.try_get::<i32, _>(5)? {
            0 => Numbering::Fresh,
            1 => Numbering::Reset { former: row.try_get(6)?, next: row.try_get(10)? },
            _ => Numbering::Begun(row.try_get(6)?),
        };
        Ok(Self {
            fleet: row.try_get(0)?,
            host: row.try_get(1)?,
            is_held: row.try_get(2)?,
            epoch: Epoch { count: row.try_get(3)?, nonce: row.try_get(4)? },
            standing: Standing { numbering, sent: row.try_get(7)?, highest: row.try_get(8)? },
            batch: row.try_get(9)?,
        })
    }
}

/// A transaction by a connection of the outbox's own: a relay that had to wait behind takes, which wait for
/// others' runs, would lose its lease.
async fn begin(server: &Arc<Server>) -> Result<Session, sqlx::Error> {
    begin_in(server, &server.outbox).await
}

/// A transaction of whoever has the lease, with the relay's row; none if that is another.
async fn owned(server: &Arc<Server>, epoch: Epoch) -> Result<Option<(Session, RelayRow)>, sqlx::Error> {
    let mut session = begin(server).await?;
    let row = RelayRow::lock(&mut session, Duration::ZERO).await?;
    if row.epoch != epoch {
        session.rollback().await;
        return Ok(None);
    }
    Ok(Some((session, row)))
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

impl Outbox for PostgresOutbox {
    fn database(&self) -> &str {
        &self.database.identity.database
    }

    fn lease(&self, applicant: &Applicant) -> Boxed<'_, Result<Leased, OutboxError>> {
        let applicant = applicant.clone();
        Box::pin(async move { self.lease(&applicant).await })
    }

    fn renew(&self, epoch: Epoch, time: Duration) -> Boxed<'_, Result<Standing, OutboxError>> {
        Box::pin(self.renew(epoch, time))
    }

    fn release(&self, epoch: Epoch) -> Boxed<'_, Result<(), OutboxError>> {
        Box::pin(async move { self.renew(epoch, Duration::ZERO).await.map(drop) })
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
        Box::pin(async move { self.has_records(paused).await })
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
