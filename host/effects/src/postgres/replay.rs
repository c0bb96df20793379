//! An operator's replay. It passes the owner's epoch as a take does, announced first; what has ended is then read in a
//! later statement, and the next number is made in the same transaction. A take that comes between finds that it has
//! raised a former number's epoch, and begins again.

use std::sync::Arc;
use std::time::Duration;

use keylane_engine::TopicId;
use sqlx::Row;

use crate::database::StreamKey;
use crate::postgres::ownership::{END_MAX, announce, begin, raise};
use crate::postgres::server::Server;
use crate::postgres::session::Session;
use crate::replay::{ReplayError, ReplayRequest, Replayed, Standing, no_progress};

/// What becomes of it, where the database answers.
type Said = Result<Result<Replayed, ReplayError>, sqlx::Error>;

/// Passes the owner's epoch and begins the next number.
pub(crate) async fn replay(
    server: &Arc<Server>,
    request: &ReplayRequest,
    limit: Duration,
) -> Result<Replayed, ReplayError> {
    // What is refused, or only looked at, takes no epoch from anybody.
    let looking = async {
        let mut session = begin(server).await?;
        let standing = standing(&mut session, request).await?;
        session.rollback().await;
        Ok(standing)
    };
    let standing = server.within(server.lock_wait, looking).await?;
    let (standing, key) = standing.ok_or_else(|| no_progress(request))?;
    let replayed = standing.judge(request)?;
    if request.number.is_none() {
        return Ok(replayed);
    }
    server.within(limit.saturating_add(END_MAX), begin_anew(server, request, &key, limit)).await?
}

async fn begin_anew(server: &Arc<Server>, request: &ReplayRequest, key: &StreamKey, limit: Duration) -> Said {
    let (stream, wanted) = announce(server, key, limit).await?;
    let mut session = begin(server).await?;
    raise(server, &mut session, stream, wanted, limit).await?;
    let judged = match standing(&mut session, request).await? {
        Some((standing, _)) if standing.stream == stream => standing.judge(request),
        Some((standing, _)) => Err(ReplayError::Meanwhile { next: standing.replay.saturating_add(1) }),
        None => Err(no_progress(request)),
    };
    let Ok(replayed) = judged else {
        session.rollback().await;
        return Ok(judged);
    };
    let next = "INSERT INTO keylane.stream (fleet, handler, replay, topic_id, topic, partition) \
        SELECT fleet, handler, replay + 1, topic_id, topic, partition FROM keylane.stream WHERE id = $1 RETURNING id";
    let next = sqlx::query_scalar(next).bind(stream).fetch_one(session.connection()?).await?;
    // Without a place of the log: the former one is of the records that were there then.
    let floor = "INSERT INTO keylane.floor (stream, floor) VALUES ($1, $2)";
    let floor = sqlx::query(floor).bind::<i64>(next).bind(request.from);
    floor.execute(session.connection()?).await?;
    session.commit().await?;
    Ok(Ok(replayed))
}

/// How the partition stands, and what a take would ask for.
async fn standing(
    session: &mut Session,
    request: &ReplayRequest,
) -> Result<Option<(Standing, StreamKey)>, sqlx::Error> {
    let text = "SELECT id, replay, topic_id, floor, \
        (SELECT count(*) FROM keylane.claim WHERE stream = id AND event_offset >= floor AND event_offset < $5), \
        (SELECT count(*) FROM keylane.claim WHERE stream = id AND event_offset >= greatest(floor, $5)), \
        (SELECT max(event_offset) FROM keylane.claim WHERE stream = id) \
        FROM keylane.stream JOIN keylane.floor ON floor.stream = id \
        WHERE fleet = $1 AND handler = $2 AND partition = $4 AND topic_id = (SELECT topic_id FROM keylane.stream \
            WHERE fleet = $1 AND handler = $2 AND topic = $3 AND partition = $4 ORDER BY id DESC LIMIT 1) \
        ORDER BY replay DESC LIMIT 1";
    let query = sqlx::query(text).bind(&request.fleet).bind(&request.handler).bind(&request.topic);
    let query = query.bind(request.partition).bind(request.from);
    let Some(row) = query.fetch_optional(session.connection()?).await? else { return Ok(None) };
    let id: Vec<u8> = row.try_get(2)?;
    let id: [u8; 16] =
        id.try_into().map_err(|_| sqlx::Error::Decode("a topic id of another length".into()))?;
    let standing = Standing {
        stream: row.try_get(0)?,
        replay: row.try_get(1)?,
        floor: row.try_get(3)?,
        claims_below: row.try_get(4)?,
        claims_above: row.try_get(5)?,
        last: row.try_get(6)?,
    };
    let key = StreamKey {
        fleet: request.fleet.clone(),
        handler: request.handler.clone(),
        topic: request.topic.clone(),
        topic_id: TopicId::new(id),
        partition: request.partition,
    };
    Ok(Some((standing, key)))
}
