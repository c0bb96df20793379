//! `GET /status`: every handler, every partition, and what its owner says.
//!
//! Whoever is asked has a limited time for the answer, and all are asked at once, so that one that hangs
//! costs a line in the answer and not the answer.

use std::time::Duration;

use futures::future::join_all;
use keylane_engine::{Control, PartitionStatus};
use keylane_kafka::{Looker, PartitionLook};
use tokio::time::timeout;

use super::super::board::{Board, relay_words};
use crate::api::{HandlerStatus, HostStatus, PartitionReport};

/// How long a consumer may take to tell its partitions: it may be busy draining some.
pub(super) const LOOK_LIMIT: Duration = Duration::from_secs(8);
/// How long a partition's owner may take to tell how it stands.
const OWNER_LIMIT: Duration = Duration::from_secs(3);

/// Looks at the whole host.
pub(super) async fn host_status(fleet: &str, board: &Board) -> HostStatus {
    let posted = board.handlers();
    let running = posted.iter().map(async |handler| {
        let told = look(&handler.looker).await;
        let (partitions, silent) = match told {
            Ok(looks) => (join_all(looks.into_iter().map(report)).await, None),
            Err(silent) => (Vec::new(), Some(silent)),
        };
        let health = handler.health.borrow().to_string();
        let relay = handler.relay.as_ref().map(|relay| relay_words(&relay.borrow()));
        HandlerStatus { name: handler.name.clone(), health, relay, partitions, silent }
    });
    let waiting = board.wanting().into_iter().map(|(name, health)| HandlerStatus {
        name,
        health,
        relay: None,
        partitions: Vec::new(),
        silent: None,
    });
    let handlers = join_all(running).await.into_iter().chain(waiting).collect();
    HostStatus { fleet: fleet.to_owned(), phase: board.life().phase().to_string(), handlers }
}

/// A consumer's partitions, in order.
pub(super) async fn look(looker: &Looker) -> Result<Vec<PartitionLook>, String> {
    let mut looks = answer("its consumer", LOOK_LIMIT, looker.look()).await?;
    looks.sort_by(|one, other| one.partition.cmp(&other.partition));
    Ok(looks)
}

async fn report(look: PartitionLook) -> PartitionReport {
    let (owner, silent) = match look.control {
        None => (None, None),
        Some(control) => match ask(&control).await {
            Ok(status) => (Some(status), None),
            Err(silent) => (None, Some(silent)),
        },
    };
    PartitionReport {
        topic: look.partition.topic.to_string(),
        partition: look.partition.partition,
        phase: look.phase,
        fault: look.fault,
        committed: look.committed,
        end: look.end,
        lag: look.lag,
        owner,
        silent,
    }
}

async fn ask(control: &Control) -> Result<PartitionStatus, String> {
    answer("its owner", OWNER_LIMIT, control.status()).await?.map_err(|error| error.to_string())
}

/// An answer, or who did not give one in time.
async fn answer<T>(who: &str, limit: Duration, asked: impl Future<Output = T>) -> Result<T, String> {
    let late = |_| format!("{who} did not answer within {} s", limit.as_secs());
    timeout(limit, asked).await.map_err(late)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_hangs_costs_a_limited_time() {
        let hangs = answer("its owner", OWNER_LIMIT, std::future::pending::<()>()).await;
        assert_eq!(hangs, Err("its owner did not answer within 3 s".to_owned()));
        assert_eq!(answer("its owner", OWNER_LIMIT, async { 7 }).await, Ok(7));
    }
}
