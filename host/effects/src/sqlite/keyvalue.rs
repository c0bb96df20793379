//! Values by key on SQLite. The statements are the host's own, so no allow list stands in their way; they run
//! in the run's transaction.

use std::time::{Duration, Instant};

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::error::StatementError;
use crate::keyvalue::{KeyAsk, KeyRequest, KeyRow, too_much};
use crate::sqlite::connection::{Connection, Query, host};
use crate::sqlite::fault::{Fault, explain, late};

const GET: &str = "SELECT key, value FROM keylane_keyvalue WHERE bucket = $1 AND key = $2";
const PUT: &str = "INSERT INTO keylane_keyvalue (bucket, key, value) VALUES ($1, $2, $3) \
    ON CONFLICT (bucket, key) DO UPDATE SET value = excluded.value";
const DELETE: &str = "DELETE FROM keylane_keyvalue WHERE bucket = $1 AND key = $2";
const LIST: &str =
    "SELECT key, NULL FROM keylane_keyvalue WHERE bucket = $1 AND key > $2 ORDER BY key LIMIT $3";
const LIST_ALL: &str = "SELECT key, NULL FROM keylane_keyvalue WHERE bucket = $1 ORDER BY key LIMIT $2";

/// Does what is asked, within the time of the one call that it is.
pub(crate) async fn answer(
    connection: &mut Connection,
    request: KeyRequest,
    deadline: Duration,
) -> Result<Vec<KeyRow>, Fault> {
    let mut call = Call { connection, deadline, begun: Instant::now() };
    call.answer(request).await.map_err(|fault| match fault {
        // Of a statement that had only what was left of the time.
        Fault::Statement(StatementError::Late(_)) => Fault::Statement(late(deadline)),
        Fault::Stuck(_) => Fault::Stuck(deadline),
        fault => fault,
    })
}

/// A call under way: a statement for each key, and one time for all of them.
struct Call<'a> {
    connection: &'a mut Connection,
    deadline: Duration,
    begun: Instant,
}

impl Call<'_> {
    /// There is one writer, so that nobody else changes what is read to be changed.
    async fn answer(&mut self, request: KeyRequest) -> Result<Vec<KeyRow>, Fault> {
        let KeyRequest { bucket, ask } = request;
        match ask {
            KeyAsk::Get { keys, for_change: _, bytes_max } => self.get(&bucket, keys, bytes_max).await,
            KeyAsk::Put(pairs) => {
                for (key, value) in pairs {
                    self.run(host(PUT).bind(bucket.clone()).bind(key).bind(value)).await?;
                }
                Ok(Vec::new())
            }
            KeyAsk::Delete(keys) => {
                for key in keys {
                    self.run(host(DELETE).bind(bucket.clone()).bind(key)).await?;
                }
                Ok(Vec::new())
            }
            KeyAsk::List { after, keys_max } => {
                let most = i64::try_from(keys_max).unwrap_or(i64::MAX);
                let query = match after {
                    Some(after) => host(LIST).bind(bucket).bind(after).bind(most),
                    None => host(LIST_ALL).bind(bucket).bind(most),
                };
                self.fetch(query).await?.iter().map(row).collect()
            }
        }
    }

    async fn get(
        &mut self,
        bucket: &str,
        keys: Vec<Vec<u8>>,
        bytes_max: usize,
    ) -> Result<Vec<KeyRow>, Fault> {
        let mut found = Vec::new();
        let mut bytes = 0_usize;
        for key in keys {
            for one in self.fetch(host(GET).bind(bucket.to_owned()).bind(key)).await? {
                let one = row(&one)?;
                bytes = bytes.saturating_add(one.value.as_ref().map_or(0, Vec::len));
                if bytes > bytes_max {
                    return Err(Fault::Statement(too_much(bytes_max)));
                }
                found.push(one);
            }
        }
        Ok(found)
    }

    async fn run(&mut self, query: Query<'_>) -> Result<(), Fault> {
        let left = self.left()?;
        self.connection.run_within(query, left).await.map(drop)
    }

    async fn fetch(&mut self, query: Query<'_>) -> Result<Vec<SqliteRow>, Fault> {
        let left = self.left()?;
        self.connection.fetch_within(query, left).await
    }

    /// What is left of the time. SQLite stops no statement as short as that of one key, so that one begins only
    /// while there is some.
    fn left(&self) -> Result<Duration, Fault> {
        let left = self.deadline.saturating_sub(self.begun.elapsed());
        if left.is_zero() { Err(Fault::Statement(late(self.deadline))) } else { Ok(left) }
    }
}

fn row(row: &SqliteRow) -> Result<KeyRow, Fault> {
    let read = || Ok(KeyRow { key: row.try_get(0)?, value: row.try_get(1)? });
    read().map_err(|error: sqlx::Error| explain(&error))
}
