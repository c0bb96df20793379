//! The seam between the host and the drivers: what a database must be able to do for exactly once.
//!
//! Times given as `deadline` or `limit` count from the call, by the host's own clock.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use keylane_engine::{Boxed, Fence, LogPosition, TopicId};

use crate::config::DatabaseConfig;
use crate::error::{BeginError, DatabaseError, FinishError, StatementError, StatementFailed};
use crate::insert::Insert;
use crate::keyvalue::{KeyRequest, KeyRow};
use crate::relay::Outbox;
use crate::replay::{ReplayError, ReplayRequest, Replayed};
use crate::statement::{Statement, StatementLimits};
use crate::value::{ResultLimits, Rows, Value};
use crate::{postgres, sqlite};

/// What a statement answers, with the transaction to go on with. A failed, late or cancelled one leaves
/// none that could be committed.
pub type Step<T> = Boxed<'static, Result<(T, Box<dyn RunTransaction>), StatementFailed>>;

/// The most claims that one call of [`Database::raise_floor`] deletes (larger batches hold locks for long).
pub const PRUNE_CLAIMS_MAX: i64 = 10_000;

/// Which database this is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Made once, with the host's tables, and kept in them: 32 hexadecimal digits.
    pub database: String,
    /// The driver: `sqlite` or `postgres`.
    pub driver: &'static str,
}

/// One partition of one handler's input. The topic counts by its id: its name is for people. What an operator had
/// handled again goes on under its highest replay number, which the database knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamKey {
    /// The fleet.
    pub fleet: String,
    /// The handler.
    pub handler: String,
    /// The topic's name.
    pub topic: String,
    /// The topic's id.
    pub topic_id: TopicId,
    /// The partition's number.
    pub partition: i32,
}

/// What a take found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// The new ownership.
    pub fence: Fence,
    /// Below it every event has ended; none where `start` was never settled.
    pub floor: Option<i64>,
    /// The offsets of events that have ended at or above the floor, sorted.
    pub ended: Vec<i64>,
    /// What stands beside the floor: a place at or below it, if the leader's epoch was known there.
    pub position: Option<LogPosition>,
}

/// How an event's story ended, as its claim says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndedAs {
    /// The handler did it.
    Done = 1,
    /// It went to the dead letters.
    DeadLettered = 2,
    /// An operator skipped it.
    Skipped = 3,
}

/// What an outbox row becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutboxKind {
    /// A record in Kafka.
    Record = 1,
    /// A mail.
    Mail = 2,
}

/// An output that waits for its run's commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxRow {
    /// The offset of the event that made it.
    pub event_offset: i64,
    /// Which of that event's outputs, from 0.
    pub ordinal: i32,
    /// What it becomes.
    pub kind: OutboxKind,
    /// The topic; for a mail, its sender's grant.
    pub topic: String,
    /// Decides the partition.
    pub key: Option<Vec<u8>>,
    /// None is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Encoded by the caller.
    pub headers: Vec<u8>,
}

/// What one batch of pruning did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pruned {
    /// Claims deleted.
    pub claims: u64,
    /// Where the floor stands now.
    pub floor: i64,
    /// Whether another batch is needed to reach the floor that was asked for.
    pub more: bool,
}

/// A database with the host's tables.
pub trait Database: Send + Sync {
    /// Which database this is.
    fn identity(&self) -> &Identity;

    /// Whether another process does its work, so that a statement's time is spent waiting for that.
    fn is_elsewhere(&self) -> bool;

    /// The database's outbox, for the relay and its commands.
    fn outbox(self: Arc<Self>) -> Arc<dyn Outbox>;

    /// Makes the database the one of this Kafka cluster, if it is no cluster's yet.
    ///
    /// Answers [`DatabaseError::OtherCluster`] where it is another's: offsets of one cluster say nothing of
    /// another one's records.
    fn bind_cluster(&self, cluster: &str) -> Boxed<'_, Result<(), DatabaseError>>;

    /// Checks a guest's statement as this database reads it.
    ///
    /// # Errors
    /// `Refused` or `Limit`, with what to change.
    fn check(
        &self,
        text: &str,
        parameters: &[Value],
        limits: &StatementLimits,
    ) -> Result<Statement, StatementError>;

    /// The same for a statement that is to be sent with others ([`RunTransaction::append`]).
    ///
    /// # Errors
    /// `Refused` or `Limit`, with what to change.
    fn check_append(
        &self,
        text: &str,
        parameters: &[Value],
        limits: &StatementLimits,
    ) -> Result<Insert, StatementError>;

    /// Becomes owner: raises the epoch, which waits for open runs of the former owner, and in a later
    /// statement reads floor and claims. Waits no longer than `limit`.
    fn take(&self, stream: &StreamKey, limit: Duration) -> Boxed<'_, Result<Taken, DatabaseError>>;

    /// Begins a run's transaction, if the epoch is still one's own and the database is the one that the take
    /// found: an older copy that was put in its place has the same epoch, as has a server started again on
    /// such a copy. All that is under a fence is held to both.
    fn begin(&self, fence: &Fence) -> Boxed<'_, Result<Box<dyn RunTransaction>, BeginError>>;

    /// Settles where the partitions of a topic start, all in one transaction, and answers what stands. What
    /// stands is never overwritten. Where the topic was settled before, a partition that is missing was
    /// added since and starts at 0, whatever is offered; so do all of a known name under a new topic id.
    /// The key's own partition does not matter.
    ///
    /// Answers [`DatabaseError::OtherFleet`] where the handler has progress in the topic under another fleet's name.
    fn settle_start(
        &self,
        stream: &StreamKey,
        floors: &[(i32, i64)],
    ) -> Boxed<'_, Result<BTreeMap<i32, i64>, DatabaseError>>;

    /// Makes all progress of this handler, and the outbox, this fleet's, whichever fleet had them. Only where the
    /// fleet was renamed, and none of its hosts runs under the former name: such a one is overtaken as soon as the
    /// partitions are taken, but not before.
    fn adopt_progress(&self, handler: &str, fleet: &str) -> Boxed<'_, Result<(), DatabaseError>>;

    /// Has a partition handled again from an offset on, under its next replay number: in one transaction the epoch of
    /// whoever owns it is passed, and the number gets a floor there, no claims and no place of the log. Owners learn
    /// of it as of any other take, and take that number. Waits for open runs as a take does, with the same `limit`.
    /// This alone repeats effects.
    fn replay(&self, request: &ReplayRequest, limit: Duration) -> Boxed<'_, Result<Replayed, ReplayError>>;

    /// Raises the floor and deletes the claims below it in one transaction, at most [`PRUNE_CLAIMS_MAX`]
    /// claims. Never lowers it. The caller knows that all below has ended. The position, at or below that floor, is
    /// written when the floor gets there. A floor that rises without one has none: the former belongs to the former
    /// floor, since between a place and its floor there is no record.
    fn raise_floor(
        &self,
        fence: &Fence,
        floor: i64,
        position: Option<LogPosition>,
    ) -> Boxed<'_, Result<Pruned, BeginError>>;

    /// Which of these offsets have ended: claimed, or below the floor. Resolves an unknown outcome of COMMIT.
    fn ended(&self, fence: &Fence, offsets: &[i64]) -> Boxed<'_, Result<Vec<i64>, DatabaseError>>;

    /// Reads without a run, from the read address, by a connection that cannot write.
    fn query(
        &self,
        statement: Statement,
        parameters: Vec<Value>,
        limits: ResultLimits,
        deadline: Duration,
    ) -> Boxed<'_, Result<Rows, StatementError>>;

    /// Runs what has not run yet of a handler's migrations, all or nothing. Several hosts at once run each
    /// file once. A file that was edited after it ran is refused.
    fn migrate(&self, handler: &str, folder: &Path) -> Boxed<'_, Result<(), DatabaseError>>;
}

/// One run's transaction. Dropping it rolls it back, also in the middle of a statement.
pub trait RunTransaction: Send {
    /// Runs a guest's statement that yields rows. The deadline stops it in the database.
    fn query(
        self: Box<Self>,
        statement: Statement,
        parameters: Vec<Value>,
        limits: ResultLimits,
        deadline: Duration,
    ) -> Step<Rows>;

    /// Runs a guest's statement and answers how many rows it changed.
    fn execute(
        self: Box<Self>,
        statement: Statement,
        parameters: Vec<Value>,
        deadline: Duration,
    ) -> Step<u64>;

    /// Runs a guest's INSERT that asks for no answer, now or later: at the latest before the next savepoint, before
    /// the commit, and before a statement whose text names its table. Where it is refused later, that is told by the
    /// step that sent it. A driver runs it now; what holds it back stands around the drivers.
    fn append(self: Box<Self>, insert: Insert, parameters: Vec<Value>, deadline: Duration) -> Step<()> {
        let executed = self.execute(insert.statement(1), parameters, deadline);
        Box::pin(async move { executed.await.map(|(_, run)| ((), run)) })
    }

    /// Reads or changes values by key, in the host's own table of them. The deadline is that of the whole request,
    /// however many keys it names.
    fn keyvalue(self: Box<Self>, request: KeyRequest, deadline: Duration) -> Step<Vec<KeyRow>>;

    /// Sets the savepoint, instead of the former one. From now on a failed statement leaves a transaction
    /// that can be rolled back to it.
    fn savepoint(self: Box<Self>) -> Step<()>;

    /// Undoes what came after the savepoint, which stays.
    fn rollback_to_savepoint(self: Box<Self>) -> Step<()>;

    /// Writes outbox rows and one claim for each ended event, and commits. The rows are written in their order,
    /// which is to be that of the handling, whatever their offsets: an event sees what those before it in the run
    /// did, and of two rows where one caused the other the cause must leave first. The order of the endings does
    /// not matter: they are written sorted, since two runs that claim the same would deadlock otherwise.
    fn finish(
        self: Box<Self>,
        outbox: &[OutboxRow],
        endings: &[(i64, EndedAs)],
        deadline: Duration,
    ) -> Boxed<'static, Result<(), FinishError>>;

    /// Rolls back.
    fn rollback(self: Box<Self>) -> Boxed<'static, ()>;
}

/// Opens a database with the driver that its address names; makes the host's tables if they are missing.
///
/// # Errors
/// When no driver knows the address, the database does not answer, or its tables are another version's.
pub async fn open(config: &DatabaseConfig) -> Result<Arc<dyn Database>, DatabaseError> {
    if config.write.starts_with("sqlite:") {
        return sqlite::open(config).await;
    }
    if config.write.starts_with("postgres:") || config.write.starts_with("postgresql:") {
        return postgres::open(config).await;
    }
    Err(unknown_driver(&config.write))
}

pub(crate) fn unknown_driver(url: &str) -> DatabaseError {
    let reason = "no driver of this host knows it; write sqlite://PATH or postgres://USER@HOST/NAME";
    DatabaseError::Address { url: url.to_owned(), reason: reason.to_owned() }
}

/// Makes this machine the one that a moved SQLite file belongs to. Other databases belong to none.
///
/// # Errors
/// When the file cannot be written, or no host has ever used it.
pub async fn adopt(config: &DatabaseConfig) -> Result<(), DatabaseError> {
    if config.write.starts_with("sqlite:") { sqlite::adopt(config).await } else { Ok(()) }
}
