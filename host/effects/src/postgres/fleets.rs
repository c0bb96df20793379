//! Whose a handler's progress is: one fleet's. A fleet that was renamed would begin anew under its new name, and
//! do everything again.

use std::sync::Arc;

use crate::database::StreamKey;
use crate::error::DatabaseError;
use crate::postgres::faults;
use crate::postgres::ownership::begin;
use crate::postgres::server::Server;
use crate::postgres::session::Session;

/// Refuses progress of this handler in this topic that is another fleet's.
pub(crate) async fn check(
    server: &Server,
    session: &mut Session,
    stream: &StreamKey,
) -> Result<(), sqlx::Error> {
    let text = "SELECT fleet FROM keylane.stream JOIN keylane.floor ON floor.stream = stream.id \
                WHERE fleet <> $1 AND handler = $2 AND topic_id = $3 LIMIT 1";
    let query = sqlx::query_scalar(text).bind(&stream.fleet).bind(&stream.handler);
    let query = query.bind(stream.topic_id.bytes().as_slice());
    let Some(stands) = query.fetch_optional(session.connection()?).await? else { return Ok(()) };
    Err(faults::found(DatabaseError::OtherFleet {
        url: server.url.clone(),
        stands,
        asked: stream.fleet.clone(),
    }))
}

/// Makes all progress of this handler, and the outbox, this fleet's. Numbers that were given under other names, before
/// those were refused, have no progress; they are taken back, or two of them would come to have one name.
pub(crate) async fn adopt(server: &Arc<Server>, handler: &str, fleet: &str) -> Result<(), DatabaseError> {
    let adopting = async {
        let mut session = begin(server).await?;
        let unused = "WITH unused AS (DELETE FROM keylane.stream WHERE handler = $1 \
            AND NOT EXISTS (SELECT FROM keylane.floor WHERE floor.stream = stream.id) RETURNING id), \
            fences AS (DELETE FROM keylane.fence USING unused WHERE fence.stream = unused.id) \
            DELETE FROM keylane.wanted USING unused WHERE wanted.stream = unused.id";
        sqlx::query(unused).bind(handler).execute(session.connection()?).await?;
        let rename = "UPDATE keylane.stream SET fleet = $2 WHERE handler = $1 AND fleet <> $2";
        sqlx::query(rename).bind(handler).bind(fleet).execute(session.connection()?).await?;
        let relay = "UPDATE keylane.relay SET fleet = $1, held_until = '-infinity', epoch = epoch + 1, nonce = \
            ('x' || substr(replace(gen_random_uuid()::text, '-', ''), 1, 16))::bit(64)::bigint WHERE fleet <> $1";
        sqlx::query(relay).bind(fleet).execute(session.connection()?).await?;
        session.commit().await
    };
    server.within(server.lock_wait, adopting).await
}
