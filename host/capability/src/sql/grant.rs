//! The capability `sql`: checks the grants, brings the handler's tables up to date, makes the sessions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use keylane_deployment::{Access, Grants, Manifest, SqlGrant};
use keylane_effects::{Database, DatabaseError, StatementLimits};
use wasmtime::component::{HasSelf, Linker};

use crate::bindings::keylane::handler::sql;
use crate::capability::{Boxed, Capability, Part, Preparation, Session};
use crate::error::CapabilityError;
use crate::limits;
use crate::prepared::OpenDatabase;
use crate::scope::LogScope;
use crate::sql::session::{Granted, GrantedDatabase, SqlSession};
use crate::state::GuestState;

/// The wait after a database did not answer.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The capability.
pub(crate) struct Sql;

impl Capability for Sql {
    fn interfaces(&self) -> &'static [&'static str] {
        &["keylane:handler/sql"]
    }

    fn version(&self) -> &'static str {
        "0.1.0"
    }

    fn how_to_grant(&self) -> &'static str {
        "[grants.sql.NAME]"
    }

    fn granted(&self, grants: &Grants) -> bool {
        !grants.sql.is_empty()
    }

    fn check(&self, manifest: &Manifest) -> Result<(), CapabilityError> {
        let written: Vec<_> = written(manifest).map(|(name, _)| name.as_str()).collect();
        if written.len() < 2 {
            return Ok(());
        }
        Err(CapabilityError::ManyDatabases {
            handler: manifest.name.clone(),
            count: written.len(),
            names: written.join(", "),
        })
    }

    fn link(&self, linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
        sql::add_to_linker::<_, HasSelf<GuestState>>(linker, |state| state)
    }

    fn prepare<'a>(
        &'a self,
        preparation: &'a Preparation<'a>,
    ) -> Boxed<'a, Result<Box<dyn Part>, CapabilityError>> {
        Box::pin(async move {
            let granted = prepare(preparation).await?;
            let part: Box<dyn Part> = Box::new(SqlPart { granted });
            Ok(part)
        })
    }
}

/// The grants that allow to write.
fn written(manifest: &Manifest) -> impl Iterator<Item = (&String, &SqlGrant)> {
    manifest.grants.sql.iter().filter(|(_, grant)| grant.access == Access::Write)
}

/// The database that the handler writes to, if it has one.
pub(crate) fn write_database(
    preparation: &Preparation<'_>,
) -> Result<Option<Arc<dyn Database>>, CapabilityError> {
    let Some((name, grant)) = written(preparation.manifest).next() else { return Ok(None) };
    match opened(preparation, name, grant.access)? {
        OpenDatabase::Write(database) => Ok(Some(database)),
        OpenDatabase::Read(_) => Ok(None),
    }
}

async fn prepare(preparation: &Preparation<'_>) -> Result<Arc<Granted>, CapabilityError> {
    let manifest = preparation.manifest;
    let handler = manifest.name.clone();
    let mut databases = BTreeMap::new();
    for (name, grant) in &manifest.grants.sql {
        let database = opened(preparation, name, grant.access)?;
        if let OpenDatabase::Write(database) = &database {
            check_own(preparation, name, &**database)?;
            if let Some(folder) = &grant.migrations {
                let folder = preparation.manifest_dir.join(folder);
                until_it_answers(&handler, || database.migrate(&handler, &folder)).await?;
            }
        }
        let granted = GrantedDatabase { database, rows_max: grant.rows_max };
        databases.insert(name.clone(), granted);
    }
    let limits = preparation.resources.limits;
    Ok(Arc::new(Granted {
        databases,
        host_call: manifest.limits.host_call,
        statement: StatementLimits {
            text_bytes: limits.statement_bytes,
            parameters: limits.parameters,
            parameter_bytes: limits.parameter_bytes,
        },
        result_bytes: limits.result_bytes,
        statements: metrics::counter!("keylane_sql_statements_total", "handler" => handler.clone()),
        doomed: metrics::counter!("keylane_sql_doomed_events_total", "handler" => handler.clone()),
        limits_reached: limits::reached(&handler, "sql"),
    }))
}

/// Asks again for as long as the database is away: a host and its databases may come up, and go, in any order.
async fn until_it_answers<'a>(
    handler: &str,
    ask: impl Fn() -> Boxed<'a, Result<(), DatabaseError>> + Send,
) -> Result<(), DatabaseError> {
    loop {
        match ask().await {
            Err(error) if error.can_retry() => {
                tracing::warn!(handler, %error, "the handler's migrations wait for its database");
                tokio::time::sleep(ASK_AGAIN_AFTER).await;
            }
            answer => return answer,
        }
    }
}

/// The database that the host has opened for a grant, for what the grant allows.
fn opened(
    preparation: &Preparation<'_>,
    grant: &str,
    access: Access,
) -> Result<OpenDatabase, CapabilityError> {
    let handler = &preparation.manifest.name;
    let own = preparation.resources.databases.get(handler).and_then(|own| own.get(grant));
    match (own, access) {
        (Some(own @ OpenDatabase::Write(_)), Access::Write)
        | (Some(own @ OpenDatabase::Read(_)), Access::Read) => Ok(own.clone()),
        _ => Err(CapabilityError::NoDatabase { handler: handler.clone(), grant: grant.to_owned() }),
    }
}

/// A database that a handler writes to is its own: another handler's outbox rows in it would have two
/// relays.
fn check_own(
    preparation: &Preparation<'_>,
    grant: &str,
    database: &dyn Database,
) -> Result<(), CapabilityError> {
    let handler = &preparation.manifest.name;
    let others = preparation.resources.databases.iter().filter(|(other, _)| *other != handler);
    for (other, theirs) in others {
        for (other_grant, one) in theirs {
            let OpenDatabase::Write(one) = one else { continue };
            if one.identity().database == database.identity().database {
                return Err(CapabilityError::SharedDatabase {
                    handler: handler.clone(),
                    grant: grant.to_owned(),
                    other: other.clone(),
                    other_grant: other_grant.clone(),
                });
            }
        }
    }
    Ok(())
}

struct SqlPart {
    granted: Arc<Granted>,
}

impl Part for SqlPart {
    fn session(&self, _scope: &Arc<LogScope>) -> Box<dyn Session> {
        Box::new(SqlSession::new(self.granted.clone()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn gone() -> DatabaseError {
        DatabaseError::Unavailable { url: "postgres://host@db/ledger".into(), reason: "it went down".into() }
    }

    fn wrong() -> DatabaseError {
        DatabaseError::Tables { url: "postgres://host@db/ledger".into(), reason: "of another version".into() }
    }

    async fn asked(answers: &[Result<(), DatabaseError>]) -> (Result<(), DatabaseError>, usize) {
        let times = AtomicUsize::new(0);
        let ask = || -> Boxed<'_, Result<(), DatabaseError>> {
            let answer = answers[times.fetch_add(1, Ordering::Relaxed)].clone();
            Box::pin(async move { answer })
        };
        (until_it_answers("ledger", ask).await, times.load(Ordering::Relaxed))
    }

    #[tokio::test]
    async fn migrations_wait_for_a_database_that_is_away() {
        assert_eq!(asked(&[Err(gone()), Err(gone()), Ok(())]).await, (Ok(()), 3));
        assert_eq!(asked(&[Err(gone()), Err(wrong()), Ok(())]).await, (Err(wrong()), 2));
    }
}
