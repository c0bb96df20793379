//! PostgreSQL.
//!
//! Who owns: a run holds one connection of the pool of runs, from begin to end; takes, pruning and look-ups
//! use a small pool of their own, so that runs cannot starve them; a third one ends other sessions, so that
//! it can be reached when all else waits. Who waits: for a connection at most `writer_wait`; for a lock at
//! most `lock_wait`, and a statement for all of its locks at most a few times that. Who wakes: the database.
//! What bounds: the pools, and for each wait the host's own clock, since a time-out of the database's counts from
//! anew for each lock.
//!
//! The host's tables lie in the schema `keylane`, where the role of guests has no rights; a run's statements
//! are said as that role (`SET LOCAL ROLE`), and functions that a handler's migration makes become SECURITY
//! DEFINER, in which PostgreSQL refuses to change the role. That is no border against an author who goes out
//! of the way (a view can call `set_config`): what holds always are the rights of the user that the host
//! connects as. It reaches this database and no other, so it may not be a superuser, and one handler alone
//! writes to a database.
//!
//! The host's own statements never resolve a name in a schema in which a handler could make something: their
//! `search_path` is `pg_catalog`, with temporary tables named last (unnamed they come first, as tables and as
//! types, and stay in a session), and deferred triggers fire as the role of guests. Guests' statements have
//! temporary tables last as well, so that one which a function left is never taken for a table of the handler's.

mod closing;
mod faults;
mod fleets;
mod foreign;
mod functions;
mod keyvalue;
mod migrate;
mod numeric;
mod outbox;
mod ownership;
mod place;
mod plans;
mod prune;
mod read;
mod reading;
mod replay;
mod rules;
mod run;
mod server;
mod session;
mod settle;
mod tables;
mod tokens;
mod value;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use keylane_engine::{Boxed, Fence, LogPosition};

use crate::appending::Appending;
use crate::config::DatabaseConfig;
use crate::database::{Database, Identity, Pruned, RunTransaction, StreamKey, Taken};
use crate::error::{BeginError, DatabaseError, StatementError};
use crate::insert::Insert;
use crate::postgres::rules::Rules;
use crate::postgres::server::Server;
use crate::relay::Outbox;
use crate::replay::{ReplayError, ReplayRequest, Replayed};
use crate::statement::{Statement, StatementLimits};
use crate::value::{ResultLimits, Rows, Value};

pub(crate) use reading::open_reading;

/// One PostgreSQL database.
pub(crate) struct Postgres {
    identity: Identity,
    rules: Rules,
    /// Its connections.
    pub(crate) server: Arc<Server>,
}

/// Opens the database; makes the host's tables and the role of guests if they are missing.
pub(crate) async fn open(config: &DatabaseConfig) -> Result<Arc<dyn Database>, DatabaseError> {
    let server = Arc::new(Server::new(config)?);
    let identity = tables::prepare(&server).await?;
    // Set before by nobody: the server is this call's own.
    let _ = server.database.set(identity.database.clone());
    let rules = Rules::new(foreign::functions(&server).await?);
    Ok(Arc::new(Postgres { identity, rules, server }))
}

impl Database for Postgres {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn is_elsewhere(&self) -> bool {
        true
    }

    fn outbox(self: Arc<Self>) -> Arc<dyn Outbox> {
        Arc::new(outbox::PostgresOutbox::new(self))
    }

    fn bind_cluster(&self, cluster: &str) -> Boxed<'_, Result<(), DatabaseError>> {
        let cluster = cluster.to_owned();
        Box::pin(async move { tables::bind_cluster(&self.server, &cluster).await })
    }

    fn check(
        &self,
        text: &str,
        parameters: &[Value],
        limits: &StatementLimits,
    ) -> Result<Statement, StatementError> {
        self.rules.check(text, parameters, limits)
    }

    fn check_append(
        &self,
        text: &str,
        parameters: &[Value],
        limits: &StatementLimits,
    ) -> Result<Insert, StatementError> {
        self.rules.check_append(text, parameters, limits)
    }

    fn take(&self, stream: &StreamKey, limit: Duration) -> Boxed<'_, Result<Taken, DatabaseError>> {
        let stream = stream.clone();
        Box::pin(async move { ownership::take(&self.server, &stream, limit).await })
    }

    fn begin(&self, fence: &Fence) -> Boxed<'_, Result<Box<dyn RunTransaction>, BeginError>> {
        let fence = *fence;
        Box::pin(async move { run::begin(&self.server, fence).await.map(Appending::around) })
    }

    fn settle_start(
        &self,
        stream: &StreamKey,
        floors: &[(i32, i64)],
    ) -> Boxed<'_, Result<BTreeMap<i32, i64>, DatabaseError>> {
        let (stream, floors) = (stream.clone(), floors.to_vec());
        Box::pin(async move { settle::settle_start(&self.server, &stream, floors).await })
    }

    fn adopt_progress(&self, handler: &str, fleet: &str) -> Boxed<'_, Result<(), DatabaseError>> {
        let (handler, fleet) = (handler.to_owned(), fleet.to_owned());
        Box::pin(async move { fleets::adopt(&self.server, &handler, &fleet).await })
    }

    fn replay(&self, request: &ReplayRequest, limit: Duration) -> Boxed<'_, Result<Replayed, ReplayError>> {
        let request = request.clone();
        Box::pin(async move { replay::replay(&self.server, &request, limit).await })
    }

    fn raise_floor(
        &self,
        fence: &Fence,
        floor: i64,
        position: Option<LogPosition>,
    ) -> Boxed<'_, Result<Pruned, BeginError>> {
        let fence = *fence;
        Box::pin(async move { prune::raise_floor(&self.server, fence, floor, position).await })
    }

    fn ended(&self, fence: &Fence, offsets: &[i64]) -> Boxed<'_, Result<Vec<i64>, DatabaseError>> {
        let (fence, offsets) = (*fence, offsets.to_vec());
        Box::pin(async move { ownership::ended(&self.server, fence, offsets).await })
    }

    fn query(
        &self,
        statement: Statement,
        parameters: Vec<Value>,
        limits: ResultLimits,
        deadline: Duration,
    ) -> Boxed<'_, Result<Rows, StatementError>> {
        Box::pin(read::query(self.server.clone(), statement, parameters, limits, deadline))
    }

    fn migrate(&self, handler: &str, folder: &Path) -> Boxed<'_, Result<(), DatabaseError>> {
        let (handler, folder) = (handler.to_owned(), folder.to_owned());
        Box::pin(async move { migrate::migrate(&self.server, &handler, &folder).await })
    }
}
