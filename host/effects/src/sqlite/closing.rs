//! The closing statements of a run: its outbox rows, in the order in which they came, and its claims, sorted.

use sqlx::{QueryBuilder, Sqlite};

use keylane_engine::Fence;

use crate::database::{EndedAs, OutboxRow};
use crate::sqlite::connection::{Connection, host};
use crate::sqlite::fault::Fault;

/// Rows of one INSERT into the outbox; SQLite takes 32,766 parameters, a row has eight.
const OUTBOX_ROWS_MAX: usize = 1_000;

/// Writes the outbox rows, in their order: of two, the cause has the smaller id.
pub(crate) async fn outbox(
    connection: &mut Connection,
    fence: Fence,
    mut rows: Vec<OutboxRow>,
) -> Result<(), Fault> {
    while !rows.is_empty() {
        let rest = rows.split_off(rows.len().min(OUTBOX_ROWS_MAX));
        let mut builder = QueryBuilder::<Sqlite>::new(
            "INSERT INTO keylane_outbox (stream, event_offset, ordinal, kind, topic, key, value, headers) ",
        );
        builder.push_values(rows, |mut values, row| {
            values.push_bind(fence.stream).push_bind(row.event_offset).push_bind(row.ordinal);
            values.push_bind(row.kind as i32).push_bind(row.topic);
            values.push_bind(row.key).push_bind(row.value).push_bind(row.headers);
        });
        connection.run(builder.build().persistent(false)).await?;
        rows = rest;
    }
    Ok(())
}

/// Writes the claims. [`Fault::Unique`] where one exists or its offset lies below the floor.
pub(crate) async fn claims(
    connection: &mut Connection,
    fence: Fence,
    mut endings: Vec<(i64, EndedAs)>,
) -> Result<(), Fault> {
    endings.sort_by_key(|(offset, _)| *offset);
    let Some((lowest, _)) = endings.first() else { return Ok(()) };
    let below = "SELECT 1 FROM keylane_floor WHERE stream = $1 AND floor > $2";
    if !connection.fetch(host(below).bind(fence.stream).bind(*lowest)).await?.is_empty() {
        return Err(Fault::Unique(format!("offset {lowest} lies below the floor")));
    }
    let pairs: Vec<_> =
        endings.iter().map(|(offset, ended_as)| format!("[{offset},{}]", *ended_as as i32)).collect();
    let insert = "INSERT INTO keylane_claim SELECT $1, value ->> 0, value ->> 1 FROM json_each($2)";
    connection.run(host(insert).bind(fence.stream).bind(format!("[{}]", pairs.join(",")))).await?;
    Ok(())
}
