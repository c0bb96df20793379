//! Watches one SQLite connection from inside: whether its transaction is still alive, whether a commit
//! was asked for by the host, and when a statement must stop.
//!
//! The connection's own thread calls the hooks; the task that holds the transaction sets and reads the
//! flags. Nobody waits. This is the second guard behind the check of the statement's text: whatever ends
//! a transaction (a trigger with RAISE(ROLLBACK), a full disk, an interrupted write), the host learns it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sqlx::sqlite::SqliteConnection;

/// How many steps of SQLite's machine lie between two looks at the deadline.
const STEPS_BETWEEN_LOOKS: i32 = 4_000;

/// What is known of one connection.
pub(crate) struct Watch {
    origin: Instant,
    /// When the statement under way must stop, in nanoseconds since `origin`.
    deadline_ns: AtomicU64,
    /// Nobody waits for this connection any more: stop what it does.
    abandoned: AtomicBool,
    /// The host has asked for a commit. Any other commit is refused.
    committing: AtomicBool,
    /// The transaction was rolled back.
    ended: AtomicBool,
}

impl Watch {
    /// Sets the hooks on a connection.
    pub(crate) async fn install(connection: &mut SqliteConnection) -> Result<Arc<Self>, sqlx::Error> {
        let watch = Arc::new(Self {
            origin: Instant::now(),
            deadline_ns: AtomicU64::new(u64::MAX),
            abandoned: AtomicBool::new(false),
            committing: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        });
        let mut handle = connection.lock_handle().await?;
        let hook = watch.clone();
        handle.set_progress_handler(STEPS_BETWEEN_LOOKS, move || hook.may_go_on());
        let hook = watch.clone();
        handle.set_commit_hook(move || hook.committing.load(Ordering::Acquire));
        let hook = watch.clone();
        handle.set_rollback_hook(move || hook.ended.store(true, Ordering::Release));
        Ok(watch)
    }

    /// A transaction begins.
    pub(crate) fn begin(&self) {
        self.committing.store(false, Ordering::Release);
        self.ended.store(false, Ordering::Release);
    }

    /// A statement begins that must stop after this time.
    pub(crate) fn allow(&self, time: Duration) {
        let until = self.origin.elapsed().saturating_add(time);
        self.deadline_ns.store(u64::try_from(until.as_nanos()).unwrap_or(u64::MAX), Ordering::Release);
    }

    /// Whether the deadline has passed.
    pub(crate) fn late(&self) -> bool {
        let now = u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        now >= self.deadline_ns.load(Ordering::Acquire)
    }

    /// The commit that follows is the host's own.
    pub(crate) fn allow_commit(&self) {
        self.committing.store(true, Ordering::Release);
    }

    /// Whether the transaction was rolled back, by whatever.
    pub(crate) fn ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Stops what the connection does; it is about to be closed.
    pub(crate) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Release);
    }

    fn may_go_on(&self) -> bool {
        !self.abandoned.load(Ordering::Acquire) && !self.late()
    }
}
