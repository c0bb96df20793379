//! `sql`: one database of the handler's own. All statements of an event are one transaction, begun
//! at its first statement, committed when the handler has answered ok, and rolled back on any failure.
//!
//! A statement that fails dooms its event: the transaction is rolled back at once, so that the writer
//! is free for others, later calls answer `aborted`, and the commit fails.
//!
//! `database.rs` is the seam of the drivers; SQLite is the one there is.

mod database;
mod grant;
mod host;
mod migrations;
mod report;
mod session;
mod sqlite;
mod sqlite_row;
mod sqlite_transaction;
mod statement;
mod tokens;
mod watch;

pub use crate::bindings::keylane::handler::sql::Value;
pub use database::{DatabaseConfig, Synchronous};
pub use report::{ReportError, read_rows};

pub(crate) use grant::Sql;
pub use host::DatabaseHandle;
