//! Taking a partition: what will come is noted, so that nothing of the former epoch begins any more; the epoch
//! is raised, which waits for open runs of the former owner; and floor and claims are read in a later
//! statement, so that its snapshot has the last commit of a run that was waited for. READ COMMITTED, because
//! an older snapshot would refuse the epoch instead of waiting for it.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::Row;

use keylane_engine::{Epoch, Fence, LogPosition};

use crate::database::{StreamKey, Taken};
use crate::error::DatabaseError;
use crate::postgres::faults;
use crate::postgres::place::Place;
use crate::postgres::server::Server;
use crate::postgres::session::Session;
use crate::postgres::tables::{self, WHICH};

/// How often the sessions that are in the way are ended: a new one may have come meanwhile.
const END_EVERY: Duration = Duration::from_millis(100);
/// How long sessions are ended before the take is given up.
pub(crate) const END_MAX: Duration = Duration::from_secs(30);

/// What a take waits for.
const FENCE: &str = "the partition's fence";

/// How a transaction of the host's own begins. Waits are bounded by the host's clock.
fn begin_text(server: &Server) -> String {
    format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL ROLE NONE; \
         SET LOCAL search_path = pg_catalog, pg_temp; SET LOCAL synchronous_commit = on; SET LOCAL lock_timeout = 0; \
         SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = {}; {WHICH}",
        server.idle.as_millis()
    )
}

/// True of a fence that was taken in this life of the database. An older copy has the same epoch as long as
/// nobody took the partition since, and lacks what its owner remembers as ended. Data that was put back under
/// a server is of a server that began later; a copy made by this server is another database of it; rows that
/// were read back are of another transaction than the take's.
pub(crate) const SAME_LIFE: &str = "fence.server_began = pg_postmaster_start_time() \
    AND fence.in_database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
    AND fence.written_by = fence.xmin";

/// Becomes owner. After `limit`, by the host's clock, the sessions that are in the way are ended.
pub(crate) async fn take(
    server: &Arc<Server>,
    stream: &StreamKey,
    limit: Duration,
) -> Result<Taken, DatabaseError> {
    let taking = async {
        let began = Instant::now();
        let (mut session, id, replay, epoch) = loop {
            let (id, wanted) = announce(server, stream, limit).await?;
            let mut session = begin(server).await?;
            let epoch = raise(server, &mut session, id, wanted, limit).await?;
            // An operator may have had the partition handled again since it was announced: this number is no
            // more than the former one then.
            let (latest, replay) = latest(&mut session, stream).await?;
            if latest == id {
                break (session, id, replay, epoch);
            }
            session.rollback().await;
        };
        let (floor, ended) = progress(&mut session, id).await?;
        let (floor, position) = floor.unzip();
        session.commit().await?;
        metrics::histogram!("keylane_take_seconds").record(began.elapsed().as_secs_f64());
        Ok(Taken { fence: Fence { stream: id, replay, epoch }, floor, ended, position: position.flatten() })
    };
    server.within(limit.saturating_add(END_MAX), taking).await
}

/// A session of the host's own with an open transaction, in the database that was opened. Connections that died
/// in the pool are dropped.
pub(crate) async fn begin(server: &Arc<Server>) -> Result<Session, sqlx::Error> {
    begin_in(server, &server.own).await
}

/// The same, by a connection of this pool.
pub(crate) async fn begin_in(server: &Server, place: &Arc<Place>) -> Result<Session, sqlx::Error> {
    let text = begin_text(server);
    let mut left = place.max();
    loop {
        let mut session = Session::acquire(place).await?;
        match session.begin(&text).await {
            Ok(rows) => {
                tables::hold_to(server, &mut session, rows.first()).await?;
                return Ok(session);
            }
            Err(error) if faults::is_foreign(&error) => return Err(tables::another(server)),
            Err(error) if left == 0 => return Err(error),
            Err(_) => left -= 1,
        }
    }
}

/// Says which epoch will come, in a transaction of its own, and answers the database's number for the partition
/// and that epoch. From then on no run of the former epoch begins. Without it, the shared locks of runs that
/// come one after another would keep the take out for as long as they come; a taker that dies now has done
/// no more than to pass the epoch.
pub(crate) async fn announce(
    server: &Arc<Server>,
    stream: &StreamKey,
    limit: Duration,
) -> Result<(i64, i64), sqlx::Error> {
    let mut session = begin(server).await?;
    let pid = session.known()?.pid;
    let partitions = [stream.partition];
    granted(server, pid, limit, FENCE, add_streams(&mut session, stream, &partitions)).await?;
    let text = "INSERT INTO keylane.wanted AS former (stream, epoch) \
        SELECT id, coalesce((SELECT epoch FROM keylane.fence WHERE fence.stream = id), 0) + 1 FROM keylane.stream \
        WHERE fleet = $1 AND handler = $2 AND topic_id = $3 AND partition = $4 ORDER BY replay DESC LIMIT 1 \
        ON CONFLICT (stream) DO UPDATE SET epoch = greatest(former.epoch + 1, excluded.epoch) \
        RETURNING stream, epoch";
    let query = sqlx::query_as(text).bind(&stream.fleet).bind(&stream.handler);
    let query = query.bind(stream.topic_id.bytes().as_slice()).bind(stream.partition);
    let noting = query.fetch_one(session.connection()?);
    let noted = granted(server, pid, limit, FENCE, noting).await?;
    session.commit().await?;
    Ok(noted)
}

/// Numbers for partitions, which must be sorted.
pub(crate) async fn add_streams(
    session: &mut Session,
    stream: &StreamKey,
    partitions: &[i32],
) -> Result<(), sqlx::Error> {
    let text = "INSERT INTO keylane.stream (fleet, handler, replay, topic_id, topic, partition) \
                SELECT $1, $2, 0, $3, $4, * FROM unnest($5::int[]) ON CONFLICT DO NOTHING";
    let query = sqlx::query(text).bind(&stream.fleet).bind(&stream.handler);
    let query = query.bind(stream.topic_id.bytes().as_slice()).bind(&stream.topic).bind(partitions);
    query.execute(session.connection()?).await?;
    Ok(())
}

/// The database's number for the partition and its replay number, of which the highest counts.
async fn latest(session: &mut Session, stream: &StreamKey) -> Result<(i64, i64), sqlx::Error> {
    let text = "SELECT id, replay FROM keylane.stream WHERE fleet = $1 AND handler = $2 AND topic_id = $3 \
                AND partition = $4 ORDER BY replay DESC LIMIT 1";
    let query = sqlx::query_as(text).bind(&stream.fleet).bind(&stream.handler);
    let query = query.bind(stream.topic_id.bytes().as_slice()).bind(stream.partition);
    query.fetch_one(session.connection()?).await
}

/// Raises the epoch, for as long as it takes.
pub(crate) async fn raise(
    server: &Server,
    session: &mut Session,
    stream: i64,
    wanted: i64,
    limit: Duration,
) -> Result<Epoch, sqlx::Error> {
    let pid = session.known()?.pid;
    let text = "INSERT INTO keylane.fence AS former (stream, epoch, nonce, server_began, in_database, written_by) \
        VALUES ($1, $2, ('x' || substr(replace(gen_random_uuid()::text, '-', ''), 1, 16))::bit(64)::bigint, \
            pg_postmaster_start_time(), (SELECT oid FROM pg_database WHERE datname = current_database()), \
            pg_current_xact_id()::xid) \
        ON CONFLICT (stream) DO UPDATE SET epoch = greatest(former.epoch + 1, excluded.epoch), nonce = excluded.nonce, \
            server_began = excluded.server_began, in_database = excluded.in_database, written_by = excluded.written_by \
        RETURNING epoch, nonce";
    let raising = sqlx::query(text).bind(stream).bind(wanted).fetch_one(session.connection()?);
    let row = granted(server, pid, limit, FENCE, raising).await?;
    Ok(Epoch { count: row.try_get(0)?, nonce: row.try_get(1)? })
}

/// Awaits a statement that other sessions may keep from its lock: after `limit` they are ended, again and
/// again, until it is granted.
pub(crate) async fn granted<T>(
    server: &Server,
    pid: i32,
    limit: Duration,
    what: &'static str,
    statement: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    let mut statement = pin!(statement);
    let given_up = Instant::now() + limit.saturating_add(END_MAX);
    let mut wait = limit;
    loop {
        if let Ok(answer) = tokio::time::timeout(wait, &mut statement).await {
            return answer;
        }
        if Instant::now() > given_up {
            let late = limit.saturating_add(END_MAX);
            let said = format!("{what} was not had, nor by ending other sessions, in {late:?}");
            return Err(faults::late(said));
        }
        let ended = server.own.watch.end_blockers(pid).await;
        if ended > 0 {
            metrics::counter!("keylane_sql_sessions_ended_total", "database" => server.url.clone())
                .increment(u64::try_from(ended).unwrap_or(0));
            tracing::warn!(ended, what, "ended sessions that held it after their time");
        }
        wait = END_EVERY;
    }
}

/// A floor, and the position beside it.
type Stands = (i64, Option<LogPosition>);

/// Floor and claims, in statements after the epoch's.
async fn progress(session: &mut Session, stream: i64) -> Result<(Option<Stands>, Vec<i64>), sqlx::Error> {
    let floor = "SELECT floor, read_to, leader_epoch FROM keylane.floor WHERE stream = $1";
    let floor = sqlx::query_as(floor).bind(stream).fetch_optional(session.connection()?).await?;
    let floor = floor.map(|(floor, read_to, leader_epoch): (i64, Option<i64>, Option<i32>)| {
        let position = |(offset, leader_epoch)| LogPosition { offset, leader_epoch };
        (floor, read_to.zip(leader_epoch).map(position))
    });
    let text = "SELECT event_offset FROM keylane.claim WHERE stream = $1 AND event_offset >= $2 \
                ORDER BY event_offset";
    let lowest = floor.map_or(i64::MIN, |(floor, _)| floor);
    let ended = sqlx::query_scalar(text).bind(stream).bind(lowest);
    Ok((floor, ended.fetch_all(session.connection()?).await?))
}

/// Which of these offsets are claimed or below the floor. A commit whose answer was lost may be under way still.
/// Where this host has given its session up, that is waited for first: it may not have come to its claims. It may
/// have claims that nobody sees yet: claiming the same offsets waits for just that one, for at most `lock_wait`,
/// and for no other run of the partition. What could be claimed has not ended, and is taken back. The floor is
/// read later: what was claimed before may have been pruned meanwhile.
pub(crate) async fn ended(
    server: &Arc<Server>,
    fence: Fence,
    mut offsets: Vec<i64>,
) -> Result<Vec<i64>, DatabaseError> {
    offsets.sort_unstable();
    server.runs.watch.none_is_ending().await;
    let read = async {
        let mut session = begin(server).await?;
        session.say(format!("SET LOCAL lock_timeout = {}", server.lock_wait.as_millis())).await?;
        let claim = "INSERT INTO keylane.claim (stream, event_offset, ended_as) \
            SELECT $1, asked, 1 FROM unnest($2::bigint[]) AS asked ORDER BY asked \
            ON CONFLICT DO NOTHING RETURNING event_offset";
        let claim = sqlx::query_scalar(claim).bind(fence.stream).bind(&offsets);
        let free: HashSet<i64> = claim.fetch_all(session.connection()?).await?.into_iter().collect();
        let floor = sqlx::query_scalar("SELECT floor FROM keylane.floor WHERE stream = $1");
        let floor: Option<i64> = floor.bind(fence.stream).fetch_optional(session.connection()?).await?;
        session.rollback().await;
        Ok((free, floor.unwrap_or(i64::MIN)))
    };
    let (free, floor) = server.within(server.lock_wait, read).await?;
    offsets.retain(|offset| *offset < floor || !free.contains(offset));
    Ok(offsets)
}
