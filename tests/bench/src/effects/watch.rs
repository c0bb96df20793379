//! Looks at what an engine has done, by a connection of its own.

use anyhow::{Context, Result};
use tokio::runtime::Runtime;

use super::plan::{Contender, Kind};
use super::store::Place;
use crate::connection::{Connection, Sql};

/// A look at one database.
pub(super) struct Watch<'runtime> {
    runtime: &'runtime Runtime,
    connection: Connection,
    unsent: &'static str,
}

impl<'runtime> Watch<'runtime> {
    /// At what this contender does there. The tables are there already.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(super) fn open(runtime: &'runtime Runtime, place: &Place, contender: Contender) -> Result<Self> {
        let connection = runtime.block_on(Connection::open(&place.looked_at))?;
        let unsent = match (contender, place.kind) {
            (Contender::HandWritten(_), _) => "SELECT COUNT(*), CAST(0 AS BIGINT) FROM outbox",
            (_, Kind::Sqlite) => "SELECT COUNT(*), CAST(0 AS BIGINT) FROM keylane_outbox",
            (_, Kind::Postgres) => "SELECT COUNT(*), CAST(0 AS BIGINT) FROM keylane.outbox",
        };
        Ok(Self { runtime, connection, unsent })
    }

    fn numbers(&mut self, text: &'static str, values: &[Sql<'_>]) -> Result<Option<(i64, i64)>> {
        self.runtime.block_on(self.connection.numbers(text, values))
    }

    /// Events whose rows are committed.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(super) fn committed(&mut self) -> Result<u64> {
        let text = "SELECT CAST(COALESCE(SUM(entries), 0) AS BIGINT), CAST(0 AS BIGINT) FROM account";
        let (committed, _) = self.numbers(text, &[])?.context("no answer")?;
        Ok(u64::try_from(committed)?)
    }

    /// Records that are committed and have not left.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(super) fn unsent(&mut self) -> Result<u64> {
        let (unsent, _) = self.numbers(self.unsent, &[])?.context("no answer")?;
        Ok(u64::try_from(unsent)?)
    }

    /// Whether the rows of one event are committed.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(super) fn has(&mut self, partition: i32, offset: i64) -> Result<bool> {
        let text = "SELECT account, amount FROM entry \
                    WHERE source_partition = $1 AND source_offset = $2 AND side = 0";
        let place = [Sql::Number(partition.into()), Sql::Number(offset)];
        Ok(self.numbers(text, &place)?.is_some())
    }
}
