//! SQLite: one file with the handler's tables and the host's own beside them, one connection that writes and
//! a few that only read. WAL mode; each commit is pressed to the disk unless the configuration says
//! otherwise.
//!
//! - `file.rs`, `writing.rs`, `turns.rs`, `readers.rs`: who holds which connection, and who waits.
//! - `connection.rs`, `watch.rs`, `authorizer.rs`, `native.rs`: one connection, its deadline and its
//!   allow list.
//! - `rules.rs`, `tokens.rs`: the check of a guest's text, the second guard.
//! - `run.rs`, `closing.rs`, `ownership.rs`, `replay.rs`, `fleets.rs`: runs, and the host's own transactions.
//! - `tables.rs`, `migrate.rs`: the host's tables and the handlers'. `outbox.rs`: what the relay does.
//! - `life.rs`, `machine.rs`: which file the path names, and where it lies.
//! - `answer.rs`, `row.rs`: what a statement answers, whole or not at all, and its values.
//! - `fault.rs`, `holder.rs`: errors, and the process that holds the writer.

mod answer;
mod authorizer;
mod closing;
mod connection;
mod fault;
mod file;
mod fleets;
mod holder;
mod keyvalue;
mod life;
mod machine;
mod migrate;
mod native;
mod outbox;
mod ownership;
mod readers;
mod reading;
mod replay;
mod row;
mod rules;
mod run;
mod tables;
mod tokens;
mod turns;
mod watch;
mod writing;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use keylane_engine::{Boxed, Fence, LogPosition};

use crate::appending::Appending;
use crate::config::DatabaseConfig;
use crate::database::{Database, Identity, Pruned, RunTransaction, StreamKey, Taken};
use crate::error::{BeginError, DatabaseError, StatementError};
use crate::insert::Insert;
use crate::relay::Outbox;
use crate::replay::{ReplayError, ReplayRequest, Replayed};
use crate::sqlite::file::File;
use crate::sqlite::readers::Readers;
use crate::sqlite::run::SqliteRun;
use crate::statement::{Statement, StatementLimits};
use crate::value::{ResultLimits, Rows, Value};

pub(crate) use reading::open_reading;
#[cfg(test)]
pub(crate) use rules::check_append;

/// A SQLite database.
pub(crate) struct Sqlite {
    /// The file and its writer.
    pub(crate) file: File,
    readers: Readers,
    identity: Identity,
}

/// Opens the file, making it and the host's tables if they are missing.
pub(crate) async fn open(config: &DatabaseConfig) -> Result<Arc<dyn Database>, DatabaseError> {
    Ok(Arc::new(Sqlite::open(config).await?))
}

/// Makes this machine the one that the file belongs to.
pub(crate) async fn adopt(config: &DatabaseConfig) -> Result<(), DatabaseError> {
    tables::adopt(&File::new(config).await?, config).await
}

impl Sqlite {
    async fn open(config: &DatabaseConfig) -> Result<Self, DatabaseError> {
        let file = File::new(config).await?;
        let identity = tables::make(&file, config).await?;
        let reading = file.reading(config.read.as_deref())?;
        let readers = Readers::new(reading, config.read_connections, config.writer_wait, &file.url);
        Ok(Self { file, readers, identity })
    }
}

impl Database for Sqlite {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn is_elsewhere(&self) -> bool {
        false
    }

    fn outbox(self: Arc<Self>) -> Arc<dyn Outbox> {
        Arc::new(outbox::SqliteOutbox::new(self))
    }

    fn bind_cluster(&self, cluster: &str) -> Boxed<'_, Result<(), DatabaseError>> {
        let cluster = cluster.to_owned();
        Box::pin(async move { tables::bind_cluster(&self.file, &cluster).await })
    }

    fn check(
        &self,
        text: &str,
        parameters: &[Value],
        limits: &StatementLimits,
    ) -> Result<Statement, StatementError> {
        rules::check(text, parameters, limits)
    }

    fn check_append(
        &self,
        text: &str,
        parameters: &[Value],
        limits: &StatementLimits,
    ) -> Result<Insert, StatementError> {
        rules::check_append(text, parameters, limits)
    }

    fn take(&self, stream: &StreamKey, limit: Duration) -> Boxed<'_, Result<Taken, DatabaseError>> {
        let stream = stream.clone();
        Box::pin(async move { ownership::take(&self.file, &stream, limit).await })
    }

    fn begin(&self, fence: &Fence) -> Boxed<'_, Result<Box<dyn RunTransaction>, BeginError>> {
        let fence = *fence;
        Box::pin(async move { SqliteRun::begin(&self.file, fence).await.map(Appending::around) })
    }

    fn settle_start(
        &self,
        stream: &StreamKey,
        floors: &[(i32, i64)],
    ) -> Boxed<'_, Result<BTreeMap<i32, i64>, DatabaseError>> {
        let (stream, floors) = (stream.clone(), floors.to_vec());
        Box::pin(async move { ownership::settle_start(&self.file, &stream, &floors).await })
    }

    fn adopt_progress(&self, handler: &str, fleet: &str) -> Boxed<'_, Result<(), DatabaseError>> {
        let (handler, fleet) = (handler.to_owned(), fleet.to_owned());
        Box::pin(async move { fleets::adopt(&self.file, &handler, &fleet).await })
    }

    fn replay(&self, request: &ReplayRequest, limit: Duration) -> Boxed<'_, Result<Replayed, ReplayError>> {
        let request = request.clone();
        Box::pin(async move { replay::replay(&self.file, &request, limit).await })
    }

    fn raise_floor(
        &self,
        fence: &Fence,
        floor: i64,
        position: Option<LogPosition>,
    ) -> Boxed<'_, Result<Pruned, BeginError>> {
        Box::pin(ownership::raise_floor(&self.file, *fence, floor, position))
    }

    fn ended(&self, fence: &Fence, offsets: &[i64]) -> Boxed<'_, Result<Vec<i64>, DatabaseError>> {
        let (fence, offsets) = (*fence, offsets.to_vec());
        Box::pin(async move { ownership::ended(&self.file, fence, &offsets).await })
    }

    fn query(
        &self,
        statement: Statement,
        parameters: Vec<Value>,
        limits: ResultLimits,
        deadline: Duration,
    ) -> Boxed<'_, Result<Rows, StatementError>> {
        Box::pin(self.readers.query(statement, parameters, limits, deadline))
    }

    fn migrate(&self, handler: &str, folder: &Path) -> Boxed<'_, Result<(), DatabaseError>> {
        let (handler, folder): (String, PathBuf) = (handler.to_owned(), folder.to_owned());
        Box::pin(async move { migrate::migrate(&self.file, &handler, &folder).await })
    }
}

#[cfg(test)]
mod tests;
