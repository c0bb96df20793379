//! Pruning: the floor goes up and the claims below it go, in one transaction, under the same share-lock as a
//! run. The floor is a row that no run locks.

use std::sync::Arc;

use keylane_engine::{Fence, LogPosition};

use crate::database::{PRUNE_CLAIMS_MAX, Pruned};
use crate::error::BeginError;
use crate::postgres::ownership::{SAME_LIFE, begin};
use crate::postgres::server::Server;
use crate::postgres::session::Session;

/// One batch.
pub(crate) async fn raise_floor(
    server: &Arc<Server>,
    fence: Fence,
    floor: i64,
    position: Option<LogPosition>,
) -> Result<Pruned, BeginError> {
    let pruned = async {
        let mut session = begin(server).await?;
        if !is_own(&mut session, fence).await? {
            session.rollback().await;
            return Ok(None);
        }
        let pruned = prune(&mut session, fence.stream, floor, position).await?;
        session.commit().await?;
        Ok(Some(pruned))
    };
    server.within(server.lock_wait, pruned).await?.ok_or(BeginError::NotOwner)
}

async fn is_own(session: &mut Session, fence: Fence) -> Result<bool, sqlx::Error> {
    let text = format!(
        "SELECT true FROM keylane.fence WHERE stream = $1 AND epoch = $2 AND nonce = $3 AND {SAME_LIFE} \
         FOR SHARE OF fence"
    );
    let query = sqlx::query(sqlx::AssertSqlSafe(text))
        .bind(fence.stream)
        .bind(fence.epoch.count)
        .bind(fence.epoch.nonce);
    Ok(query.fetch_optional(session.connection()?).await?.is_some())
}

/// The former floor is the lower bound: below it nothing lives, but before a vacuum much that is dead, which
/// a search without a bound would pass over one by one.
async fn prune(
    session: &mut Session,
    stream: i64,
    asked: i64,
    position: Option<LogPosition>,
) -> Result<Pruned, sqlx::Error> {
    let former =
        sqlx::query_scalar("SELECT floor FROM keylane.floor WHERE stream = $1 FOR UPDATE").bind(stream);
    let former: Option<i64> = former.fetch_optional(session.connection()?).await?;
    if let Some(floor) = former.filter(|former| *former >= asked) {
        return Ok(Pruned { claims: 0, floor, more: false });
    }
    let low = former.unwrap_or(i64::MIN);
    let text = "SELECT event_offset FROM keylane.claim WHERE stream = $1 AND event_offset >= $2 \
                AND event_offset < $3 ORDER BY event_offset OFFSET $4 LIMIT 1";
    let query = sqlx::query_scalar(text).bind(stream).bind(low).bind(asked).bind(PRUNE_CLAIMS_MAX);
    let beyond: Option<i64> = query.fetch_optional(session.connection()?).await?;
    let floor = beyond.unwrap_or(asked);
    let text = "DELETE FROM keylane.claim WHERE stream = $1 AND event_offset >= $2 AND event_offset < $3";
    let query = sqlx::query(text).bind(stream).bind(low).bind(floor);
    let claims = query.execute(session.connection()?).await?.rows_affected();
    let text = "INSERT INTO keylane.floor (stream, floor, read_to, leader_epoch) VALUES ($1, $2, $3, $4) \
        ON CONFLICT (stream) DO UPDATE SET floor = excluded.floor, \
            read_to = excluded.read_to, leader_epoch = excluded.leader_epoch";
    // It may lie above what a batch gets to. The former one goes all the same: between it and the new floor there
    // are records, and a place is one with none between it and its floor.
    let position = position.filter(|_| floor == asked);
    let query = sqlx::query(text).bind(stream).bind(floor).bind(position.map(|position| position.offset));
    let query = query.bind(position.map(|position| position.leader_epoch));
    query.execute(session.connection()?).await?;
    Ok(Pruned { claims, floor, more: beyond.is_some() })
}
