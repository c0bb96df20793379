//! Taking a partition: the epoch is raised, which waits for open runs of the former owner, and floor and
//! claims are read in a later statement, so that its snapshot has the last commit of a run that was waited
//! for. READ COMMITTED, because an older snapshot would refuse the epoch instead of waiting for it.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use sqlx::Row;

use keylane_engine::{Epoch, Fence};

use crate::database::{StreamKey, Taken};
use crate::error::DatabaseError;
use crate::postgres::faults;
use crate::postgres::server::Server;
use crate::postgres::session::Session;

/// How a transaction of the host's own begins. Waits are bounded by the host's clock.
pub(crate) const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL ROLE NONE; \
    SET LOCAL synchronous_commit = on; SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = 0; \
    SET LOCAL idle_in_transaction_session_timeout = '20s'";
/// How often the sessions that are in the way are ended: a new one may have come meanwhile.
const END_EVERY: Duration = Duration::from_millis(100);
/// How long sessions are ended before the take is given up.
const END_MAX: Duration = Duration::from_secs(30);

/// Becomes owner. After `limit`, by the host's clock, the sessions that are in the way are ended.
pub(crate) async fn take(
    server: &Arc<Server>,
    stream: &StreamKey,
    limit: Duration,
) -> Result<Taken, DatabaseError> {
    let fault = |error: sqlx::Error| server.fault(&error);
    let id = stream_id(server, stream).await.map_err(fault)?;
    let mut session = begin(server).await.map_err(fault)?;
    let epoch = raise(server, &mut session, id, limit).await?;
    let (floor, ended) = progress(&mut session, id).await.map_err(fault)?;
    session.commit().await.map_err(fault)?;
    Ok(Taken { fence: Fence { stream: id, epoch }, floor, ended })
}

/// A session of the host's own with an open transaction. Connections that died in the pool are dropped.
pub(crate) async fn begin(server: &Arc<Server>) -> Result<Session, sqlx::Error> {
    let mut left = server.own.options().get_max_connections();
    loop {
        let mut session = Session::acquire(server, &server.own).await?;
        match session.begin(BEGIN).await {
            Ok(()) => return Ok(session),
            Err(error) if left == 0 => return Err(error),
            Err(_) => left -= 1,
        }
    }
}

/// The database's number for a partition, made if it is missing.
async fn stream_id(server: &Arc<Server>, stream: &StreamKey) -> Result<i64, sqlx::Error> {
    let mut session = begin(server).await?;
    add_streams(&mut session, stream, &[stream.partition]).await?;
    let text = "SELECT id FROM keylane.stream WHERE fleet = $1 AND handler = $2 AND replay = $3 \
                AND topic_id = $4 AND partition = $5";
    let query = sqlx::query_scalar(text).bind(&stream.fleet).bind(&stream.handler).bind(stream.replay);
    let query = query.bind(stream.topic_id.bytes().as_slice()).bind(stream.partition);
    let id = query.fetch_one(session.connection()?).await?;
    session.commit().await?;
    Ok(id)
}

/// Numbers for partitions, which must be sorted.
pub(crate) async fn add_streams(
    session: &mut Session,
    stream: &StreamKey,
    partitions: &[i32],
) -> Result<(), sqlx::Error> {
    let text = "INSERT INTO keylane.stream (fleet, handler, replay, topic_id, topic, partition) \
                SELECT $1, $2, $3, $4, $5, * FROM unnest($6::int[]) ON CONFLICT DO NOTHING";
    let query = sqlx::query(text).bind(&stream.fleet).bind(&stream.handler).bind(stream.replay);
    let query = query.bind(stream.topic_id.bytes().as_slice()).bind(&stream.topic).bind(partitions);
    query.execute(session.connection()?).await?;
    Ok(())
}

/// Raises the epoch, for as long as it takes.
async fn raise(
    server: &Server,
    session: &mut Session,
    stream: i64,
    limit: Duration,
) -> Result<Epoch, DatabaseError> {
    let fault = |error: sqlx::Error| server.fault(&error);
    let pid = session.pid;
    let text = "INSERT INTO keylane.fence AS former (stream, epoch, nonce) \
        VALUES ($1, 1, ('x' || substr(replace(gen_random_uuid()::text, '-', ''), 1, 16))::bit(64)::bigint) \
        ON CONFLICT (stream) DO UPDATE SET epoch = former.epoch + 1, nonce = excluded.nonce \
        RETURNING epoch, nonce";
    let raising = sqlx::query(text).bind(stream).fetch_one(session.connection().map_err(fault)?);
    let mut raising = pin!(raising);
    let mut raised = tokio::time::timeout(limit, &mut raising).await.ok();
    let given_up = tokio::time::Instant::now() + END_MAX;
    while raised.is_none() {
        if tokio::time::Instant::now() > given_up {
            let said =
                format!("the partition's fence was not had in {limit:?}, nor by ending other sessions");
            return Err(faults::unavailable(said, &server.url));
        }
        let ended = server.end_blockers(pid).await;
        if ended > 0 {
            tracing::warn!(stream, ended, "ended sessions that held a partition after its owner's time");
        }
        raised = tokio::time::timeout(END_EVERY, &mut raising).await.ok();
    }
    let row = raised.unwrap_or(Err(sqlx::Error::RowNotFound)).map_err(fault)?;
    let epoch = || Ok(Epoch { count: row.try_get(0)?, nonce: row.try_get(1)? });
    epoch().map_err(fault)
}

/// Floor and claims, in statements after the epoch's.
async fn progress(session: &mut Session, stream: i64) -> Result<(Option<i64>, Vec<i64>), sqlx::Error> {
    let floor = sqlx::query_scalar("SELECT floor FROM keylane.floor WHERE stream = $1").bind(stream);
    let floor: Option<i64> = floor.fetch_optional(session.connection()?).await?;
    let text = "SELECT event_offset FROM keylane.claim WHERE stream = $1 AND event_offset >= $2 \
                ORDER BY event_offset";
    let ended = sqlx::query_scalar(text).bind(stream).bind(floor.unwrap_or(i64::MIN));
    Ok((floor, ended.fetch_all(session.connection()?).await?))
}

/// Which of these offsets are claimed or below the floor. A commit whose answer was lost may be under way
/// still: its session holds the fence until it is decided, so the fence is locked first, and the claims are
/// read in a later statement. Runs of the partition that begin meanwhile wait as well; for at most `lock_wait`.
pub(crate) async fn ended(
    server: &Arc<Server>,
    fence: Fence,
    offsets: Vec<i64>,
) -> Result<Vec<i64>, DatabaseError> {
    let read = async {
        let mut session = begin(server).await?;
        session.say(format!("SET LOCAL lock_timeout = {}", server.lock_wait.as_millis())).await?;
        let lock = "SELECT FROM keylane.fence WHERE stream = $1 FOR UPDATE";
        sqlx::query(lock).bind(fence.stream).execute(session.connection()?).await?;
        let text = "SELECT asked.event_offset FROM unnest($2::bigint[]) AS asked (event_offset) \
            WHERE asked.event_offset < (SELECT floor FROM keylane.floor WHERE stream = $1) \
            OR EXISTS (SELECT FROM keylane.claim AS claim \
                       WHERE claim.stream = $1 AND claim.event_offset = asked.event_offset) \
            ORDER BY asked.event_offset";
        let query = sqlx::query_scalar(text).bind(fence.stream).bind(offsets);
        let ended = query.fetch_all(session.connection()?).await?;
        session.commit().await?;
        Ok(ended)
    };
    read.await.map_err(|error: sqlx::Error| server.fault(&error))
}
