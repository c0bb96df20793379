//! The ledger in the database that the manifest calls `ledger`; its tables are in `migrations/`.

use keylane_sdk::sql::{Database, FromValue, Value};
use keylane_sdk::{Error, params};

use crate::ledger::{Entry, Ledger, account_of};
use crate::names::Id;

/// The ledger's tables.
#[derive(Debug)]
pub struct SqlLedger {
    database: Database,
}

impl SqlLedger {
    /// Opens the ledger.
    ///
    /// # Errors
    /// That the manifest does not grant it.
    pub fn open() -> Result<SqlLedger, Error> {
        Ok(SqlLedger { database: Database::open("ledger")? })
    }
}

impl Ledger for SqlLedger {
    type Error = Error;

    fn post(&self, entry: &Entry) -> Result<bool, Error> {
        let added = self.database.execute(
            "INSERT INTO entries (entry, kind, worker, task, day, amount) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
            params![
                &entry.id,
                entry.kind.as_str(),
                entry.worker.as_str(),
                entry.task.as_ref().map(Id::as_str),
                entry.day.as_str(),
                entry.amount,
            ],
        )?;
        if added == 0 {
            return Ok(false);
        }
        let [first, second] = entry.postings();
        self.database.append(
            "INSERT INTO postings (entry, account, amount) VALUES ($1, $2, $3), ($1, $4, $5)",
            params![&entry.id, first.account, first.amount, second.account, second.amount],
        )?;
        self.database.append(
            "INSERT INTO workers (worker) VALUES ($1) ON CONFLICT DO NOTHING",
            params![entry.worker.as_str()],
        )?;
        Ok(true)
    }

    fn balance(&self, worker: &Id) -> Result<i64, Error> {
        let rows = self.database.query(
            "SELECT COALESCE(CAST(SUM(amount) AS BIGINT), 0) AS balance FROM postings WHERE account = $1",
            params![account_of(worker)],
        )?;
        rows.first().map_or(Ok(0), |row| row.get("balance"))
    }

    fn workers_after(&self, after: Option<&Id>, most: usize) -> Result<Vec<Id>, Error> {
        // No id is empty, so every one comes after the empty text.
        let after = after.map_or("", Id::as_str);
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let rows = self.database.query(
            "SELECT worker FROM workers WHERE worker > $1 ORDER BY worker LIMIT $2",
            params![after, most],
        )?;
        rows.iter().map(|row| row.get("worker")).collect()
    }
}

impl FromValue for Id {
    fn from_value(value: &Value) -> Result<Id, String> {
        Id::new(String::from_value(value)?)
    }
}
