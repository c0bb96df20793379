//! Effects: a run's transaction on its handler's database, and the rows with which the host keeps order and
//! once. One seam, [`Database`], and a driver behind it for each kind of database: SQLite and PostgreSQL.
//!
//! What the seam promises is the same on both and held by one suite of tests (`tests/suite`): a guest's
//! statement is one data statement that reaches neither the host's tables nor transaction control; a run's
//! statements, its outbox rows and its claims become real together or not at all; a host whose epoch has
//! passed writes nothing.
//!
//! - `database.rs`: the seam. `error.rs`: what goes wrong, told by origin. `value.rs`, `statement.rs`: what
//!   is said to a database and what it answers. `config.rs`: one database of the host's configuration.
//! - `claims.rs`: the engine's port to progress over a database. `replay.rs`: an operator's word to handle events again. `times.rs`: which time-outs fit each other.
//! - `insert.rs`, `appending.rs`: rows that ask for no answer, sent together.
//! - `keyvalue.rs`: values by key, in a table of the host's own.
//! - `outbox.rs`: how outputs are written into rows and read back. `relay/`: what empties the outbox.
//! - `migrations.rs`: the files of a handler's folder, compared with what has run.
//! - `sqlite/`, `postgres/`: the drivers.

mod appending;
mod claims;
mod config;
mod database;
mod error;
mod insert;
mod keyvalue;
mod migrations;
mod outbox;
mod postgres;
mod reading;
mod relay;
mod replay;
mod sqlite;
mod statement;
mod times;
mod value;

pub use claims::{ClaimsConfig, HandlerClaims, LetterForm};
pub use config::{DatabaseConfig, Isolation, Synchronous};
pub use database::{
    Database, EndedAs, Identity, OutboxKind, OutboxRow, PRUNE_CLAIMS_MAX, Pruned, RunTransaction, Step,
    StreamKey, Taken, adopt, open,
};
pub use error::{BeginError, DatabaseError, FinishError, StatementError, StatementFailed, StepError};
pub use insert::Insert;
pub use keyvalue::{KeyAsk, KeyRequest, KeyRow};
pub use outbox::{Letter, UnreadableRow, letter_of, mail_row, record_of, record_row};
pub use reading::{ReadDatabase, open_reading};
pub use relay::{
    Advance, Applicant, Batch, Dropped, Handed, Leased, ListedRow, MailEnded, MailError, MailSender,
    Mismatch, Numbering, OpenedSender, Outbox, OutboxCounts, OutboxError, Parked, Position, Refused, Relay,
    RelayConfig, RelaySender, RelaySenders, RelayStatus, Selection, SendError, Standing, StoredRow, UnderWay,
};
pub use replay::{ReplayError, ReplayRequest, Replayed};
pub use statement::{LATE_GRACE, Statement, StatementLimits};
pub use times::{TimesError, check_times};
pub use value::{ResultLimits, Rows, Value};
