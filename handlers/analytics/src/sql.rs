//! The rows in the database that the manifest calls `analytics`; its tables and views are in
//! `migrations/`.

use keylane_sdk::sql::Database;
use keylane_sdk::{Error, params};

use crate::projection::{CompletionRow, EntryRow};

/// The tables of analytics.
#[derive(Debug)]
pub struct SqlProjection {
    database: Database,
}

impl SqlProjection {
    /// Opens them.
    ///
    /// # Errors
    /// That the manifest does not grant them.
    pub fn open() -> Result<SqlProjection, Error> {
        Ok(SqlProjection { database: Database::open("analytics")? })
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// What the database answered.
    pub fn add_entry(&self, row: &EntryRow) -> Result<(), Error> {
        self.database.execute(
            "INSERT INTO entries (entry, kind, worker, task, day, worker_amount, company_amount) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
            params![
                &row.entry,
                &row.kind,
                &row.worker,
                row.task.as_deref(),
                &row.day,
                row.worker_amount,
                row.company_amount,
            ],
        )?;
        Ok(())
    }

    /// Adds a completed task. Its first completion counts: that is the one which is credited.
    ///
    /// # Errors
    /// What the database answered.
    pub fn add_completion(&self, row: &CompletionRow) -> Result<(), Error> {
        self.database.execute(
            "INSERT INTO completions (task, worker, title, day, week, month) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
            params![&row.task, &row.worker, row.title.as_deref(), &row.day, &row.week, &row.month],
        )?;
        Ok(())
    }
}
