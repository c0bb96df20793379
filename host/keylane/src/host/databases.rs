//! Opens the databases of a host's handlers. One that does not answer keeps its own handler waiting, as long as it
//! takes, and no other: a host and its databases may come up in any order.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use keylane_capability::OpenDatabase;
use keylane_deployment::Access;
use keylane_effects::{DatabaseError, open, open_reading};

use super::plan;
use crate::config::{Database, Handler};

/// The wait after a database did not answer.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// How long the handlers whose databases answer wait for the others: for first answers, and then for migrations.
pub(super) const FIRST_ANSWER: Duration = Duration::from_secs(10);

/// The open databases of a handler, by the name of the grant.
pub(super) type OfHandler = BTreeMap<String, OpenDatabase>;

/// What came of asking a handler's databases.
pub(super) enum Asked {
    /// All of them are open.
    Open(OfHandler),
    /// One of them does not answer now: why.
    Away(String),
}

/// Asks all databases of these handlers at once, once.
///
/// # Errors
/// What a person has to change: an address, a user's rights, a file that another machine has used.
pub(super) async fn ask_all(handlers: &[Handler]) -> anyhow::Result<Vec<Asked>> {
    let first = handlers.iter().map(async |handler| {
        let silent = |_| Ok(Asked::Away(format!("a database has not answered within {FIRST_ANSWER:?}")));
        tokio::time::timeout(FIRST_ANSWER, ask(handler)).await.unwrap_or_else(silent)
    });
    join_all(first).await.into_iter().collect()
}

/// Asks a handler's databases until all answer. What keeps it waiting is told each time.
///
/// # Errors
/// As [`ask_all`].
pub(super) async fn until_open(handler: &Handler, told: impl Fn(String)) -> anyhow::Result<OfHandler> {
    loop {
        tokio::time::sleep(ASK_AGAIN_AFTER).await;
        match ask(handler).await? {
            Asked::Open(opened) => return Ok(opened),
            Asked::Away(why) => told(why),
        }
    }
}

async fn ask(handler: &Handler) -> anyhow::Result<Asked> {
    let name = &handler.manifest.name;
    let mut opened = OfHandler::new();
    for (grant, database) in &handler.databases {
        let error = match open_one(handler, database).await {
            Ok(database) => {
                opened.insert(grant.clone(), database);
                continue;
            }
            Err(error) => error,
        };
        let Some(away) = error.downcast_ref::<DatabaseError>().filter(|error| error.can_retry()) else {
            return Err(error.context(format!("the database `{grant}` of handler {name:?}")));
        };
        tracing::warn!(handler = name, error = %away, "keylane keeps trying");
        return Ok(Asked::Away(away.to_string()));
    }
    Ok(Asked::Open(opened))
}

async fn open_one(handler: &Handler, database: &Database) -> anyhow::Result<OpenDatabase> {
    let config = plan::database(handler, database)?;
    Ok(match database.access {
        Access::Write => OpenDatabase::Write(open(&config).await?),
        Access::Read => OpenDatabase::Read(open_reading(&config).await?),
    })
}
