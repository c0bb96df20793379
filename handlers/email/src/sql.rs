//! The mails in the database that the manifest calls `mails`; its table is in `migrations/`.

use keylane_sdk::sql::{Database, Row};
use keylane_sdk::{Error, params};

use crate::letter::{Letter, Mails};

/// The table of mails.
#[derive(Debug)]
pub struct SqlMails {
    database: Database,
}

impl SqlMails {
    /// Opens it.
    ///
    /// # Errors
    /// That the manifest does not grant it.
    pub fn open() -> Result<SqlMails, Error> {
        Ok(SqlMails { database: Database::open("mails")? })
    }

    fn kept(&self, worker: &str, day: &str) -> Result<Letter, Error> {
        let rows = self.database.query(
            "SELECT worker, day, identity, recipient, subject, body FROM mails \
             WHERE worker = $1 AND day = $2",
            params![worker, day],
        )?;
        rows.first().map_or_else(
            // Only on a database whose isolation hides what it has just refused to insert twice.
            || {
                Err(Error::StatementRefused(format!(
                    "the mail to {worker} is being written by another event"
                )))
            },
            |row| read_letter(&row),
        )
    }
}

impl Mails for SqlMails {
    type Error = Error;

    fn keep(&self, letter: Letter) -> Result<Letter, Error> {
        let added = self.database.execute(
            "INSERT INTO mails (worker, day, identity, recipient, subject, body) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
            params![
                &letter.worker,
                &letter.day,
                &letter.identity,
                &letter.recipient,
                &letter.subject,
                &letter.body,
            ],
        )?;
        if added == 0 { self.kept(&letter.worker, &letter.day) } else { Ok(letter) }
    }
}

fn read_letter(row: &Row<'_>) -> Result<Letter, Error> {
    Ok(Letter {
        worker: row.get("worker")?,
        day: row.get("day")?,
        identity: row.get("identity")?,
        recipient: row.get("recipient")?,
        subject: row.get("subject")?,
        body: row.get("body")?,
    })
}
