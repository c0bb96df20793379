//! The closing words of a run: its outbox rows, in the order in which they came, its claims, sorted, and the
//! commit. They go to the connection's thread as one message: each turn costs as much as a short statement.

use sqlx::{QueryBuilder, Sqlite};

use keylane_engine::Fence;

use crate::database::{EndedAs, OutboxRow};
use crate::sqlite::connection::{Connection, GUEST_LENGTH_MAX, Query};
use crate::sqlite::fault::Fault;

/// Rows of one INSERT into the outbox; SQLite takes 32,766 parameters, a row has eight.
const OUTBOX_ROWS_MAX: usize = 1_000;
/// What a row of the outbox has beside its texts and bytes, at most, in bytes.
const ROW_BYTES: usize = 1_024;

/// The last words.
pub(crate) struct Words(QueryBuilder<Sqlite>);

impl Words {
    pub(crate) fn query(&mut self) -> Query<'_> {
        self.0.build().persistent(false)
    }
}

/// Writes those rows that are too many for one message, and answers the last ones. Makes room for long ones.
pub(crate) async fn ahead(
    connection: &mut Connection,
    fence: Fence,
    mut rows: Vec<OutboxRow>,
) -> Result<Vec<OutboxRow>, Fault> {
    if rows.iter().any(is_long) {
        connection.for_host().await?;
    }
    while rows.len() > OUTBOX_ROWS_MAX {
        let rest = rows.split_off(OUTBOX_ROWS_MAX);
        let mut words = Words(QueryBuilder::new(""));
        insert(&mut words.0, fence, rows);
        connection.run(words.query()).await?;
        rows = rest;
    }
    Ok(rows)
}

fn is_long(row: &OutboxRow) -> bool {
    let bytes = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
    let row = row.topic.len() + bytes(&row.key) + bytes(&row.value) + row.headers.len();
    i32::try_from(row.saturating_add(ROW_BYTES)).map_or(true, |row| row > GUEST_LENGTH_MAX)
}

/// Of two rows, the cause has the smaller id.
fn insert(builder: &mut QueryBuilder<Sqlite>, fence: Fence, rows: Vec<OutboxRow>) {
    builder.push(
        "INSERT INTO keylane_outbox (stream, event_offset, ordinal, kind, topic, key, value, headers) ",
    );
    builder.push_values(rows, |mut values, row| {
        values.push_bind(fence.stream).push_bind(row.event_offset).push_bind(row.ordinal);
        values.push_bind(row.kind as i32).push_bind(row.topic);
        values.push_bind(row.key).push_bind(row.value).push_bind(row.headers);
    });
}

/// [`Fault::Unique`] where a claim exists or its offset lies below the floor: there each is written twice.
pub(crate) fn words(fence: Fence, outbox: Vec<OutboxRow>, mut endings: Vec<(i64, EndedAs)>) -> Words {
    let mut builder = QueryBuilder::new("");
    if !outbox.is_empty() {
        insert(&mut builder, fence, outbox);
        builder.push("; ");
    }
    endings.sort_by_key(|(offset, _)| *offset);
    if let Some((lowest, _)) = endings.first() {
        let pairs: Vec<_> =
            endings.iter().map(|(offset, ended_as)| format!("[{offset},{}]", *ended_as as i32)).collect();
        builder.push("INSERT INTO keylane_claim SELECT ").push_bind(fence.stream);
        builder.push(", value ->> 0, value ->> 1 FROM json_each(");
        builder.push_bind(format!("[{}]", pairs.join(",")));
        builder.push("), (SELECT 1 UNION ALL SELECT 1 FROM keylane_floor WHERE stream = ");
        builder.push_bind(fence.stream).push(" AND floor > ").push_bind(*lowest).push("); ");
    }
    builder.push("COMMIT");
    Words(builder)
}
