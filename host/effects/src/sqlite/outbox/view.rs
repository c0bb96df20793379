//! Looks into the outbox, by a connection that only reads.

use sqlx::sqlite::SqliteRow;

use super::{SqliteOutbox, later_us, now_us, rows};
use crate::relay::{FINAL_WAIT_MAX, ListedRow, OutboxCounts, OutboxError, Parked};
use crate::sqlite::connection::{Connection, Query, host};
use crate::sqlite::fault::Fault;
use crate::sqlite::tables::{get, only};

/// Whether a record may be sent, of a topic that is not paused, or the time of one has come.
pub(super) const HAS_RECORDS: &str = concat!(
    topics!(),
    " SELECT EXISTS (SELECT 1 FROM topics WHERE topic IS NOT NULL \
    AND topic NOT IN (SELECT value FROM json_each($1))) OR EXISTS (SELECT 1 FROM keylane_outbox \
    WHERE parked = 1 AND not_before_us <= $2 AND kind = 1) OR EXISTS (SELECT 1 FROM keylane_outbox \
    WHERE parked = 1 AND not_before_us > $3 AND kind = 1)"
);

impl SqliteOutbox {
    pub(super) async fn has_records(&self, paused: &[String]) -> Result<bool, OutboxError> {
        let paused = serde_json::Value::from(paused).to_string();
        self.answer(host(HAS_RECORDS).bind(paused).bind(now_us()).bind(later_us(FINAL_WAIT_MAX))).await
    }

    pub(super) async fn has_mails(&self) -> Result<bool, OutboxError> {
        let text = "SELECT EXISTS (SELECT 1 FROM keylane_outbox WHERE kind = 2 AND parked <= 0) \
                    OR EXISTS (SELECT 1 FROM keylane_outbox WHERE parked = 1 AND not_before_us <= $1 AND kind = 2) \
                    OR EXISTS (SELECT 1 FROM keylane_outbox WHERE parked = 1 AND not_before_us > $2 AND kind = 2)";
        self.answer(host(text).bind(now_us()).bind(later_us(FINAL_WAIT_MAX))).await
    }

    pub(super) async fn counts(&self) -> Result<OutboxCounts, OutboxError> {
        let text = "SELECT count(*) FILTER (WHERE kind = 1), count(*) FILTER (WHERE kind = 2), \
                    count(*) FILTER (WHERE parked > 0), coalesce(($1 - min(made_us)) / 1000, 0) FROM keylane_outbox";
        let found = self.look(host(text).bind(now_us())).await?;
        let url = &self.database.file.url;
        let row = only(&found, url)?;
        let count = |at| get::<i64>(row, at, url).map(|count| u64::try_from(count).unwrap_or_default());
        let oldest_ms = get::<i64>(row, 3, url)?.max(0);
        Ok(OutboxCounts { records: count(0)?, mails: count(1)?, parked: count(2)?, oldest_ms })
    }

    pub(super) async fn list(&self, refused_only: bool, most: usize) -> Result<Vec<ListedRow>, OutboxError> {
        let text = "SELECT keylane_outbox.id, attempts, event_offset, ordinal, kind, keylane_outbox.topic, key, \
                    coalesce(length(value), 0), last_error, parked, (not_before_us - $3) / 1000, \
                    ($3 - made_us) / 1000, handler, keylane_stream.topic, partition FROM keylane_outbox \
                    JOIN keylane_stream ON keylane_stream.id = stream WHERE NOT $1 OR attempts > 0 \
                    ORDER BY keylane_outbox.id LIMIT $2";
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let found = self.look(host(text).bind(refused_only).bind(most).bind(now_us())).await?;
        found.iter().map(|row| self.listed(row)).collect()
    }

    fn listed(&self, row: &SqliteRow) -> Result<ListedRow, OutboxError> {
        let file = &self.database.file;
        let url = &file.url;
        let parked = Parked::of(get(row, 9, url)?);
        let wait_ms: Option<i64> = get(row, 10, url)?;
        Ok(ListedRow {
            id: get(row, 0, url)?,
            handler: get(row, 12, url)?,
            event_topic: get(row, 13, url)?,
            event_partition: get(row, 14, url)?,
            row: rows::output(row, file)?,
            value_bytes: get(row, 7, url)?,
            attempts: u32::try_from(get::<i64>(row, 1, url)?).unwrap_or(u32::MAX),
            last_error: get(row, 8, url)?,
            parked,
            wait_ms: wait_ms.filter(|_| parked == Parked::Waits).map(|wait| wait.max(0)),
            age_ms: get::<i64>(row, 11, url)?.max(0),
        })
    }

    async fn answer(&self, query: Query<'_>) -> Result<bool, OutboxError> {
        let found = self.look(query).await?;
        Ok(get(only(&found, &self.database.file.url)?, 0, &self.database.file.url)?)
    }

    /// Asks by the connection that looks, which is not kept after a fault.
    async fn look(&self, query: Query<'_>) -> Result<Vec<SqliteRow>, OutboxError> {
        let file = &self.database.file;
        let mut looking = self.looking.lock().await;
        let mut connection = match looking.take().filter(|connection| !connection.has_moved()) {
            Some(connection) => connection,
            None => Connection::open(&file.reading(None)?).await.map_err(|fault| fault.host(&file.url))?,
        };
        let found = connection.fetch(query).await;
        match &found {
            Ok(_) => *looking = Some(connection),
            Err(Fault::Stuck(_)) => connection.abandon(),
            Err(_) => {}
        }
        Ok(found.map_err(|fault| fault.host(&file.url))?)
    }
}
