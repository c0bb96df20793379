//! What waits in the outboxes of the handlers' databases, read from outside.

use std::time::Duration;

use anyhow::{Context, Result};
use keylane_test_support::waiting;

use crate::deployment::Deployment;
use crate::offsets::Onlooker;
use crate::sqlite::Database;

/// Records and mails that are committed with their events and have not left yet, of all handlers.
///
/// # Errors
/// When a database cannot be read.
pub fn unsent(deployment: &Deployment) -> Result<i64> {
    let mut unsent = 0;
    for file in deployment.databases() {
        unsent += Database::open(&file)?.number("SELECT count(*) FROM keylane_outbox")?;
    }
    Ok(unsent)
}

/// Waits until every group has committed up to every end, nothing waits in an outbox, and nothing that left
/// one meanwhile was new work for the next handler.
///
/// # Errors
/// When that does not come within the limit.
pub fn until_all_is_done(deployment: &Deployment, onlooker: &mut Onlooker, limit: Duration) -> Result<()> {
    let subscriptions = deployment.subscriptions();
    let mut waiting_rows = 0;
    let waited = waiting::until("all is done and has left", limit, || {
        onlooker.until_all_is_done(&subscriptions, limit)?;
        let before = onlooker.positions(&subscriptions)?;
        waiting_rows = unsent(deployment)?;
        let still = waiting_rows == 0 && onlooker.positions(&subscriptions)? == before;
        Ok(still.then_some(()))
    });
    waited.with_context(|| format!("{waiting_rows} rows in outboxes"))
}
