//! Where the partitions of a topic start, settled once for all of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::database::StreamKey;
use crate::error::DatabaseError;
use crate::postgres::fleets;
use crate::postgres::ownership::{add_streams, begin};
use crate::postgres::server::Server;
use crate::postgres::session::Session;

/// Settles what is missing and answers what stands. Those that come at once wait for each other at an
/// advisory lock, so that only the first one's offers count.
pub(crate) async fn settle_start(
    server: &Arc<Server>,
    stream: &StreamKey,
    mut floors: Vec<(i32, i64)>,
) -> Result<BTreeMap<i32, i64>, DatabaseError> {
    floors.sort_unstable();
    let settled = async {
        let mut session = begin(server).await?;
        let standing = settle(server, &mut session, stream, &floors).await?;
        session.commit().await?;
        Ok(standing)
    };
    server.within(server.lock_wait, settled).await
}

async fn settle(
    server: &Server,
    session: &mut Session,
    stream: &StreamKey,
    floors: &[(i32, i64)],
) -> Result<BTreeMap<i32, i64>, sqlx::Error> {
    // Of all fleets, so that the second one finds what the first has settled.
    let name = format!("keylane {} {}", stream.handler, stream.topic);
    let lock = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))";
    sqlx::query(lock).bind(name).execute(session.connection()?).await?;
    fleets::check(server, session, stream).await?;
    let known = is_known(session, stream).await?;
    let (partitions, offers): (Vec<i32>, Vec<i64>) =
        floors.iter().map(|(partition, offer)| (*partition, if known { 0 } else { *offer })).unzip();
    add_streams(session, stream, &partitions).await?;
    let text = "INSERT INTO keylane.floor (stream, floor) SELECT stream.id, offered.floor \
        FROM unnest($4::int[], $5::bigint[]) AS offered (partition, floor) JOIN keylane.stream USING (partition) \
        WHERE fleet = $1 AND handler = $2 AND replay = 0 AND topic_id = $3 \
        ORDER BY stream.id ON CONFLICT DO NOTHING";
    let query = sqlx::query(text).bind(&stream.fleet).bind(&stream.handler);
    let query = query.bind(stream.topic_id.bytes().as_slice()).bind(partitions).bind(offers);
    query.execute(session.connection()?).await?;
    // Of each partition the highest replay number, which comes last.
    let text = "SELECT partition, floor FROM keylane.floor JOIN keylane.stream ON stream.id = floor.stream \
        WHERE fleet = $1 AND handler = $2 AND topic_id = $3 ORDER BY replay";
    let query = sqlx::query_as(text).bind(&stream.fleet).bind(&stream.handler);
    let query = query.bind(stream.topic_id.bytes().as_slice());
    let standing: Vec<(i32, i64)> = query.fetch_all(session.connection()?).await?;
    Ok(standing.into_iter().collect())
}

/// Whether any partition of this topic, under this id or this name, was settled before.
async fn is_known(session: &mut Session, stream: &StreamKey) -> Result<bool, sqlx::Error> {
    let text = "SELECT EXISTS (SELECT FROM keylane.floor JOIN keylane.stream ON stream.id = floor.stream \
        WHERE fleet = $1 AND handler = $2 AND (topic_id = $3 OR topic = $4))";
    let query = sqlx::query_scalar(text).bind(&stream.fleet).bind(&stream.handler);
    let query = query.bind(stream.topic_id.bytes().as_slice()).bind(&stream.topic);
    query.fetch_one(session.connection()?).await
}
