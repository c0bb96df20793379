//! The host's own tables in the handlers' databases, read from outside: what waits in outboxes, and what has
//! ended.

use std::time::Duration;

use anyhow::{Context, Result};
use keylane_test_support::waiting;

use crate::broker::Position;
use crate::deployment::Deployment;
use crate::offsets::Onlooker;
use crate::sqlite::{Database, column};

/// Records and mails that are committed with their events and have not left yet, of all handlers.
///
/// # Errors
/// When a database cannot be read.
pub fn unsent(deployment: &Deployment) -> Result<i64> {
    let mut unsent = 0;
    for handler in deployment.with_databases() {
        let mut database = Database::open(&deployment.database(handler))?;
        unsent += database.number("SELECT count(*) FROM keylane_outbox")?;
    }
    Ok(unsent)
}

/// How many mails lie in the folder that they go to.
///
/// # Errors
/// When it cannot be read.
pub fn mails(deployment: &Deployment) -> Result<usize> {
    let files = std::fs::read_dir(deployment.mails())?.collect::<Result<Vec<_>, _>>()?;
    Ok(files.iter().filter(|file| file.path().extension().is_some_and(|end| end == "eml")).count())
}

/// How many events have ended, by floors and claims, at or above these positions of a handler's group.
///
/// # Errors
/// When its database cannot be read.
pub fn ended_beyond(deployment: &Deployment, handler: &str, positions: &[Position]) -> Result<i64> {
    let mut database = Database::open(&deployment.database(handler))?;
    let committed = |topic: &str, partition: i32| {
        let found = positions.iter().find(|at| at.topic == topic && at.partition == partition);
        found.map_or(i64::MAX, |position| position.committed.unwrap_or_default())
    };
    let mut beyond = 0;
    let floors =
        "SELECT topic, partition, floor FROM keylane_stream s JOIN keylane_floor f ON f.stream = s.id";
    for row in &database.rows(floors)? {
        let (topic, floor): (String, i64) = (column(row, "topic")?, column(row, "floor")?);
        beyond += floor.saturating_sub(committed(&topic, column(row, "partition")?)).max(0);
    }
    let claims =
        "SELECT topic, partition, event_offset FROM keylane_stream s JOIN keylane_claim c ON c.stream = s.id";
    for row in &database.rows(claims)? {
        let (topic, offset): (String, i64) = (column(row, "topic")?, column(row, "event_offset")?);
        beyond += i64::from(offset >= committed(&topic, column(row, "partition")?));
    }
    Ok(beyond)
}

/// Waits until every group has committed up to every end, nothing waits in an outbox, and nothing that left
/// one meanwhile was new work for the next handler.
///
/// # Errors
/// When that does not come within the limit.
pub fn until_all_is_done(deployment: &Deployment, onlooker: &mut Onlooker, limit: Duration) -> Result<()> {
    until_all_has_left(deployment, onlooker, limit, || unsent(deployment))
}

/// The same where what has not left is told in another way.
///
/// # Errors
/// As [`until_all_is_done`].
pub fn until_all_has_left(
    deployment: &Deployment,
    onlooker: &mut Onlooker,
    limit: Duration,
    mut unsent: impl FnMut() -> Result<i64>,
) -> Result<()> {
    let subscriptions = deployment.subscriptions();
    let mut waiting_rows = 0;
    let waited = waiting::until("all is done and has left", limit, || {
        onlooker.until_all_is_done(&subscriptions, limit)?;
        let before = onlooker.positions(&subscriptions)?;
        waiting_rows = unsent()?;
        let still = waiting_rows == 0 && onlooker.positions(&subscriptions)? == before;
        Ok(still.then_some(()))
    });
    waited.with_context(|| format!("{waiting_rows} rows in outboxes"))
}
