//! What a host asks of a database, and what that answers. A run's transaction is a connection of its own,
//! named by a number that the host makes.

use std::collections::BTreeMap;

use keylane_engine::{Fence, Hold};
use tokio::sync::oneshot;

use super::state::EndedAs;

/// What a host asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Settles where partitions start.
    Settle { offered: Vec<(i32, i64)> },
    /// Becomes owner of a partition.
    Take { partition: i32 },
    /// Begins a run's transaction.
    Begin { transaction: u64, fence: Fence },
    /// An event's statement, with so many outputs beside it.
    Write { transaction: u64, offset: i64, outputs: u32 },
    /// Sets the savepoint.
    Savepoint { transaction: u64 },
    /// Undoes what came after it.
    RollbackTo { transaction: u64 },
    /// Claims and commits.
    Finish { transaction: u64, endings: Vec<(i64, EndedAs)> },
    /// The connection is closed, or the transaction rolled back.
    Close { transaction: u64 },
    /// A dead letter's row and its claim.
    Bury { fence: Fence, offset: i64 },
    /// An operator's skip: a claim.
    Skip { fence: Fence, offset: i64 },
    /// Raises the floor.
    Raise { fence: Fence, floor: i64 },
    /// Which of these have ended.
    Ended { fence: Fence, offsets: Vec<i64> },
}

impl Request {
    /// The partition whose fence it needs, if any.
    pub fn stream(&self) -> Option<i64> {
        match self {
            Self::Take { partition } => Some(i64::from(*partition)),
            Self::Begin { fence, .. }
            | Self::Bury { fence, .. }
            | Self::Skip { fence, .. }
            | Self::Raise { fence, .. } => Some(fence.stream),
            _ => None,
        }
    }

    /// The transaction that it belongs to, if any.
    pub fn transaction(&self) -> Option<u64> {
        match self {
            Self::Begin { transaction, .. }
            | Self::Write { transaction, .. }
            | Self::Savepoint { transaction }
            | Self::RollbackTo { transaction }
            | Self::Finish { transaction, .. }
            | Self::Close { transaction } => Some(*transaction),
            _ => None,
        }
    }
}

/// What it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Settled(BTreeMap<i32, i64>),
    Taken(Option<Hold>),
    /// It is done.
    Done,
    /// The floor is not where it was asked for yet.
    More,
    /// Another transaction was in the way: this one is undone.
    Conflict,
    /// An event had ended before: the transaction is undone.
    ClaimExists,
    Ended(Vec<i64>),
    NotOwner,
    /// The connection broke: what was open on it is undone, and what was being committed is in doubt.
    Gone,
    /// The database is not to be reached, or what it had to wait for took too long. Nothing is done.
    Unavailable,
}

/// A request on its way.
#[derive(Debug)]
pub struct Call {
    /// Which process, of all that ever were.
    pub life: u64,
    pub host: u8,
    /// Which life of the server the asker knows, where it matters.
    pub boot: Option<u64>,
    pub request: Request,
    pub reply: oneshot::Sender<(Answer, u64)>,
}

impl Call {
    /// Whether it ends a run's transaction.
    pub fn is_commit(&self) -> bool {
        matches!(self.request, Request::Finish { .. })
    }
}
