//! Opens the databases of a host's handlers. Waits for those that do not answer as long as it takes, so that
//! a host and its databases may come up in any order.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::try_join_all;
use keylane_capability::OpenDatabase;
use keylane_deployment::Access;
use keylane_effects::{DatabaseError, open, open_reading};

use super::board::Board;
use super::plan;
use crate::config::{Database, Handler, HostConfig};

/// The wait after a database did not answer.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Open databases by handler and by the name of the grant.
pub(super) type Opened = BTreeMap<String, BTreeMap<String, OpenDatabase>>;

/// Opens all databases of all handlers at once.
///
/// # Errors
/// What a person has to change: an address, a user's rights, a file that another machine has used.
pub(super) async fn open_all(config: &HostConfig, board: &Board) -> anyhow::Result<Opened> {
    let handlers = config.handlers.iter().map(async |handler| {
        let grants = handler.databases.iter().map(async |(grant, database)| {
            let opened = until_it_answers(handler, database, board).await;
            let opened = opened.map_err(|error| {
                error.context(format!("the database `{grant}` of handler {:?}", handler.manifest.name))
            })?;
            anyhow::Ok((grant.clone(), opened))
        });
        let grants: BTreeMap<_, _> = try_join_all(grants).await?.into_iter().collect();
        anyhow::Ok((handler.manifest.name.clone(), grants))
    });
    Ok(try_join_all(handlers).await?.into_iter().collect())
}

async fn until_it_answers(
    handler: &Handler,
    database: &Database,
    board: &Board,
) -> anyhow::Result<OpenDatabase> {
    let config = plan::database(handler, database)?;
    loop {
        let opened = match database.access {
            Access::Write => open(&config).await.map(OpenDatabase::Write),
            Access::Read => open_reading(&config).await.map(OpenDatabase::Read),
        };
        match opened {
            Err(error) if error.can_retry() => wait(&error, board).await,
            answer => return Ok(answer?),
        }
    }
}

async fn wait(error: &DatabaseError, board: &Board) {
    tracing::warn!(%error, "keylane keeps trying");
    board.waits_for(error.to_string());
    tokio::time::sleep(ASK_AGAIN_AFTER).await;
}
