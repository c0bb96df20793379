//! The operator's way to a partition's owner: ask how it stands, let a waiting lane go on, skip its head.
//!
//! Who owns: the owner, which answers between two steps, also while it drains or is halted. Who waits: the
//! one who asks, for room among [`WAITING_MAX`] requests and then for the answer. Who wakes: the owner.

use tokio::sync::{mpsc, oneshot};

use crate::status::PartitionStatus;

/// Requests that may wait for one owner.
const WAITING_MAX: usize = 8;

/// One wish, with the way back for its answer.
pub(crate) enum Request {
    Status(oneshot::Sender<PartitionStatus>),
    Resume { offset: Option<i64>, done: oneshot::Sender<Result<(), ControlError>> },
    Skip { offset: i64, done: oneshot::Sender<Result<(), ControlError>> },
}

/// Why a wish was not granted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// The assignment is over: another host, or a later assignment in this one, has the partition.
    #[error("this host does not own the partition any more; ask the fleet again who does")]
    Gone,
    /// No lane waits with this event at its head.
    #[error(
        "offset {offset} is not the head of a parked or paused lane; `keylane status` lists the heads that wait"
    )]
    NotWaiting {
        /// The offset that was named.
        offset: i64,
    },
}

impl ControlError {
    /// Whether the same wish may be granted later, by whoever owns the partition then.
    #[must_use]
    pub fn can_retry(&self) -> bool {
        matches!(self, Self::Gone)
    }
}

/// Speaks to the owner of one assignment. Cheap to clone; does not keep the assignment alive.
#[derive(Debug, Clone)]
pub struct Control {
    requests: mpsc::Sender<Request>,
}

/// The two ends of one assignment's control.
pub(crate) fn control() -> (Control, mpsc::Receiver<Request>) {
    let (requests, receiver) = mpsc::channel(WAITING_MAX);
    (Control { requests }, receiver)
}

impl Control {
    /// How the partition stands.
    ///
    /// # Errors
    /// [`ControlError::Gone`].
    pub async fn status(&self) -> Result<PartitionStatus, ControlError> {
        self.ask(Request::Status).await
    }

    /// The lane whose head is at `offset` goes on with fresh attempts; without an offset every paused lane
    /// does, and a halted partition goes on.
    ///
    /// # Errors
    /// [`ControlError::Gone`], or [`ControlError::NotWaiting`] if no lane waits with that head.
    pub async fn resume(&self, offset: Option<i64>) -> Result<(), ControlError> {
        self.ask(|done| Request::Resume { offset, done }).await?
    }

    /// The waiting head at `offset` ends as skipped and its lane goes on. Answered when that is written down
    /// where the handler's progress is kept.
    ///
    /// # Errors
    /// [`ControlError::Gone`], or [`ControlError::NotWaiting`] if no lane waits with that head.
    pub async fn skip(&self, offset: i64) -> Result<(), ControlError> {
        self.ask(|done| Request::Skip { offset, done }).await?
    }

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T, ControlError> {
        let (answer, answered) = oneshot::channel();
        self.requests.send(request(answer)).await.map_err(|_| ControlError::Gone)?;
        answered.await.map_err(|_| ControlError::Gone)
    }
}
