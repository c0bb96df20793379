//! The ledger in the database that the manifest calls `ledger`; its tables are in `migrations/`.

use keylane_sdk::sql::{Database, FromValue, Row, Value};
use keylane_sdk::{Error, params};

use crate::ledger::{Entry, Kind, Ledger, Payout, account_of};
use crate::names::{Day, Id};

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

    fn entry(&self, id: &str) -> Result<Entry, Error> {
        let rows = self.database.query(
            "SELECT entry, kind, worker, task, day, amount FROM entries WHERE entry = $1",
            params![id],
        )?;
        rows.first().map_or_else(
            // Only on a database whose isolation hides what it has just refused to insert twice.
            || Err(Error::StatementRefused(format!("entry {id} is being written by another event"))),
            |row| read_entry(&row),
        )
    }
}

impl Ledger for SqlLedger {
    type Error = Error;

    fn post(&self, entry: Entry) -> Result<Entry, Error> {
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
            return self.entry(&entry.id);
        }
        let [first, second] = entry.postings();
        self.database.execute(
            "INSERT INTO postings (entry, account, amount) VALUES ($1, $2, $3), ($1, $4, $5)",
            params![&entry.id, first.account, first.amount, second.account, second.amount],
        )?;
        self.database.execute(
            "INSERT INTO workers (worker) VALUES ($1) ON CONFLICT DO NOTHING",
            params![entry.worker.as_str()],
        )?;
        Ok(entry)
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

    fn payout(&self, worker: &Id, day: &Day) -> Result<Option<Payout>, Error> {
        let rows = self.database.query(
            "SELECT balance, amount FROM payouts WHERE worker = $1 AND day = $2",
            params![worker.as_str(), day.as_str()],
        )?;
        let payout = |row: Row<'_>| {
            let (balance, amount) = (row.get("balance")?, row.get("amount")?);
            Ok(Payout { worker: worker.clone(), day: day.clone(), balance, amount })
        };
        rows.first().map(payout).transpose()
    }

    fn keep(&self, payout: &Payout) -> Result<(), Error> {
        // A decision made elsewhere meanwhile refuses this one; the retry finds it.
        self.database.execute(
            "INSERT INTO payouts (worker, day, balance, amount) VALUES ($1, $2, $3, $4)",
            params![payout.worker.as_str(), payout.day.as_str(), payout.balance, payout.amount],
        )?;
        Ok(())
    }
}

fn read_entry(row: &Row<'_>) -> Result<Entry, Error> {
    Ok(Entry {
        id: row.get("entry")?,
        kind: row.get("kind")?,
        worker: row.get("worker")?,
        task: row.get("task")?,
        day: row.get("day")?,
        amount: row.get("amount")?,
    })
}

impl FromValue for Id {
    fn from_value(value: &Value) -> Result<Id, String> {
        Id::new(String::from_value(value)?)
    }
}

impl FromValue for Day {
    fn from_value(value: &Value) -> Result<Day, String> {
        Day::new(String::from_value(value)?)
    }
}

impl FromValue for Kind {
    fn from_value(value: &Value) -> Result<Kind, String> {
        let kind = String::from_value(value)?;
        [Kind::Fee, Kind::Reward, Kind::Payout]
            .into_iter()
            .find(|known| known.as_str() == kind)
            .ok_or_else(|| format!("\"{kind}\" is not a kind of entry"))
    }
}
