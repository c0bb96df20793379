//! The host's own transactions: taking a partition, settling where it starts, pruning, and asking what has
//! ended. Each is one BEGIN IMMEDIATE, so each sees all that was committed before it.

use std::collections::BTreeMap;
use std::time::Duration;

use keylane_engine::{Epoch, Fence, LogPosition};

use crate::database::{PRUNE_CLAIMS_MAX, Pruned, StreamKey, Taken};
use crate::error::{BeginError, DatabaseError};
use crate::sqlite::connection::{Connection, host};
use crate::sqlite::file::File;
use crate::sqlite::fleets;
use crate::sqlite::tables::{get, only};
use crate::sqlite::writing::Writing;

/// Raises the epoch, then reads floor and claims.
pub(crate) async fn take(file: &File, key: &StreamKey, limit: Duration) -> Result<Taken, DatabaseError> {
    let began = std::time::Instant::now();
    let slot = Writing::begin(file, limit, limit);
    let late = |_| file.unavailable(format!("an open transaction kept the writer for {limit:?}"));
    let mut writing = tokio::time::timeout(limit, slot).await.map_err(late)??;
    let (stream, replay) = stream(&mut writing, file, key, key.partition).await?;
    let raise = "INSERT INTO keylane_fence SELECT $1, 1, random(), concat_ws(' ', $2, schema_version) \
                 FROM pragma_schema_version WHERE true ON CONFLICT (stream) DO UPDATE SET \
                 epoch_count = epoch_count + 1, epoch_nonce = excluded.epoch_nonce, life = excluded.life \
                 RETURNING epoch_count, epoch_nonce";
    let opened = writing.connection()?.file.to_string();
    let rows = writing.fetch(host(raise).bind(stream).bind(opened)).await?;
    let row = only(&rows, &file.url)?;
    let epoch = Epoch { count: get(row, 0, &file.url)?, nonce: get(row, 1, &file.url)? };
    let (floor, position) = floor(&mut writing, file, stream).await?.unzip();
    let claims = "SELECT event_offset FROM keylane_claim WHERE stream = $1 AND event_offset >= $2 \
                  ORDER BY event_offset";
    let rows = writing.fetch(host(claims).bind(stream).bind(floor.unwrap_or(i64::MIN))).await?;
    let ended = rows.iter().map(|row| get(row, 0, &file.url)).collect::<Result<_, _>>()?;
    writing.commit().await?;
    metrics::histogram!("keylane_take_seconds").record(began.elapsed().as_secs_f64());
    Ok(Taken { fence: Fence { stream, replay, epoch }, floor, ended, position: position.flatten() })
}

/// Settles the starts of all partitions of a topic, as the seam says.
pub(crate) async fn settle_start(
    file: &File,
    key: &StreamKey,
    floors: &[(i32, i64)],
) -> Result<BTreeMap<i32, i64>, DatabaseError> {
    let mut writing = Writing::begin(file, file.writer_wait, file.lock_wait).await?;
    if let Err(error) = fleets::check(&mut writing, file, key).await {
        writing.rollback().await;
        return Err(error);
    }
    let known = "SELECT 1 FROM keylane_stream JOIN keylane_floor ON stream = id \
                 WHERE fleet = $1 AND handler = $2 AND (topic_id = $3 OR topic = $4) LIMIT 1";
    let known = host(known).bind(key.fleet.clone()).bind(key.handler.clone());
    let known = known.bind(key.topic_id.bytes().to_vec()).bind(key.topic.clone());
    let settled_before = !writing.fetch(known).await?.is_empty();
    for (partition, offered) in floors {
        let (stream, _) = stream(&mut writing, file, key, *partition).await?;
        let offered = if settled_before { 0 } else { *offered };
        let insert = "INSERT INTO keylane_floor (stream, floor) VALUES ($1, $2) ON CONFLICT DO NOTHING";
        writing.run(host(insert).bind(stream).bind(offered)).await?;
    }
    // Of each partition the highest replay number, which comes last.
    let stands = "SELECT partition, floor FROM keylane_stream JOIN keylane_floor ON stream = id \
                  WHERE fleet = $1 AND handler = $2 AND topic_id = $3 ORDER BY replay";
    let stands = host(stands).bind(key.fleet.clone()).bind(key.handler.clone());
    let rows = writing.fetch(stands.bind(key.topic_id.bytes().to_vec())).await?;
    let pair = |row| Ok((get(row, 0, &file.url)?, get(row, 1, &file.url)?));
    let stands = rows.iter().map(pair).collect::<Result<_, DatabaseError>>()?;
    writing.commit().await?;
    Ok(stands)
}

/// Raises the floor by one batch.
pub(crate) async fn raise_floor(
    file: &File,
    fence: Fence,
    wanted: i64,
    position: Option<LogPosition>,
) -> Result<Pruned, BeginError> {
    let mut writing = begin(file, fence).await?;
    let Some((floor, _)) = floor(&mut writing, file, fence.stream).await? else {
        let reason = format!("stream {} has no floor to raise; settle its start first", fence.stream);
        return Err(DatabaseError::Tables { url: file.url.to_string(), reason }.into());
    };
    // The first claim that is left to the next batch, if there is one.
    let next = "SELECT event_offset FROM keylane_claim WHERE stream = $1 AND event_offset >= $2 \
                AND event_offset < $3 ORDER BY event_offset LIMIT 1 OFFSET $4";
    let next = host(next).bind(fence.stream).bind(floor).bind(wanted).bind(PRUNE_CLAIMS_MAX);
    let next = writing.fetch(next).await?;
    let more = next.first().map(|row| get::<i64>(row, 0, &file.url)).transpose()?;
    let raised = more.unwrap_or(wanted).max(floor);
    let delete = "DELETE FROM keylane_claim WHERE stream = $1 AND event_offset >= $2 AND event_offset < $3";
    let claims = writing.run(host(delete).bind(fence.stream).bind(floor).bind(raised)).await?;
    // It may lie above what a batch gets to. The former one goes all the same: between it and the new floor there
    // are records, and a place is one with none between it and its floor.
    let position = position.filter(|_| raised == wanted);
    let update = "UPDATE keylane_floor SET floor = $2, read_to = $3, leader_epoch = $4 \
                  WHERE stream = $1 AND floor < $2";
    let update = host(update).bind(fence.stream).bind(raised).bind(position.map(|position| position.offset));
    writing.run(update.bind(position.map(|position| position.leader_epoch))).await?;
    writing.commit().await?;
    Ok(Pruned { claims, floor: raised, more: more.is_some() })
}

/// Which of these offsets have ended. It waits for its turn to write, because a commit whose answer was
/// lost may still be under way.
pub(crate) async fn ended(file: &File, fence: Fence, offsets: &[i64]) -> Result<Vec<i64>, DatabaseError> {
    let mut writing = Writing::begin(file, file.writer_wait, file.lock_wait).await?;
    let text = "SELECT value FROM json_each($2) \
                WHERE value < (SELECT floor FROM keylane_floor WHERE stream = $1) \
                OR EXISTS (SELECT 1 FROM keylane_claim WHERE stream = $1 AND event_offset = value) \
                ORDER BY value";
    let rows = writing.fetch(host(text).bind(fence.stream).bind(list(offsets))).await?;
    let ended = rows.iter().map(|row| get(row, 0, &file.url)).collect();
    writing.rollback().await;
    ended
}

/// Begins, if the epoch is still the fence's, count and random number both, and the file is still the one that
/// the take found. SQLite has one writer, so holding it is holding the fence. An older copy has the same epoch as
/// long as nobody took the partition since, and lacks what its owner remembers as ended. Put in the file's place, it
/// is another file; written over it by SQLite's own `.restore`, it has a schema version that the file never had (as
/// after a migration, which costs a take).
pub(crate) async fn begin(file: &File, fence: Fence) -> Result<Writing, BeginError> {
    let words = |connection: &Connection| {
        let text = "BEGIN IMMEDIATE; \
                    SELECT EXISTS (SELECT 1 FROM keylane_fence \
                    WHERE stream = $1 AND epoch_count = $2 AND epoch_nonce = $3 \
                    AND life = (SELECT concat_ws(' ', $4, schema_version) FROM pragma_schema_version))";
        let query = host(text).bind(fence.stream).bind(fence.epoch.count).bind(fence.epoch.nonce);
        query.bind(connection.file.to_string())
    };
    let (writing, owned) = Writing::begin_with(file, file.writer_wait, file.lock_wait, words).await?;
    // Always one row: none is no answer, which nothing else says of the second of two statements.
    let Some(row) = owned.first() else {
        return Err(file.unavailable("whose the partition is was not answered".to_owned()).into());
    };
    if !get::<bool>(row, 0, &file.url)? {
        writing.rollback().await;
        return Err(BeginError::NotOwner);
    }
    Ok(writing)
}

/// The number of a stream, made if it is new, and its replay number, of which the highest counts. The topic's name
/// follows a renaming; its id does not change.
async fn stream(
    writing: &mut Writing,
    file: &File,
    key: &StreamKey,
    partition: i32,
) -> Result<(i64, i64), DatabaseError> {
    let text = "INSERT INTO keylane_stream (fleet, handler, replay, topic, topic_id, partition) \
                VALUES ($1, $2, 0, $3, $4, $5) ON CONFLICT (fleet, handler, replay, topic_id, partition) \
                DO UPDATE SET topic = excluded.topic";
    let query = host(text).bind(key.fleet.clone()).bind(key.handler.clone());
    let query = query.bind(key.topic.clone()).bind(key.topic_id.bytes().to_vec()).bind(partition);
    writing.run(query).await?;
    let text = "SELECT id, replay FROM keylane_stream WHERE fleet = $1 AND handler = $2 AND topic_id = $3 \
                AND partition = $4 ORDER BY replay DESC LIMIT 1";
    let query = host(text).bind(key.fleet.clone()).bind(key.handler.clone());
    let rows = writing.fetch(query.bind(key.topic_id.bytes().to_vec()).bind(partition)).await?;
    let row = only(&rows, &file.url)?;
    Ok((get(row, 0, &file.url)?, get(row, 1, &file.url)?))
}

/// The floor, and the position beside it.
async fn floor(
    writing: &mut Writing,
    file: &File,
    stream: i64,
) -> Result<Option<(i64, Option<LogPosition>)>, DatabaseError> {
    let text = "SELECT floor, read_to, leader_epoch FROM keylane_floor WHERE stream = $1";
    let rows = writing.fetch(host(text).bind(stream)).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let read_to: Option<i64> = get(row, 1, &file.url)?;
    let position = |(offset, leader_epoch)| LogPosition { offset, leader_epoch };
    Ok(Some((get(row, 0, &file.url)?, read_to.zip(get(row, 2, &file.url)?).map(position))))
}

/// Numbers as a JSON list: one parameter for any number of them.
fn list(numbers: &[i64]) -> String {
    let words: Vec<_> = numbers.iter().map(i64::to_string).collect();
    format!("[{}]", words.join(","))
}
