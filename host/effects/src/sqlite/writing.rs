//! One open transaction that writes: a run's or one of the host's own.
//!
//! A connection goes back only after a clean commit or rollback. In every other case, a cancelled call
//! among them, it is told to stop and closed, and SQLite takes back what it had done.

use std::time::{Duration, Instant};

use sqlx::sqlite::SqliteRow;
use tokio::sync::OwnedMutexGuard;

use crate::error::DatabaseError;
use crate::sqlite::connection::{Connection, Query, host};
use crate::sqlite::fault::Fault;
use crate::sqlite::file::File;

/// How long a commit of the host's own may take.
const HOST_COMMIT: Duration = Duration::from_secs(30);

/// An open transaction. It holds the writer's lock.
pub(crate) struct Writing {
    slot: OwnedMutexGuard<Option<Connection>>,
    url: std::sync::Arc<str>,
    /// The transaction has ended cleanly and the connection may be used again.
    clean: bool,
}

impl Writing {
    /// Begins a transaction of the host's own. Waits for the writer, for at most `wait` behind others of this host
    /// and `lock_wait` behind other processes, with whom it takes turns. BEGIN IMMEDIATE, because a transaction
    /// that begins by reading cannot be raised to writing when another process has written meanwhile.
    pub(crate) async fn begin(
        file: &File,
        wait: Duration,
        lock_wait: Duration,
    ) -> Result<Self, DatabaseError> {
        let (mut writing, _) = Self::begin_with(file, wait, lock_wait, |_| host("BEGIN IMMEDIATE")).await?;
        let ready = writing.connection()?.for_host().await;
        ready.map_err(|fault| fault.host(&file.url))?;
        Ok(writing)
    }

    /// Begins with words that look at something in the same message, for a turn of the connection's thread less.
    /// Answers their rows.
    pub(crate) async fn begin_with(
        file: &File,
        wait: Duration,
        lock_wait: Duration,
        words: impl Fn(&Connection) -> Query<'static>,
    ) -> Result<(Self, Vec<SqliteRow>), DatabaseError> {
        let slot = file.writer(wait).await?;
        let mut writing = Self { slot, url: file.url.clone(), clean: false };
        let asked = Instant::now();
        let _turn = file.turns.take().await;
        loop {
            let connection = writing.connection()?;
            match connection.begin(words(connection)).await {
                Ok(rows) => return Ok((writing, rows)),
                Err(Fault::Busy(_)) if asked.elapsed() < lock_wait => {}
                Err(Fault::Busy(said)) => {
                    writing.clean = matches!(writing.connection()?.in_transaction().await, Ok(false));
                    return Err(file.unavailable(said));
                }
                Err(fault) => return Err(fault.host(&file.url)),
            }
        }
    }

    /// The connection.
    pub(crate) fn connection(&mut self) -> Result<&mut Connection, DatabaseError> {
        let reason = "the connection is closed".to_owned();
        let url = &self.url;
        self.slot.as_mut().ok_or_else(|| DatabaseError::Unavailable { url: url.to_string(), reason })
    }

    /// Runs one of the host's statements.
    pub(crate) async fn run(&mut self, query: Query<'_>) -> Result<u64, DatabaseError> {
        let ran = self.connection()?.run(query).await;
        ran.map_err(|fault| fault.host(&self.url))
    }

    /// Runs one of the host's queries.
    pub(crate) async fn fetch(&mut self, query: Query<'_>) -> Result<Vec<SqliteRow>, DatabaseError> {
        let rows = self.connection()?.fetch(query).await;
        rows.map_err(|fault| fault.host(&self.url))
    }

    /// Commits a transaction of the host's own.
    pub(crate) async fn commit(mut self) -> Result<(), DatabaseError> {
        let committed = self.commit_with(host("COMMIT"), HOST_COMMIT).await;
        committed.map_err(|fault| fault.host(&self.url))
    }

    /// Says words of which the last is COMMIT, under a deadline. On a fault the transaction may still be open.
    pub(crate) async fn commit_with(&mut self, words: Query<'_>, deadline: Duration) -> Result<(), Fault> {
        let connection = self.slot.as_mut();
        let connection = connection.ok_or_else(|| Fault::Gone("the connection is closed".to_owned()))?;
        connection.run_within(words, deadline).await?;
        self.clean = true;
        Ok(())
    }

    /// Rolls back and frees the writer.
    pub(crate) async fn rollback(mut self) {
        let Some(connection) = self.slot.as_mut() else { return };
        self.clean = match connection.in_transaction().await {
            Ok(true) => connection.run(host("ROLLBACK")).await.is_ok(),
            Ok(false) => true,
            Err(_) => false,
        };
    }
}

impl Drop for Writing {
    /// A transaction that has not ended cleanly takes its connection with it.
    fn drop(&mut self) {
        if self.clean {
            return;
        }
        if let Some(connection) = self.slot.take() {
            connection.abandon();
        }
    }
}
