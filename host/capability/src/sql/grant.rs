//! The capability `sql`: checks the grant, opens the database, makes the sessions.

use std::sync::Arc;

use keylane_deployment::{Grants, Manifest, SqlGrant};
use wasmtime::component::{HasSelf, Linker};

use crate::bindings::keylane::handler::sql;
use crate::capability::{Boxed, Capability, Part, Preparation, Session};
use crate::error::CapabilityError;
use crate::limits;
use crate::scope::LogScope;
use crate::sql::database::{self, DatabaseConfig};
use crate::sql::session::{Granted, SqlSession};
use crate::state::GuestState;

/// The capability.
pub(crate) struct Sql;

impl Capability for Sql {
    fn interface(&self) -> &'static str {
        "keylane:handler/sql"
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
        let granted = &manifest.grants.sql;
        if granted.len() < 2 {
            return Ok(());
        }
        let names: Vec<_> = granted.keys().map(String::as_str).collect();
        Err(CapabilityError::ManyDatabases {
            handler: manifest.name.clone(),
            count: granted.len(),
            names: names.join(", "),
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

async fn prepare(preparation: &Preparation<'_>) -> Result<Arc<Granted>, CapabilityError> {
    let manifest = preparation.manifest;
    let (name, grant) = match manifest.grants.sql.first_key_value() {
        Some((name, grant)) => (name.clone(), grant.clone()),
        None => (String::new(), SqlGrant { migrations: None, rows_max: 0 }),
    };
    let config = address(preparation, &name)?;
    let migrations = grant.migrations.map(|folder| preparation.manifest_dir.join(folder));
    let database = database::open(&manifest.name, config, migrations.as_deref()).await?;
    let handler = manifest.name.clone();
    Ok(Arc::new(Granted {
        name,
        database,
        rows_max: grant.rows_max,
        host_call: manifest.limits.host_call,
        limits: preparation.resources.limits,
        statements: metrics::counter!("keylane_sql_statements_total", "handler" => handler.clone()),
        doomed: metrics::counter!("keylane_sql_doomed_events_total", "handler" => handler.clone()),
        limits_reached: limits::reached(&handler, "sql"),
    }))
}

/// Where the host's configuration puts the granted database; it must be this handler's alone.
fn address<'a>(preparation: &Preparation<'a>, grant: &str) -> Result<&'a DatabaseConfig, CapabilityError> {
    let handler = &preparation.manifest.name;
    let databases = &preparation.resources.databases;
    let missing = || CapabilityError::NoDatabase { handler: handler.clone(), grant: grant.to_owned() };
    let config = databases.get(handler).and_then(|own| own.get(grant)).ok_or_else(missing)?;
    let uses_it = |(_, theirs): &(&String, &std::collections::BTreeMap<String, DatabaseConfig>)| {
        theirs.values().any(|one| one.url == config.url)
    };
    match databases.iter().filter(|(other, _)| *other != handler).find(uses_it) {
        None => Ok(config),
        Some((other, _)) => Err(CapabilityError::SharedDatabase {
            handler: handler.clone(),
            other: other.clone(),
            url: config.url.clone(),
        }),
    }
}

struct SqlPart {
    granted: Arc<Granted>,
}

impl Part for SqlPart {
    fn session(&self, _scope: &Arc<LogScope>) -> Box<dyn Session> {
        Box::new(SqlSession::new(self.granted.clone()))
    }
}
