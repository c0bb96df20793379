//! The conformance suite: what every driver must do, as functions over the seam. Each database's own test
//! file makes a [`Ground`] for each function and calls it, so a new driver is held to the same.
//!
//! Each function makes its own tables through a handler's migrations and needs a database of its own.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a suite of tests")]
#![allow(dead_code, reason = "each test file uses the part that it needs")]

pub mod appends;
pub mod claims;
pub mod commits;
pub mod keyvalue;
pub mod migrations;
pub mod ownership;
pub mod pruning;
pub mod relay;
pub mod replays;
pub mod savepoints;
pub mod statements;
pub mod values;

#[allow(unused_imports, reason = "each test file uses the part that it needs")]
pub use relay::{frozen, mails, refusals, setbacks, stops, wakes};

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use keylane_effects::{
    Database, EndedAs, ResultLimits, Rows, RunTransaction, Statement, StatementError, StatementFailed,
    StatementLimits, StepError, StreamKey, Taken, Value,
};
use keylane_engine::{Fence, TopicId};

/// Longer than anything should take on a busy machine.
pub const LONG: Duration = Duration::from_secs(60);
/// Limits that no test passes unless it means to.
pub const LIMITS: ResultLimits = ResultLimits { rows: 1_000, bytes: 1_000_000 };
/// What never ends by itself.
pub const ENDLESS: &str =
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT 1 FROM n) SELECT count(*) FROM n";

/// How one database spells what the suite needs.
pub struct Words {
    /// The type of a column of bytes.
    pub bytes: &'static str,
    /// The type of a column of timestamps.
    pub timestamp: &'static str,
    /// The type of a column of exact decimals.
    pub decimal: &'static str,
    /// Whether a column takes values of any kind, whatever it is declared.
    pub takes_any_kind: bool,
    /// A key that counts up by itself.
    pub counting_key: &'static str,
    /// The host's tables, as one would write them in a statement.
    pub host_tables: &'static [&'static str],
    /// Statements that this database would run and a guest may not.
    pub refused: &'static [&'static str],
}

/// A database that two hosts have opened.
pub struct Ground {
    /// One host's.
    pub here: Arc<dyn Database>,
    /// The other's.
    pub there: Arc<dyn Database>,
    /// How it spells things.
    pub words: Words,
}

/// The stream of partition 0 of the suite's topic.
pub fn key() -> StreamKey {
    StreamKey {
        fleet: "fleet".to_owned(),
        handler: "handler".to_owned(),
        topic: "orders".to_owned(),
        topic_id: TopicId::new([7; 16]),
        partition: 0,
    }
}

/// Makes tables with one migration of the suite's handler.
pub async fn migrate(database: &dyn Database, sql: &str) {
    let folder = tempfile::tempdir().unwrap();
    write_migration(folder.path(), "1_tables.sql", sql);
    database.migrate("handler", folder.path()).await.unwrap();
}

/// Writes one file of migrations.
pub fn write_migration(folder: &Path, name: &str, sql: &str) {
    std::fs::write(folder.join(name), sql).unwrap();
}

/// Tables, a start at 0, and the first take.
pub async fn owner(database: &dyn Database, sql: &str) -> Fence {
    migrate(database, sql).await;
    database.settle_start(&key(), &[(0, 0)]).await.unwrap();
    take(database).await.fence
}

/// Takes the suite's partition.
pub async fn take(database: &dyn Database) -> Taken {
    database.take(&key(), LONG).await.unwrap()
}

/// Checks a statement that must be let through.
pub fn checked(database: &dyn Database, text: &str, parameters: &[Value]) -> Statement {
    database
        .check(text, parameters, &StatementLimits::default())
        .unwrap_or_else(|error| panic!("{text:?} was refused: {error}"))
}

/// Runs a statement of a guest, from the check of its text on.
pub async fn execute(
    database: &dyn Database,
    run: Box<dyn RunTransaction>,
    text: &str,
    parameters: Vec<Value>,
) -> Result<(u64, Box<dyn RunTransaction>), StatementFailed> {
    let statement = checked(database, text, &parameters);
    run.execute(statement, parameters, LONG).await
}

/// Runs a statement that must succeed.
pub async fn did(
    database: &dyn Database,
    run: Box<dyn RunTransaction>,
    text: &str,
    parameters: Vec<Value>,
) -> Box<dyn RunTransaction> {
    execute(database, run, text, parameters).await.unwrap().1
}

/// Runs a query in a run.
pub async fn rows(
    database: &dyn Database,
    run: Box<dyn RunTransaction>,
    text: &str,
    parameters: Vec<Value>,
) -> (Rows, Box<dyn RunTransaction>) {
    let statement = checked(database, text, &parameters);
    run.query(statement, parameters, LIMITS, LONG).await.unwrap()
}

/// What the guest heard of a statement that failed.
pub fn heard(failed: &StatementFailed) -> &StatementError {
    match &failed.error {
        StepError::Statement(error) => error,
        other => panic!("no fault of the statement: {other}"),
    }
}

/// Commits rows of `t` with the claim of one event.
pub async fn commit_event(database: &dyn Database, fence: &Fence, offset: i64) {
    let run = database.begin(fence).await.unwrap();
    let run = did(database, run, "INSERT INTO t (a) VALUES ($1)", vec![Value::Integer(offset)]).await;
    run.finish(&[], &[(offset, EndedAs::Done)], LONG).await.unwrap();
}

/// The integers in column `a` of table `t`, as the read address shows them.
pub async fn kept(database: &dyn Database) -> Vec<i64> {
    let statement = checked(database, "SELECT a FROM t ORDER BY a", &[]);
    let rows = database.query(statement, Vec::new(), LIMITS, LONG).await.unwrap();
    let integer = |row: &Vec<Value>| match row[0] {
        Value::Integer(value) => value,
        ref other => panic!("no integer: {other:?}"),
    };
    rows.rows.iter().map(integer).collect()
}
