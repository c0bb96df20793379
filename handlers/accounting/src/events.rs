//! The bodies that accounting reads, as `handlers/events/README.md` writes them down. What it does
//! not need of a body is left out, and ignored when it comes.

use serde::{Deserialize, Serialize};

use crate::names::{Day, Id};

/// The body of `task.assigned` and of `task.completed`: which task, which worker, and the day it
/// counts for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct TaskMoved {
    /// The task.
    pub task: Id,
    /// Who got it, or who completed it.
    pub worker: Id,
    /// The business day.
    pub day: Day,
}

/// The body of `day.closed`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct DayClosed {
    /// The day that closed.
    pub day: Day,
}

/// The body of `payout.page`: go through the next page of workers. Accounting tells itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PayoutPage {
    /// The day that is paid.
    pub day: Day,
    /// The last worker of the page before; none for the first page.
    pub after: Option<Id>,
}

/// The body of `payout.due`: pay this worker. Accounting tells itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PayoutDue {
    /// The day that is paid.
    pub day: Day,
    /// Whom to pay.
    pub worker: Id,
}
