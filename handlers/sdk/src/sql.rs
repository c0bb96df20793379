//! SQL on the databases that the manifest grants by name. What an event writes becomes real once, together
//! with the fact that it is done, when the handler has answered `Ok`.

mod rows;
mod value;

use crate::bindings::keylane::handler::sql;
use crate::error::Error;

pub use crate::bindings::keylane::handler::sql::Value;
pub use rows::{Row, Rows};
pub use value::{Decimal, FromValue, Timestamp};

/// A database. Parameters of its statements are `$1`, `$2`, and so on; see
/// [`params!`](crate::params!).
#[derive(Debug)]
pub struct Database {
    resource: sql::Database,
}

impl Database {
    /// Opens a database by the name the manifest gives it. Costs nothing until a statement runs.
    ///
    /// # Errors
    /// [`Error::NotGranted`] if the manifest grants no database of this name.
    pub fn open(name: &str) -> Result<Database, Error> {
        Ok(Database { resource: sql::Database::open(name)? })
    }

    /// Runs one statement that yields rows.
    ///
    /// # Errors
    /// What the host answered; after any error the event cannot end well any more.
    pub fn query(&self, statement: &str, parameters: &[Value]) -> Result<Rows, Error> {
        let answer = self.resource.query(statement, parameters)?;
        Ok(Rows::new(answer.columns, answer.rows))
    }

    /// Runs one statement and answers how many rows it changed.
    ///
    /// # Errors
    /// What the host answered; after any error the event cannot end well any more.
    pub fn execute(&self, statement: &str, parameters: &[Value]) -> Result<u64, Error> {
        Ok(self.resource.execute(statement, parameters)?)
    }

    /// Runs one `INSERT INTO table (columns) VALUES (...)` that asks for no answer, with `ON CONFLICT DO NOTHING`
    /// behind it at most. The host sends it with others, as one statement of many rows, which is far cheaper than
    /// [`Self::execute`]: the way to write what is only added to, a ledger or a log. A statement that names the
    /// table sees its rows, in order. What reads the table by another name (a view, a function, a foreign key, a
    /// partition), or reads what its triggers write, may see nothing of it before the commit, also in later events:
    /// use [`Self::execute`] there.
    ///
    /// # Errors
    /// What the host answered; after any error the event cannot end well any more. That the database refuses the
    /// row is found out later, and fails the event.
    pub fn append(&self, statement: &str, parameters: &[Value]) -> Result<(), Error> {
        Ok(self.resource.append(statement, parameters)?)
    }
}

/// The parameters of a statement: numbers, text, bytes, booleans, [`sql::Timestamp`](crate::sql::Timestamp),
/// [`sql::Decimal`](crate::sql::Decimal), and options of these.
///
/// ```
/// use keylane_sdk::{params, sql::Value};
///
/// let task: Option<&str> = None;
/// assert_eq!(params!["w-1", 7, task], &[Value::Text("w-1".into()), Value::Integer(7), Value::Null]);
/// ```
#[macro_export]
macro_rules! params {
    ($($parameter:expr),* $(,)?) => {
        &[$($crate::sql::Value::from($parameter)),*] as &[$crate::sql::Value]
    };
}
