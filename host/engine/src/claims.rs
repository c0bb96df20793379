//! The port to a handler's database, where its progress is the truth: who owns a partition there, and which
//! of its events have ended.
//!
//! A handler with a write database commits the effects of its events together with one claim for each, under
//! the fence of its partition. So progress is read from the database and never from the group's commit, and
//! whoever has been overtaken writes nothing. `host/effects` implements the port; the intake takes with it,
//! the owner ends with it what is not a run.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;

use keylane_lanes::GapSet;

use crate::assignment::TopicId;
use crate::event::TopicPartition;
use crate::leader_epochs::LogPosition;
use crate::ports::DeadLetter;

/// A future of a port.
pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One ownership of one partition in its handler's database. Counts repeat after a restore, so both parts
/// must match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Epoch {
    /// Counts takes.
    pub count: i64,
    /// Random.
    pub nonce: i64,
}

/// What a transaction must hold to write: the partition at one's own epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fence {
    /// The partition, by the database's own number for it.
    pub stream: i64,
    /// How often an operator has had the partition handled again: 0, unless they did.
    pub replay: i64,
    /// The epoch that the take answered.
    pub epoch: Epoch,
}

/// What a take answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// The new ownership.
    pub fence: Fence,
    /// What has ended: its base is the floor, or lies above where claims follow that without a gap; what stands
    /// above it are the other claims.
    pub restored: GapSet,
    /// The floor.
    pub floor: i64,
    /// A place by which it is seen whether the log was cut since. At or below the floor, unless an operator has
    /// lowered that. None where no leader's epoch was known.
    pub position: Option<LogPosition>,
}

/// Why a database could not be asked, or did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClaimsError {
    /// Another host has taken the partition. Nothing is written; prove the membership and take again, or let go.
    #[error("another host has taken this partition in the database")]
    NotOwner,
    /// Nobody knows whether it is written. The partition is to be taken anew.
    #[error("whether it is written is not known: {0}")]
    Unknown(String),
    /// The database does not answer, or not in time. Nothing is written; it may answer later.
    #[error("{0}")]
    Unavailable(String),
    /// It will not do it, now or later: what stands there does not fit. For an operator.
    #[error("{0}")]
    Refused(String),
}

impl ClaimsError {
    /// Whether the same may succeed later without any change.
    #[must_use]
    pub fn can_retry(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

/// The claims of one handler in its write database.
pub trait Claims: Send + Sync + 'static {
    /// Which database this is: 32 hexadecimal digits, made once and kept in it. Part of each commit, so that
    /// progress is not believed beside another database.
    fn database(&self) -> &str;

    /// Settles where the partitions of a topic start, all in one transaction, and answers what stands now.
    /// What stands is never overwritten. Where the topic was settled before, a partition that is missing was
    /// added since and starts at 0, whatever is offered; so do all of a known name under a new id.
    fn settle<'a>(
        &'a self,
        topic: &'a str,
        topic_id: TopicId,
        offered: &'a [(i32, i64)],
    ) -> Boxed<'a, Result<BTreeMap<i32, i64>, ClaimsError>>;

    /// Becomes owner: raises the epoch, which waits for what the former owner has open, for a bounded time,
    /// and ends it after that. None where the start was never settled.
    fn take<'a>(
        &'a self,
        partition: &'a TopicPartition,
        topic_id: TopicId,
    ) -> Boxed<'a, Result<Option<Hold>, ClaimsError>>;

    /// Puts the letter into the outbox and claims its event as dead-lettered, in one transaction. An event
    /// that was claimed before is left as it is, which is a success.
    fn bury(&self, fence: Fence, letter: DeadLetter) -> Boxed<'_, Result<(), ClaimsError>>;

    /// Claims an event as skipped by an operator. One that was claimed before is left as it is.
    fn skip(&self, fence: Fence, offset: i64) -> Boxed<'_, Result<(), ClaimsError>>;

    /// Raises the floor and deletes claims below it, one bounded batch. Answers whether another is needed to
    /// get there. The caller knows that everything below has ended. The position, at or below that floor
    /// and with no record between them, is kept beside it when it is there. A floor that rises without one has none.
    fn raise_floor(
        &self,
        fence: Fence,
        floor: i64,
        position: Option<LogPosition>,
    ) -> Boxed<'_, Result<bool, ClaimsError>>;
}
