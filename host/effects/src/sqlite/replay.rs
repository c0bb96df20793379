//! An operator's replay: one transaction that sees all that was committed before it.

use std::time::Duration;

use crate::error::DatabaseError;
use crate::replay::{ReplayError, ReplayRequest, Replayed, Standing, no_progress};
use crate::sqlite::connection::host;
use crate::sqlite::file::File;
use crate::sqlite::tables::{get, only};
use crate::sqlite::writing::Writing;

/// Passes the owner's epoch and begins the next number.
pub(crate) async fn replay(
    file: &File,
    request: &ReplayRequest,
    limit: Duration,
) -> Result<Replayed, ReplayError> {
    let mut writing = Writing::begin(file, limit, limit).await?;
    match begin_anew(&mut writing, file, request).await {
        Ok(replayed) if request.number.is_some() => {
            writing.commit().await?;
            Ok(replayed)
        }
        said => {
            writing.rollback().await;
            said
        }
    }
}

async fn begin_anew(
    writing: &mut Writing,
    file: &File,
    request: &ReplayRequest,
) -> Result<Replayed, ReplayError> {
    let standing = standing(writing, file, request).await?.ok_or_else(|| no_progress(request))?;
    let replayed = standing.judge(request)?;
    let pass =
        "UPDATE keylane_fence SET epoch_count = epoch_count + 1, epoch_nonce = random() WHERE stream = $1";
    writing.run(host(pass).bind(standing.stream)).await?;
    let next = "INSERT INTO keylane_stream (fleet, handler, replay, topic, topic_id, partition) \
                SELECT fleet, handler, replay + 1, topic, topic_id, partition FROM keylane_stream WHERE id = $1 \
                RETURNING id";
    let rows = writing.fetch(host(next).bind(standing.stream)).await?;
    let next: i64 = get(only(&rows, &file.url)?, 0, &file.url)?;
    // Without a place of the log: the former one is of the records that were there then.
    let floor = "INSERT INTO keylane_floor (stream, floor) VALUES ($1, $2)";
    writing.run(host(floor).bind(next).bind(request.from)).await?;
    Ok(replayed)
}

async fn standing(
    writing: &mut Writing,
    file: &File,
    request: &ReplayRequest,
) -> Result<Option<Standing>, DatabaseError> {
    let text = "SELECT id, replay, floor, \
        (SELECT count(*) FROM keylane_claim WHERE stream = id AND event_offset >= floor AND event_offset < $5), \
        (SELECT count(*) FROM keylane_claim WHERE stream = id AND event_offset >= max(floor, $5)), \
        (SELECT max(event_offset) FROM keylane_claim WHERE stream = id) \
        FROM keylane_stream JOIN keylane_floor ON stream = id \
        WHERE fleet = $1 AND handler = $2 AND partition = $4 AND topic_id = (SELECT topic_id FROM keylane_stream \
            WHERE fleet = $1 AND handler = $2 AND topic = $3 AND partition = $4 ORDER BY id DESC LIMIT 1) \
        ORDER BY replay DESC LIMIT 1";
    let query = host(text).bind(request.fleet.clone()).bind(request.handler.clone());
    let query = query.bind(request.topic.clone()).bind(request.partition).bind(request.from);
    let rows = writing.fetch(query).await?;
    let (Some(row), url) = (rows.first(), &file.url) else { return Ok(None) };
    Ok(Some(Standing {
        stream: get(row, 0, url)?,
        replay: get(row, 1, url)?,
        floor: get(row, 2, url)?,
        claims_below: get(row, 3, url)?,
        claims_above: get(row, 4, url)?,
        last: get(row, 5, url)?,
    }))
}
