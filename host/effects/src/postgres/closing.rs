//! The end of a run: what is asked and set before it, and what is written, outbox rows and claims, sorted, one
//! statement each. Two runs that inserted the same claims in different orders would deadlock; sorted, the second
//! one waits for the first.

use sqlx::PgConnection;

use crate::database::{EndedAs, OutboxRow};
use crate::postgres::place::NOW;

/// What is said of a handler whose function or view took another role, or kept the host from writing.
pub(crate) const SETTINGS_CHANGED: &str =
    "a function or view of the handler's changed the session's role, or had the transaction read only";

/// Before the closing statements: what the handler's constraints put off, still as guest. The settings that a
/// function of its own could have changed, and that the host cannot set back, are asked for; the others are set.
pub(crate) fn text() -> String {
    format!(
        "SET CONSTRAINTS ALL IMMEDIATE; SET LOCAL search_path = pg_catalog, pg_temp; \
         SELECT {NOW}, current_setting('role'), current_setting('transaction_read_only'); \
         SET LOCAL ROLE NONE; SET LOCAL synchronous_commit = on; SET LOCAL statement_timeout = 0"
    )
}

/// What a trigger has put off to this moment fires as the guest. One that weakens the commit from there loses
/// nothing that anybody was told: what leaves by the relay leaves after a later commit of the host's own, which
/// presses all before it to the disk, and whoever finds the server started again takes its partitions anew.
pub(crate) const COMMIT: &str = "SET LOCAL ROLE keylane_guest; SET LOCAL synchronous_commit = on; COMMIT";

/// Outbox rows, by column.
#[derive(Default)]
pub(crate) struct OutboxColumns {
    event_offset: Vec<i64>,
    ordinal: Vec<i32>,
    kind: Vec<i16>,
    topic: Vec<String>,
    key: Vec<Option<Vec<u8>>>,
    value: Vec<Option<Vec<u8>>>,
    headers: Vec<Vec<u8>>,
}

impl OutboxColumns {
    /// Sorted by event and ordinal.
    pub(crate) fn of(rows: &[OutboxRow]) -> Self {
        let mut sorted: Vec<&OutboxRow> = rows.iter().collect();
        sorted.sort_by_key(|row| (row.event_offset, row.ordinal));
        let mut columns = Self::default();
        for row in sorted {
            columns.event_offset.push(row.event_offset);
            columns.ordinal.push(row.ordinal);
            columns.kind.push(row.kind as i16);
            columns.topic.push(row.topic.clone());
            columns.key.push(row.key.clone());
            columns.value.push(row.value.clone());
            columns.headers.push(row.headers.clone());
        }
        columns
    }

    /// Writes them.
    pub(crate) async fn insert(self, connection: &mut PgConnection, stream: i64) -> Result<(), sqlx::Error> {
        if self.event_offset.is_empty() {
            return Ok(());
        }
        let text = "INSERT INTO keylane.outbox \
            (stream, event_offset, ordinal, kind, topic, key, value, headers) \
            SELECT $1, * FROM unnest($2::bigint[], $3::int[], $4::smallint[], $5::text[], $6::bytea[], \
            $7::bytea[], $8::bytea[])";
        let query = sqlx::query(text).bind(stream).bind(self.event_offset).bind(self.ordinal);
        let query = query.bind(self.kind).bind(self.topic).bind(self.key).bind(self.value).bind(self.headers);
        query.execute(connection).await?;
        Ok(())
    }
}

/// Claims, by column.
#[derive(Default)]
pub(crate) struct ClaimColumns {
    event_offset: Vec<i64>,
    ended_as: Vec<i16>,
}

impl ClaimColumns {
    /// Sorted by offset.
    pub(crate) fn of(endings: &[(i64, EndedAs)]) -> Self {
        let mut sorted = endings.to_vec();
        sorted.sort_by_key(|(offset, _)| *offset);
        let (event_offset, ended_as) =
            sorted.into_iter().map(|(offset, ended)| (offset, ended as i16)).unzip();
        Self { event_offset, ended_as }
    }

    /// Writes them. False, with nothing written, if one of them lies below the floor: that event has ended.
    pub(crate) async fn insert(
        self,
        connection: &mut PgConnection,
        stream: i64,
    ) -> Result<bool, sqlx::Error> {
        let Some(lowest) = self.event_offset.first().copied() else { return Ok(true) };
        let text = "INSERT INTO keylane.claim (stream, event_offset, ended_as) \
            SELECT $1, * FROM unnest($2::bigint[], $3::smallint[]) \
            WHERE NOT EXISTS (SELECT FROM keylane.floor WHERE floor.stream = $1 AND floor.floor > $4)";
        let query = sqlx::query(text).bind(stream).bind(self.event_offset).bind(self.ended_as).bind(lowest);
        Ok(query.execute(connection).await?.rows_affected() > 0)
    }
}
