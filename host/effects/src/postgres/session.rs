//! A connection in the hands of one task. It goes back to its pool only after a clean end; in every other
//! case, a cancelled call among them, it is closed and its session is ended by another one: a closed
//! connection alone leaves a running statement, and its locks, until the server looks at the client again.

use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use sqlx::pool::PoolConnection;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Connection, Either, PgConnection, Row};

use crate::postgres::faults;
use crate::postgres::place::{Backend, NOW, Permit, Place};

/// How long a rollback may take before the session is given up.
const ROLLBACK_WAIT: Duration = Duration::from_secs(5);

/// One connection.
pub(crate) struct Session {
    connection: Option<PoolConnection<sqlx::Postgres>>,
    _permit: Permit,
    /// The server's process, once it is known.
    pub backend: Option<Backend>,
    /// Nothing is open on it.
    clean: bool,
    /// It must not be used again even after a clean end.
    pub stale: bool,
    place: Arc<Place>,
}

impl Session {
    /// Waits for a connection of this pool.
    pub(crate) async fn acquire(place: &Arc<Place>) -> Result<Self, sqlx::Error> {
        let (connection, permit) = place.acquire().await?;
        let connection = Some(connection);
        Ok(Self {
            connection,
            _permit: permit,
            backend: None,
            clean: true,
            stale: false,
            place: place.clone(),
        })
    }

    /// The connection, which counts as in use until [`Self::commit_with`] or [`Self::rollback`].
    pub(crate) fn connection(&mut self) -> Result<&mut PgConnection, sqlx::Error> {
        self.clean = false;
        self.connection.as_deref_mut().ok_or(sqlx::Error::PoolClosed)
    }

    /// Says several statements of the host's own in one message and answers their rows. Never a guest's
    /// text: only the extended protocol holds a text to one statement.
    pub(crate) async fn say(&mut self, text: String) -> Result<Vec<PgRow>, sqlx::Error> {
        sqlx::raw_sql(AssertSqlSafe(text)).fetch_all(self.connection()?).await
    }

    /// The same for words of which each may fail in a way of its own. Answers how many were carried out before the
    /// one that failed, as far as the server has told.
    pub(crate) async fn say_each(&mut self, text: String) -> Result<(), (usize, sqlx::Error)> {
        let mut carried_out = 0;
        let mut answers =
            sqlx::raw_sql(AssertSqlSafe(text)).fetch_many(self.connection().map_err(|error| (0, error))?);
        loop {
            match answers.try_next().await {
                Ok(Some(Either::Left(_))) => carried_out += 1,
                Ok(Some(Either::Right(_))) => {}
                Ok(None) => return Ok(()),
                Err(error) => return Err((carried_out, error)),
            }
        }
    }

    /// Begins a transaction with these words and learns which session this is. Answers the rows of the words.
    pub(crate) async fn begin(&mut self, begin: &str) -> Result<Vec<PgRow>, sqlx::Error> {
        let mut rows = self.say(format!("{begin}; SELECT pg_catalog.pg_backend_pid(), {NOW}")).await?;
        if let Some(row) = rows.pop() {
            self.backend = Some(Backend { pid: row.try_get(0)?, at_us: row.try_get(1)? });
        }
        Ok(rows)
    }

    /// The server's process.
    pub(crate) fn known(&self) -> Result<Backend, sqlx::Error> {
        self.backend.ok_or(sqlx::Error::RowNotFound)
    }

    /// Reads what is still to come of an answer that was cancelled. Its error would else be taken for the
    /// next statement's. Answers whether the session goes on.
    pub(crate) async fn drain(&mut self) -> bool {
        let Ok(connection) = self.connection() else { return false };
        // The first word that is answered with that error; the second one is its own.
        for _ in 0..2 {
            match tokio::time::timeout(ROLLBACK_WAIT, connection.ping()).await {
                Ok(Ok(())) => return true,
                Ok(Err(error)) if faults::is_answer(&error) => {}
                _ => return false,
            }
        }
        false
    }

    /// Commits a transaction of the host's own.
    pub(crate) async fn commit(&mut self) -> Result<(), sqlx::Error> {
        self.commit_with("COMMIT".to_owned(), 0).await.map_err(|(_, error)| error)
    }

    /// Says words of which the last, after so many others, is COMMIT, as [`Self::say_each`] does.
    pub(crate) async fn commit_with(
        &mut self,
        words: String,
        before: usize,
    ) -> Result<(), (usize, sqlx::Error)> {
        let said = self.say_each(words).await;
        self.clean = match &said {
            Ok(()) => true,
            // A commit that is refused has ended the transaction. One that was cancelled may not have begun.
            Err((carried_out, error)) => {
                *carried_out == before && faults::is_answer(error) && !faults::is_canceled(error)
            }
        };
        said
    }

    /// Rolls back what is open; a session that does not even do that is given up.
    pub(crate) async fn rollback(&mut self) {
        if self.clean {
            return;
        }
        let said = tokio::time::timeout(ROLLBACK_WAIT, self.say("ROLLBACK".to_owned())).await;
        self.clean = matches!(said, Ok(Ok(_)));
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        if self.clean && !self.stale {
            return;
        }
        // Detached, it is no longer the pool's: dropping it closes the socket.
        drop(connection.detach());
        if let Some(backend) = self.backend.filter(|_| !self.clean) {
            self.place.watch.end(backend);
        }
    }
}
