//! Looks into the outbox: single statements, without a transaction.

use sqlx::Row;
use sqlx::postgres::PgRow;

use super::{PostgresOutbox, millis, rows};
use crate::relay::{FINAL_WAIT_MAX, ListedRow, OutboxCounts, OutboxError, Parked};

/// A query being put together.
type Query<'q> = sqlx::query::Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments>;

impl PostgresOutbox {
    pub(super) async fn has_records(&self, paused: Vec<String>) -> Result<bool, OutboxError> {
        let text = concat!(
            topics!(),
            " SELECT EXISTS (SELECT FROM topics WHERE topic IS NOT NULL AND topic <> ALL ($1)) \
            OR EXISTS (SELECT FROM keylane.outbox WHERE parked = 1 AND not_before <= clock_timestamp() AND kind = 1) \
            OR EXISTS (SELECT FROM keylane.outbox WHERE parked = 1 AND kind = 1 \
            AND not_before > clock_timestamp() + $2 * interval '1 millisecond')"
        );
        self.answer(sqlx::query(text).bind(paused).bind(millis(FINAL_WAIT_MAX))).await
    }

    pub(super) async fn has_mails(&self) -> Result<bool, OutboxError> {
        let text = "SELECT EXISTS (SELECT FROM keylane.outbox WHERE kind = 2 AND parked <= 0) \
                    OR EXISTS (SELECT FROM keylane.outbox \
                    WHERE parked = 1 AND not_before <= clock_timestamp() AND kind = 2) \
                    OR EXISTS (SELECT FROM keylane.outbox WHERE parked = 1 AND kind = 2 \
                    AND not_before > clock_timestamp() + $1 * interval '1 millisecond')";
        self.answer(sqlx::query(text).bind(millis(FINAL_WAIT_MAX))).await
    }

    pub(super) async fn counts(&self) -> Result<OutboxCounts, OutboxError> {
        let text = "SELECT count(*) FILTER (WHERE kind = 1), count(*) FILTER (WHERE kind = 2), \
            count(*) FILTER (WHERE parked > 0), \
            coalesce((extract(epoch FROM clock_timestamp() - min(made_at)) * 1000)::bigint, 0) FROM keylane.outbox";
        let read = |rows: &[PgRow]| {
            let row = rows.first().ok_or(sqlx::Error::RowNotFound)?;
            let count = |at| row.try_get::<i64, _>(at).map(|count| u64::try_from(count).unwrap_or_default());
            let oldest_ms = row.try_get::<i64, _>(3)?.max(0);
            Ok(OutboxCounts { records: count(0)?, mails: count(1)?, parked: count(2)?, oldest_ms })
        };
        self.look(sqlx::query(text), read).await
    }

    pub(super) async fn list(&self, refused_only: bool, most: usize) -> Result<Vec<ListedRow>, OutboxError> {
        let text = "SELECT outbox.id, attempts, event_offset, ordinal, kind, outbox.topic, key, \
            coalesce(octet_length(value), 0)::bigint, last_error, parked::bigint, \
            (extract(epoch FROM not_before - clock_timestamp()) * 1000)::bigint, \
            (extract(epoch FROM clock_timestamp() - made_at) * 1000)::bigint, handler, stream.topic, partition \
            FROM keylane.outbox JOIN keylane.stream ON stream.id = stream WHERE NOT $1 OR attempts > 0 \
            ORDER BY outbox.id LIMIT $2";
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let read = |rows: &[PgRow]| rows.iter().map(listed).collect();
        self.look(sqlx::query(text).bind(refused_only).bind(most), read).await
    }

    async fn answer(&self, query: Query<'_>) -> Result<bool, OutboxError> {
        self.look(query, |rows| rows.first().map_or(Ok(false), |row| row.try_get(0))).await
    }

    async fn look<T>(
        &self,
        query: Query<'_>,
        read: impl FnOnce(&[PgRow]) -> Result<T, sqlx::Error>,
    ) -> Result<T, OutboxError> {
        let server = &self.database.server;
        let looking = async {
            let (mut connection, _permit) = server.outbox.acquire().await?;
            read(&query.fetch_all(&mut *connection).await?)
        };
        Ok(server.within(server.lock_wait, looking).await?)
    }
}

fn listed(row: &PgRow) -> Result<ListedRow, sqlx::Error> {
    let parked = Parked::of(row.try_get(9)?);
    let wait_ms: Option<i64> = row.try_get(10)?;
    let attempts: i32 = row.try_get(1)?;
    Ok(ListedRow {
        id: row.try_get(0)?,
        handler: row.try_get(12)?,
        event_topic: row.try_get(13)?,
        event_partition: row.try_get(14)?,
        row: rows::output(row)?,
        value_bytes: row.try_get(7)?,
        attempts: u32::try_from(attempts).unwrap_or_default(),
        last_error: row.try_get(8)?,
        parked,
        wait_ms: wait_ms.filter(|_| parked == Parked::Waits).map(|wait| wait.max(0)),
        age_ms: row.try_get::<i64, _>(11)?.max(0),
    })
}
